"""Log lines: a client cannot start a new line, whatever it sends."""

import logging
import shlex
import sys
from urllib.parse import quote_from_bytes

import pytest
import requests

from lesion_lens.web.log_lines import keep_records_on_one_line
from tests.support.models import LITERT
from tests.support.servers import gunicorn
from tests.support.waiting import wait_for

FORGED = "\r\nFORGED\x1b[31m\u2028FORGED\x85FORGED\x9b\x00\u202e\t\x7f"


@pytest.fixture
def lines(tmp_path):
    """A function that logs to a file like an app and returns the lines."""
    keep_records_on_one_line()
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("at %(message)s"))

    def log(name, *arguments, **keywords):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.error(*arguments, **keywords)
        logger.removeHandler(handler)
        return (tmp_path / "log").read_text(encoding="utf-8").splitlines()

    yield log
    handler.close()


@pytest.mark.parametrize("logger", ["app", "gunicorn.error", "werkzeug", "any.other"])
def test_an_argument_and_a_ready_made_message_stay_on_their_line(lines, logger):
    assert len(lines(logger, "%s", FORGED)) == 1
    (_, *more) = lines(logger, f"said {FORGED}")
    assert [line for line in more if line.startswith("FORGED")] == []
    assert all(line.isprintable() for line in more)


def test_what_cannot_be_printed_is_written_as_python_does(lines):
    assert lines("app", "%s", "ä \x1b\n\u2028") == [r"at ä \x1b\n\u2028"]


def test_a_traceback_is_kept_and_indented(lines):
    try:
        raise ValueError(FORGED)
    except ValueError:
        first, *others = lines("app", "failed", exc_info=True)
    assert first == "at failed"
    assert others[0] == "  Traceback (most recent call last):"
    assert others[-1].strip().startswith("FORGED")
    assert all(line.startswith("  ") and line.isprintable() for line in others)


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
@pytest.mark.parametrize("command", ["gunicorn app:app", f"{shlex.quote(sys.executable)} app.py"])
def test_a_path_is_one_line_of_the_servers_log(command, tmp_path):
    forged = quote_from_bytes(FORGED.encode())
    with gunicorn(tmp_path / "log", command=command, MODEL_PATH=LITERT.name) as server:
        server.wait_until_ready()
        assert requests.get(f"{server.address}/{forged}end", timeout=20).status_code == 404
        wait_for(lambda: "end" in server.said)
        if command != "gunicorn app:app":  # it does not exit with code 0
            server.process.terminate()
            server.process.returncode = 0
        (line,) = [line for line in server.said.splitlines() if "FORGED" in line]
        assert line.endswith("s") or line.endswith("-")
        assert line.isprintable()
