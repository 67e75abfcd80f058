"""Every record of the log stays on the line that it begins on, whoever writes it.

What clients send gets into log lines: a path, a method, the text of an error. A line break in it
would write a second line that looks like any other, and an escape sequence would have a terminal
do something. All loggers of the process make their records here: the app's, gunicorn's, Werkzeug's.
"""

import logging
import re
from typing import Any

# Werkzeug's own colours. It has escaped such characters of the client's before it adds them.
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def keep_records_on_one_line() -> None:
    """Have all records of this process made by `one_line_record`."""
    logging.setLogRecordFactory(one_line_record)


def one_line_record(name: str, *arguments: Any, **keywords: Any) -> logging.LogRecord:
    """Make a record whose message has no control characters, and whose traceback is indented.

    So a line that does not begin with a space is the beginning of a record.
    """
    record = logging.LogRecord(name, *arguments, **keywords)
    try:
        message = record.getMessage()
    except (KeyError, TypeError, ValueError):  # logging itself reports a wrong format
        return record
    lines = [message]
    if name == "werkzeug":
        message = _COLOURS.sub("", message)
        # Without arguments it is what the server says at its start, or a traceback.
        lines = [message] if record.args else message.rstrip().split("\n")
    record.msg, record.args = "\n  ".join(map(escape, lines)), None
    if record.exc_info and record.exc_info[0]:
        traceback = logging.Formatter().formatException(record.exc_info)
        record.exc_text = "\n".join(f"  {escape(line)}" for line in traceback.split("\n"))
    return record


def escape(text: str) -> str:
    r"""Write whatever cannot be printed as Python would: a line break as \n, an escape as \x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
