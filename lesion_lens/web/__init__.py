"""Requests, responses and templates. Imports only lesion_lens.model."""
