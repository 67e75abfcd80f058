"""Numbers from environment variables, and the end of a start. Imports no Flask.

gunicorn's master uses this as well as the app.
"""

import os
import sys
from typing import NoReturn

from lesion_lens.model.errors import LesionLensError, SettingError

MAX_PORT = 65535


def whole_number(text: str, lowest: int, highest: int) -> int | None:
    """Read a whole number in ASCII digits; None if it is none, or is not in this range."""
    if not (text.isascii() and text.isdecimal()) or len(text.lstrip("0")) > len(str(highest)):
        return None  # Python itself reads at most 4300 digits
    number = int(text)
    return number if lowest <= number <= highest else None


def port_to_serve(default: int) -> int:
    """Read `PORT`.

    Raises:
        SettingError: it is not a port; 0 is one, and stands for any that is free.
    """
    text = os.environ.get("PORT", str(default)).strip()
    port = whole_number(text, 0, MAX_PORT)
    if port is None:
        raise SettingError(
            f"PORT is {text!r}, not a number from 0 to {MAX_PORT}: set it to one, such as "
            f"{default}."
        )
    return port


def exit_with(error: LesionLensError) -> NoReturn:
    """Print an error without a traceback and exit.

    The exit code is 3, which tells gunicorn that the worker cannot start and that retrying is
    useless.
    """
    print(error, file=sys.stderr)
    sys.exit(3)
