"""Keeps each log record on one line, whoever writes it.

Log lines contain text from clients: a path, a method, the text of an error. A line break in it
could forge a second record, and an escape sequence could control a terminal. All loggers of the
process make their records here: the app's, gunicorn's and Werkzeug's.
"""

import logging
import re
from typing import Any

# Werkzeug's own colours, which it adds after escaping such characters from the client.
_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def keep_records_on_one_line() -> None:
    """Make all log records of this process with `one_line_record`."""
    logging.setLogRecordFactory(one_line_record)


def one_line_record(name: str, *arguments: Any, **keywords: Any) -> logging.LogRecord:
    """Make a record whose message has no control characters and whose traceback is indented.

    So each line that does not begin with a space starts a record.
    """
    record = logging.LogRecord(name, *arguments, **keywords)
    try:
        message = record.getMessage()
    except (KeyError, TypeError, ValueError):  # logging itself reports a wrong format
        return record
    lines = [message]
    if name == "werkzeug":
        message = _COLOURS.sub("", message)
        # Without arguments, it is the server's start message or a traceback.
        lines = [message] if record.args else message.rstrip().split("\n")
    record.msg, record.args = "\n  ".join(map(escape, lines)), None
    if record.exc_info and record.exc_info[0]:
        traceback = logging.Formatter().formatException(record.exc_info)
        record.exc_text = "\n".join(f"  {escape(line)}" for line in traceback.split("\n"))
    return record


def escape(text: str) -> str:
    r"""Escape non-printable characters as Python does: a line break as \n, an escape as \x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
