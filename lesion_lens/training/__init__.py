"""Data in, a model file and its scores out. Knows only lesion_lens.model."""
