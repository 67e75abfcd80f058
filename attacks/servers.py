"""The server under attack, as the Procfile starts it, limited to 512 MB if possible."""

import contextlib
import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from attacks.table import Case
from benchmarks.pictures import photograph
from benchmarks.servers import MEGABYTE, PAGE, PREDICTION, family, form, kilobytes
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from tests.support.servers import Gunicorn, gunicorn

LIMIT = 512 * MEGABYTE  # of memory; Heroku's 512 MB are slightly more
MOST_GROWTH = 250  # megabytes
ANSWER = 5  # seconds for any answer
HARMLESS = 3  # for a harmless upload during an attack
HEALTH = 1  # for /healthz during an attack
PATIENCE = 30  # seconds after which a client gives up, as Heroku's router does
STANDSTILL = 2  # seconds; if a wait of 0.1 s takes longer than this, the machine stalled
MODELS = {"Keras": DEFAULT_MODEL_PATH, "LiteRT": "best_model.tflite"}

PHOTO = photograph((600, 450))
LARGE_PHOTO = photograph((4000, 3000))
REFUSALS = (400, 413, 415, 422)

Question = tuple[str, str, bytes | None, dict[str, str]]


def upload(data: bytes, page: bool = False) -> Question:
    """A request that uploads an image to the API or to the page."""
    request = PAGE if page else PREDICTION
    body, content_type = form(request.field, data)
    return "POST", request.path, body, {"Content-Type": content_type}


def get(path: str) -> Question:
    """A request for a page."""
    return "GET", path, None, {}


@dataclass(frozen=True)
class Reply:
    """The result of a request.

    Attributes:
        status: of the answer; 0 without an answer.
        seconds: until the answer was complete.
        said: a description, for a failure.
    """

    status: int
    seconds: float
    said: str


def ask(port: int, question: Question, patience: float = PATIENCE) -> Reply:
    """Send a request over a new connection."""
    method, path, body, headers = question
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        # The server may answer even if it refuses the request before all of it is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, {"Connection": "close", **headers})
        answer = connection.getresponse()
        answer.read()
        status, said = answer.status, f"answered {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        status, said = 0, f"no answer: {type(error).__name__}"
    finally:
        connection.close()
    return Reply(status, time.perf_counter() - begin, said)


def judge(case: Case, reply: Reply, statuses: tuple[int, ...], bound: float = ANSWER) -> None:
    """Count an answer, as a failure if its status is not in `statuses` or it is late."""
    failure = None
    if reply.status not in statuses:
        failure = reply.said
    elif reply.seconds > bound:
        failure = f"later than {bound:g} s"
    case.add(reply.seconds, failure)


# --- Memory ----------------------------------------------------------------------------------


class MemoryGroup:
    """A cgroup of `LIMIT` bytes, if one can be created.

    Attributes:
        is_there: whether the kernel enforces the limit.
    """

    def __init__(self) -> None:
        root = Path("/sys/fs/cgroup")
        if (root / "memory").is_dir():  # version 1; memsw includes swap
            limits = {"memory.limit_in_bytes": LIMIT, "memory.memsw.limit_in_bytes": LIMIT}
            root, self._events = root / "memory", "memory.oom_control"
        else:
            limits = {"memory.max": LIMIT, "memory.swap.max": 0}
            self._events = "memory.events"
        self._folder = root / f"lesion-lens-attacked-{os.getpid()}"
        self.is_there = False
        try:
            self._folder.mkdir()
            for name, value in limits.items():
                (self._folder / name).write_text(str(value))
            self.is_there = True
        except OSError:  # no memory controller, or no permission
            self.close()

    @property
    def enter(self) -> str:
        """The shell command that puts the shell, and what it starts, into the group."""
        return f"echo $$ > {self._folder}/cgroup.procs &&" if self.is_there else ""

    def said(self) -> str:
        """Say in a sentence whether the memory was limited."""
        if self.is_there:
            return f"A cgroup limited each server to {LIMIT / MEGABYTE:.0f} MB."
        return "The servers' memory was not limited, because no cgroup could be created."

    def kills(self) -> int:
        """How many processes the kernel has killed because memory ran out."""
        with contextlib.suppress(OSError):
            found = re.search(r"^oom_kill (\d+)", (self._folder / self._events).read_text(), re.M)
            return int(found[1]) if found else 0
        return 0

    def close(self) -> None:
        """Remove the group once its last process has ended."""
        end = time.monotonic() + 5
        while self._folder.is_dir() and time.monotonic() < end:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            time.sleep(0.05)


# Finds the last line of a traceback, which names the error.
_TRACEBACK = re.compile(rb"^Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)", re.M)


def anonymous_megabytes(pid: int) -> float:
    """The anonymous memory of a process and its descendants. Shared pages count once."""
    total = 0
    with contextlib.suppress(OSError):
        for member in family(pid):
            with contextlib.suppress(OSError, TypeError):  # it is ending
                total += kilobytes("Pss_Anon", (member / "smaps_rollup").read_text())
    return total * 1024 / MEGABYTE


