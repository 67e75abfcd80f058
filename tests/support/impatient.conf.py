"""gunicorn.conf.py with less patience for clients that send nothing, for a test."""

import runpy

from lesion_lens.web import uploads

globals().update(runpy.run_path("gunicorn.conf.py"))
uploads.SILENCE = 1  # second
