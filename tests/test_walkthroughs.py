"""docs/architecture.md follows an upload and a training row; here the same functions are called."""

import contextlib
import importlib
import inspect
import io
import re
import sys

import pytest

from lesion_lens import ROOT
from lesion_lens.model import decoder, decoding
from lesion_lens.training import teachers
from skin_cancer_detection import build_model
from tests.support.data import made_images, write_csv
from tests.support.drawings import draw_lesion, encode
from tests.support.models import QUICK
from train import main

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
traces = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="needs sys.monitoring of Python 3.12"
)


def steps(begin):
    """The names in the table that follows a heading or a bold word, in the order of the table."""
    table = PAGE.split(begin, 1)[1].split("| what happens | function |\n", 1)[1].split("\n\n")[0]
    rows = table.splitlines()[1:]  # without the line below the heading
    found = [re.search(r"\| `([^`|]+)` \|$", row) for row in rows]
    assert all(found), rows[found.index(None)]
    return [match[1] for match in found]


IN_THE_LOOP, IN_A_THREAD, IN_A_DECODER = map(
    steps, ("**In gevent's loop.**", "**In a thread.**", "**In a decoder.**")
)
TRAINING = steps("## How a training row is processed")


def code_of(name, templates):
    """The code of a function, `module.function` or `module.Class.method`; or of a template."""
    if name.startswith("templates/"):
        template = templates.get_template(name.removeprefix("templates/"))
        return template.root_render_func.__code__
    parts = name.split(".")
    if parts[0] in ("model", "web", "training"):
        parts.insert(0, "lesion_lens")
    length = next(i for i, part in enumerate(parts) if not is_module(parts[: i + 1]))
    found = importlib.import_module(".".join(parts[:length]))
    for part in parts[length:]:
        found = getattr(found, part)
    return inspect.unwrap(found).__code__


def is_module(parts):
    return any((ROOT / "/".join(parts)).with_suffix(suffix).exists() for suffix in ("", ".py"))


@contextlib.contextmanager
def traced(names, templates=None):
    """Yield a list of the named functions in the order in which they are first called."""
    codes = {code_of(name, templates): name for name in names}
    assert len(codes) == len(names)
    called = []

    def note(code, _):
        called.append(codes[code])
        return sys.monitoring.DISABLE

    tool, event = 3, sys.monitoring.events.PY_START
    sys.monitoring.use_tool_id(tool, "walkthrough")
    try:
        sys.monitoring.register_callback(tool, event, note)
        for code in codes:
            sys.monitoring.set_local_events(tool, code, event)
        sys.monitoring.restart_events()
        yield called
    finally:
        for code in codes:
            sys.monitoring.set_local_events(tool, code, 0)
        sys.monitoring.free_tool_id(tool)


@traces
@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_an_upload_takes_the_steps_that_the_page_lists(monkeypatch):
    from werkzeug.test import EnvironBuilder

    from app import create_app
    from lesion_lens.web.current import get_classifier
    from lesion_lens.web.worker import BodyFirst

    app = create_app({"MODEL_PATH": str(QUICK), "TESTING": True})
    form = {"pic": (io.BytesIO(encode(draw_lesion())), "lesion.png")}
    asked = EnvironBuilder("/showresult", method="POST", data=form).get_environ()
    asked |= {"SERVER_PROTOCOL": "HTTP/1.1", "HTTP_ACCEPT_ENCODING": "gzip"}
    answers = []
    monkeypatch.setattr(decoding._POOL, "_idle", [])  # so that a decoder is started
    get_classifier(app).load()  # which asks the network once, as a warm-up
    names = IN_THE_LOOP + IN_A_THREAD
    with (
        traced(names, app.jinja_env) as called,
        connection() as asked["gunicorn.socket"],
    ):
        answer = BodyFirst(app)(asked, lambda status, *_: answers.append(status))
        answer.close()
    assert answers == ["200 OK"]
    assert called == names


@contextlib.contextmanager
def connection():
    """The server's end of a TCP connection, as gunicorn's worker has it."""
    from gevent import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as end,
    ):
        yield end


@traces
def test_a_decoder_takes_the_steps_that_the_page_lists(monkeypatch):
    """In this process, which must not get the limits of a decoder."""
    for name in ("limit_memory", "limit_processor"):
        monkeypatch.setattr(decoder, name, lambda _: None)
    order = decoder.DECODE_WITH_PREVIEW + decoder.LONGEST_SIDE.pack(600)
    with traced(IN_A_DECODER) as called:
        reply = decoder.reply_to(None, encode(draw_lesion()), order)
    assert reply.startswith(decoder.IMAGE)
    assert called == IN_A_DECODER


@traces
def test_a_training_takes_the_steps_that_the_page_lists(tmp_path, monkeypatch):
    """Except that its teacher is not fitted, which another process would do."""
    history = [{"loss": 1.0, "held_out_log_loss": 1.0, "held_out_macro_auc": 0.5}]
    monkeypatch.setattr(
        teachers, "fit_side_by_side", lambda fits, *_: ([build_model()], [history for _ in fits])
    )
    csv_path, metadata = write_csv(made_images(lesions_per_class=10), tmp_path)
    arguments = ["--csv", csv_path, "--metadata", metadata, "--output", tmp_path / "m.h5"]
    with traced(TRAINING) as called:
        assert main([*map(str, arguments), "--epochs", "1", "--teachers", "1"]) == 0
    assert called == TRAINING