class Target:
    """A server under attack.

    Attributes:
        engine: a key of `MODELS`.
        port: on 127.0.0.1.
        pid: of gunicorn's master.
        idle: megabytes of anonymous memory when the server was idle.
    """

    def __init__(self, engine: str, server: Gunicorn, group: MemoryGroup) -> None:
        self.engine, self.port, self.pid = engine, server.port, server.process.pid
        self.server, self._group = server, group
        self._most, self._stood_still = 0.0, 0.0
        self._ended = threading.Event()
        self._warm_up()
        self.idle = anonymous_megabytes(self.pid)
        self._watch = threading.Thread(target=self._keep_watch, daemon=True)
        self._watch.start()

    def _warm_up(self) -> None:
        questions = 8 * [upload(PHOTO), upload(PHOTO, page=True)]
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(lambda question: ask(self.port, question), questions))
        time.sleep(0.5)

    def _keep_watch(self) -> None:
        while True:
            before = time.monotonic()
            if self._ended.wait(0.1):
                return
            # A shared machine may stall for seconds, and the server with it.
            self._stood_still = max(self._stood_still, time.monotonic() - before)
            self._most = max(self._most, anonymous_megabytes(self.pid))

    def close(self) -> None:
        """Stop watching the memory."""
        self._ended.set()
        self._watch.join()

    @contextlib.contextmanager
    def watching(self, case: Case, most: float | None = MOST_GROWTH) -> Iterator[Case]:
        """Record memory and faults in a case while the context lasts."""
        self._most, self._stood_still = anonymous_megabytes(self.pid), 0.0
        kills, said = self._group.kills(), self.server.log.stat().st_size
        yield case
        case.worst_memory = max(0.0, self._most - self.idle)
        if self._stood_still > STANDSTILL:
            case.note = f"the machine itself stalled for {self._stood_still:.0f} s meanwhile"
        if most is not None and case.worst_memory > most:
            case.fail(f"more than {most:g} MB of additional memory")
        case.fail("killed by the kernel because memory ran out", self._group.kills() - kills)
        for error in _TRACEBACK.findall(self.server.log.read_bytes()[said:]):
            case.fail(f"a traceback in the log: {error.decode('utf-8', 'replace')[:60]}")

    def until_well(self, seconds: float) -> bool:
        """Wait until an upload is answered, and return whether that took at most `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ask(self.port, upload(PHOTO), end - time.monotonic() + 0.1).status == 200:
                return True
            time.sleep(0.05)
        return False

    # --- Its processes ---

    def workers(self) -> list[int]:
        """The processes that gunicorn forked."""
        return [pid for pid in _children(self.pid) if not _is_decoder(pid)]

    def forkers(self) -> list[int]:
        """The processes that start decoders."""
        return [pid for worker in self.workers() for pid in _children(worker) if _is_decoder(pid)]

    def decoders(self) -> list[int]:
        """The processes that decode."""
        return [pid for forker in self.forkers() for pid in _children(forker)]


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}").glob("task/*/children"):
        with contextlib.suppress(OSError):  # the thread has just ended
            found += list(map(int, task.read_text().split()))
    return found


def _is_decoder(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"decoder" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def kill(pids: list[int]) -> int:
    """Kill processes with SIGKILL, and return how many were still running."""
    killed = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


@contextlib.contextmanager
def attacked(engine: str, folder: Path) -> Iterator[tuple[Target, MemoryGroup]]:
    """Run the app on an engine while the context lasts.

    Args:
        engine: a key of `MODELS`.
        folder: for the log.
    """
    group = MemoryGroup()
    try:
        settings = {"MODEL_PATH": str(MODELS[engine])}
        with gunicorn(folder / f"{engine}.log", enter=group.enter, **settings) as server:
            server.wait_until_ready()
            target = Target(engine, server, group)
            try:
                yield target, group
            finally:
                target.close()
    finally:
        group.close()


# --- Crowds ----------------------------------------------------------------------------------


@contextlib.contextmanager
def crowd(*clients: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Run each client in a thread until the context ends. It sets the event that they get."""
    ended = threading.Event()
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(client, ended) for client in clients]
        try:
            yield ended
        finally:
            ended.set()
    for one in running:
        one.result()


def harmless(
    target: Target, case: Case, bound: float = HARMLESS
) -> Callable[[threading.Event], None]:
    """A client that uploads a photograph repeatedly, to the API and to the page."""

    def client(ended: threading.Event) -> None:
        page = False
        while not ended.wait(0.05):
            judge(case, ask(target.port, upload(PHOTO, page)), (200,), bound)
            page = not page

    return client


def health(target: Target, case: Case, bound: float = HEALTH) -> Callable[[threading.Event], None]:
    """A client that requests /healthz repeatedly."""

    def client(ended: threading.Event) -> None:
        while not ended.wait(0.1):
            judge(case, ask(target.port, get("/healthz")), (200,), bound)

    return client
