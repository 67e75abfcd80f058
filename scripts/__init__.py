"""Occasional tasks. Run each with `python -m scripts.NAME`."""
