"""The servers that the benchmark compares: how each is started, watched and stopped."""

import contextlib
import http.client
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lesion_lens import ROOT
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.files import DEFAULT_MODEL_PATH

LITERT_MODEL = ROOT / "best_model.tflite"
BASELINE = "baseline"
PATIENCE = 120  # seconds for a server to start, to answer once, and to fall idle
MEGABYTE = 1_000_000


class CannotMeasure(LesionLensError):
    """Something that the benchmark needs is missing or does not respond."""


@dataclass(frozen=True)
class Request:
    """A file that is posted in a form field.

    Attributes:
        name: its name in the table.
        path: of the URL.
        field: of the form.
        views: of the image that are classified, not counting the copies for the map.
    """

    name: str
    path: str
    field: str
    views: int


PAGE = Request("page", "/showresult", "pic", 8)
PREDICTION = Request("API", "/api/v1/predictions", "image", 8)


@dataclass(frozen=True)
class Server:
    """A gunicorn server.

    Attributes:
        name: its name in the table.
        command: the words of its command line, without the address.
        folder: in which it starts.
        settings: dict, added to the environment.
        requests: tuple of Request, which it is sent.
    """

    name: str
    command: tuple
    folder: Path
    settings: dict
    requests: tuple


def baseline():
    """The server of `baseline.py`, started in a folder without a gunicorn.conf.py."""
    command = (*shlex.split("gunicorn --workers 1 --worker-class sync --pythonpath"), str(ROOT))
    command = (*command, "benchmarks.baseline:app")
    request = Request("page", "/showresult", "pic", 1)
    return Server(BASELINE, command, ROOT / "benchmarks", {}, (request,))


def shipped(name, model_path):
    """The app with a model file, as in the Procfile, with the settings of Heroku's small dynos."""
    _, command = (ROOT / "Procfile").read_text(encoding="utf-8").split("web:")
    settings = {"MODEL_PATH": str(model_path), "WEB_CONCURRENCY": "2"}
    return Server(name, tuple(shlex.split(command)), ROOT, settings, (PAGE, PREDICTION))


def servers():
    """The servers that can run here, the baseline first."""
    found = [baseline(), shipped("app on Keras", DEFAULT_MODEL_PATH)]
    if litert_is_missing():
        return found
    return [*found, shipped("app on LiteRT", LITERT_MODEL)]


def litert_is_missing():
    """Say in a sentence what is missing to run LiteRT; None if nothing is."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "LiteRT and the floor were left out: to add them, run `pip install ai-edge-litert`."
    if not LITERT_MODEL.exists():
        return (
            "LiteRT and the floor were left out: "
            f"to make their model file, run `python train.py --export {LITERT_MODEL.name}`."
        )
    return None


@dataclass(frozen=True)
class Running:
    """A running server.

    Attributes:
        pid: of its first process.
        port: on 127.0.0.1.
        first_page: seconds from its start to the first page.
        first_answer: seconds from its start to the first result.
    """

    pid: int
    port: int
    first_page: float
    first_answer: float


@contextlib.contextmanager
def running(server, data):
    """Run a server while the context lasts, then stop all its processes.

    Args:
        server: Server.
        data: bytes of the first image that it is sent.

    Yields:
        Running.

    Raises:
        CannotMeasure: the server ends, or does not answer within `PATIENCE`.
    """
    port = free_port()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port} --no-control-socket",
    }
    request = server.requests[0]
    body, content_type = form(request.field, data)
    begin = time.perf_counter()
    process = subprocess.Popen(
        server.command,
        cwd=server.folder,
        env=os.environ | environment | server.settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def seconds_until_answered(*question):
        while process.poll() is None and time.perf_counter() - begin < PATIENCE:
            if status_of(port, *question) == 200:
                return time.perf_counter() - begin
            time.sleep(0.01)
        raise CannotMeasure(
            f"The {server.name} ended or did not answer {question[1]} within {PATIENCE} seconds: "
            f"run `{shlex.join(server.command)}` in {server.folder} to see why."
        )

    try:
        first_page = seconds_until_answered("GET", "/")
        headers = {"Content-Type": content_type}
        first_answer = seconds_until_answered("POST", request.path, body, headers)
        yield Running(process.pid, port, first_page, first_answer)
    finally:
        stop(process)


def free_port():
    """A free port on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def form(field, data):
    """Write a file as multipart/form-data.

    Returns:
        (body, content type).
    """
    boundary = "boundary-of-the-benchmark"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="lesion.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def status_of(port, *question):
    """Send one request, with the arguments of `HTTPConnection.request`.

    Returns:
        int, the status; None without an answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(*question)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def stop(process):
    """Stop a server and all that it started, by force if necessary."""
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=40)
    finally:  # also after a second interruption
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a separate session
        process.wait()


# --- Readings from /proc ---------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """The memory of all processes of a server, in megabytes.

    Attributes:
        resident: the anonymous memory, plus the files mapped by the process that maps most.
        anonymous: memory that does not belong to a file. Shared pages count once.
    """

    resident: float
    anonymous: float


def memory_of(pid):
    """Add up the memory of a process and of those that it started.

    The proportional size (PSS) is used only for anonymous memory, which only a server's own
    processes share. A library's PSS would fall when any other program maps it.

    Returns:
        Memory.
    """
    anonymous, mapped = 0, 0
    for member in family(pid):
        with contextlib.suppress(OSError, TypeError):  # a decoder that has just ended
            status = (member / "status").read_text()
            anonymous += kilobytes("Pss_Anon", (member / "smaps_rollup").read_text())
            mapped = max(mapped, kilobytes("RssFile", status) + kilobytes("RssShmem", status))
    return Memory((anonymous + mapped) * 1024 / MEGABYTE, anonymous * 1024 / MEGABYTE)


def kilobytes(name, text):
    """Read a line such as `RssAnon:  123 kB`."""
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1])


def family(pid):
    """Yield the /proc folders of a process and of all its descendants."""
    folder = Path("/proc") / str(pid)
    yield folder
    for task in folder.glob("task/*/children"):
        children = ""
        with contextlib.suppress(OSError):  # the thread has just ended
            children = task.read_text()
        for child in children.split():
            yield from family(child)


def wait_until_idle(pid):
    """Wait until a server has finished the requests of clients that have gone.

    Raises:
        CannotMeasure: it is still working after `PATIENCE`.
    """
    end, before = time.perf_counter() + PATIENCE, None
    while time.perf_counter() < end:
        now = ticks_of(pid)
        if before is not None and now - before <= 1:
            return
        before = now
        time.sleep(0.3)
    raise CannotMeasure(
        f"A server is still busy {PATIENCE} seconds after its load: use a smaller `--seconds`."
    )


def ticks_of(pid):
    """Add up the processor time of a server, in hundredths of a second."""
    ticks = 0
    for member in family(pid):
        with contextlib.suppress(OSError):  # a decoder that has just ended
            stat = (member / "stat").read_text().rpartition(")")[2].split()
            ticks += int(stat[11]) + int(stat[12])  # utime and stime; proc(5)
    return ticks
