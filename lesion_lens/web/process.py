"""What the process that serves is told: its memory, its log, its end."""

import sys

from werkzeug.serving import WSGIRequestHandler


class NamelessRequestHandler(WSGIRequestHandler):
    """Logs a request without the address that it came from."""

    def address_string(self):
        return "-"


def exit_with(error):
    """End the process with an error's sentence and no traceback.

    The code is 3, by which gunicorn knows that a worker cannot start and that trying again is no
    use.
    """
    print(error, file=sys.stderr)
    sys.exit(3)
