"""gunicorn.conf.py with shorter limits for slow clients, for tests."""

import runpy

from lesion_lens.web import bodies

globals().update(runpy.run_path("gunicorn.conf.py"))
keepalive = 2  # seconds
bodies.SILENCE = 2  # seconds
