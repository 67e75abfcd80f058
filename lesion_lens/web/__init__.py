"""Whatever speaks of a request, a response or a template. Knows only lesion_lens.model."""
