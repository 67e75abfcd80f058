"""Whatever speaks of a request, a response or a template. Knows lesion_lens.model alone."""
