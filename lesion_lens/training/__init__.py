"""From data to a model file and its scores. Imports only lesion_lens.model."""
