"""Attacks by eight or sixteen clients at once: hostile files, faults and a soak."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from attacks.files import title_of
from attacks.malformed import MALFORMED, exchange, hang_up, judge_exchange
from attacks.servers import (
    ANSWER,
    LARGE_PHOTO,
    PATIENCE,
    PHOTO,
    REFUSALS,
    Question,
    Reply,
    Target,
    anonymous_megabytes,
    ask,
    crowd,
    get,
    harmless,
    health,
    judge,
    kill,
    upload,
)
from attacks.table import Case
from benchmarks.servers import PAGE, ticks_of

CLIENTS, SOAK_CLIENTS = 8, 16
BUSY = 503
HOSTILE_ANSWERS = (200, *REFUSALS, BUSY)
BATCH = 50  # images in one request
BATCH_ANSWER = 30  # seconds, the limit of Heroku's router
BACK = 5  # seconds within which uploads must be answered again after a fault
LASTING = 80  # megabytes that may be left after a soak; three decoders may keep 8 each
PAGES = ("/", "/model", "/healthz", "/readyz", "/api/v1/docs", "/api/v1/openapi.json", "/nothing")


# --- Hostile files ---------------------------------------------------------------------------


def hostile_file(target: Target, name: str, data: bytes) -> Case:
    """Have eight clients send a hostile file at the same time."""
    case = Case(title_of(name))
    with target.watching(case):
        for reply in _all_at_once(target, upload(data), CLIENTS):
            judge(case, reply, HOSTILE_ANSWERS)
    return case


def _all_at_once(
    target: Target, question: Question, times: int, patience: float = PATIENCE
) -> list[Reply]:
    with ThreadPoolExecutor(times) as clients:
        return list(clients.map(lambda one: ask(target.port, one, patience), [question] * times))


def hostile_files_without_pause(
    target: Target, files: Mapping[str, bytes], seconds: float
) -> Iterator[Case]:
    """Have eight clients send hostile files without pause, along with harmless requests.

    Yields:
        Case for the hostile files, for the harmless uploads and for /healthz.
    """
    hostile = Case("hostile files from eight clients without pause")
    beside = Case("harmless uploads meanwhile")
    asked = Case("/healthz meanwhile")
    orders = count()

    def client(ended: threading.Event) -> None:
        names = list(files)
        random.Random(next(orders)).shuffle(names)
        while not ended.is_set():
            for name in names:
                if ended.is_set():
                    return
                judge(hostile, ask(target.port, upload(files[name])), HOSTILE_ANSWERS)

    clients = [client] * CLIENTS
    with (
        target.watching(hostile),
        crowd(*clients, harmless(target, beside), health(target, asked)),
    ):
        time.sleep(seconds)
    yield from (hostile, beside, asked)


def batches(target: Target, data: bytes) -> Case:
    """Have four clients each send fifty hostile files in one request, with harmless requests."""
    case = Case(f"{BATCH} hostile files in one request, from each of four clients")
    beside = Case("")
    with target.watching(case), crowd(harmless(target, beside), health(target, beside)):
        for reply in _all_at_once(target, _batch([data] * BATCH), 4, 2 * BATCH_ANSWER):
            judge(case, reply, HOSTILE_ANSWERS, BATCH_ANSWER)
    for failure, times in beside.failures.items():
        case.fail(f"a harmless request meanwhile: {failure}", times)
    return case


def _batch(files: list[bytes]) -> Question:
    boundary = "boundary-of-the-attack"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{PAGE.field}"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + data
        + b"\r\n"
        for data in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return "POST", PAGE.path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


# --- Faults ----------------------------------------------------------------------------------


def fault(target: Target, name: str, strike: Callable[[Target], int], seconds: float = 4) -> Case:
    """Break something while eight clients upload photographs.

    Args:
        target: Target.
        name: of the case.
        strike: breaks something, and returns how many requests in flight may fail because of it.
        seconds: to continue after that; a quarter of this comes before.

    Returns:
        Case; its failures are other requests that failed, and an upload that was not answered
        within `BACK` seconds.
    """
    case, used = Case(name), Case("")

    def client(ended: threading.Event) -> None:
        page = False
        while not ended.is_set():
            judge(used, ask(target.port, upload(PHOTO, page)), (200,), 2 * BACK)
            page = not page

    with target.watching(case), crowd(*[client] * CLIENTS):
        time.sleep(seconds / 4)
        excused = strike(target)
        if not target.until_well(BACK):
            case.fail(f"no upload was answered within {BACK} s")
        time.sleep(seconds)
    case.count, case.worst_time = used.count, used.worst_time
    for failure, times in used.failures.items():
        pardoned = min(times, excused)
        excused -= pardoned
        case.fail(failure, times - pardoned)
    return case


def _kill_decoders(target: Target) -> int:
    killed = 0
    for _ in range(10):
        killed += kill(target.decoders()[:1])
        time.sleep(0.1)
    return killed


def _kill_forkers(target: Target) -> int:
    return CLIENTS if kill(target.forkers()) else 0


def _kill_workers(target: Target) -> int:
    return CLIENTS if kill(target.workers()[:1]) else 0


FAULTS: Mapping[str, Callable[[Target], int]] = {
    "ten decoders killed with `kill -9`": _kill_decoders,
    "the process that forks decoders killed with `kill -9`": _kill_forkers,
    "the gunicorn worker killed with `kill -9`": _kill_workers,
}


def clients_that_hang_up(target: Target, files: Mapping[str, bytes], seconds: float) -> Case:
    """Have eight clients send all or part of an upload and hang up, with harmless requests.

    The time is that of the harmless requests. It is a failure if the server is still busy
    `ANSWER` seconds after the last client has gone.
    """
    case, beside = Case("clients that hang up"), Case("")
    seeds = count()
    sent = [*files.values(), PHOTO, LARGE_PHOTO]

    def client(ended: threading.Event) -> None:
        rng = random.Random(next(seeds))
        while not ended.is_set():
            share = rng.choice([0.01, 0.5, 1, 1])
            hang_up(target.port, rng.choice(sent), share, rng.uniform(0, 0.5))
            case.add()

    with target.watching(case):
        with crowd(*[client] * CLIENTS, harmless(target, beside), health(target, beside)):
            time.sleep(seconds)
        if not _falls_idle(target, ANSWER):
            case.fail(f"still busy {ANSWER} s after the last client had gone")
    case.worst_time = beside.worst_time
    case.failures += beside.failures
    return case


def _falls_idle(target: Target, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):  # a process is ending
            before = ticks_of(target.pid)
            time.sleep(0.3)
            if ticks_of(target.pid) - before <= 2:
                return True
    return False


def stop_under_load(target: Target) -> Case:
    """Stop gunicorn with SIGTERM while eight clients upload. This is a server's last case.

    A request that was sent before the signal must be answered. Later requests may be refused.
    """
    case = Case("SIGTERM under load")
    stopped: list[float] = []
    data = upload(LARGE_PHOTO, page=True)

    def client(ended: threading.Event) -> None:
        while not ended.is_set():
            begun = time.monotonic()
            reply = ask(target.port, data)
            # The margin leaves time for the connection to be accepted.
            if not stopped or begun < stopped[0] - 0.1:
                judge(case, reply, (200,))
            elif reply.status == 0:
                return

    with target.watching(case), crowd(*[client] * CLIENTS):
        time.sleep(1.5)
        stopped.append(time.monotonic())
        target.server.process.terminate()
        target.server.process.wait(60)
    if target.server.process.returncode:
        case.fail(f"gunicorn ended with the code {target.server.process.returncode}")
    return case


# --- The soak --------------------------------------------------------------------------------


def soak(target: Target, files: Mapping[str, bytes], requests: int) -> Case:
    """Have sixteen clients send requests of all kinds, and check how much memory stays in use.

    Args:
        target: Target.
        files: hostile files that take little time.
        requests: how many in all.
    """
    case = Case(f"{requests:,} mixed requests from {SOAK_CLIENTS} clients")
    numbers = iter(range(requests))
    lock = threading.Lock()

    def client(_: threading.Event) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            _one_of_the_mix(target, case, files, random.Random(number))

    with target.watching(case):
        with crowd(*[client] * SOAK_CLIENTS):
            pass
        if not target.until_well(ANSWER):
            case.fail("no upload was answered afterwards")
        _falls_idle(target, ANSWER)
        if (left := anonymous_megabytes(target.pid) - target.idle) > LASTING:
            case.fail(f"{left:.0f} MB more than before stay in use")
    return case


def _one_of_the_mix(
    target: Target, case: Case, files: Mapping[str, bytes], rng: random.Random
) -> None:
    """Send one request. On average, twelve in twenty are uploads of photographs."""
    draw = rng.randrange(20)
    if draw < 11:
        judge(case, ask(target.port, upload(PHOTO, page=draw % 2 == 0)), (200, BUSY))
    elif draw < 12:
        judge(case, ask(target.port, upload(LARGE_PHOTO)), (200, BUSY))
    elif draw < 14:
        path = rng.choice(PAGES)
        judge(case, ask(target.port, get(path)), (404,) if path == "/nothing" else (200,))
    elif draw < 15:
        question = _batch([PHOTO, rng.choice(list(files.values())), b"no image"])
        judge(case, ask(target.port, question), (200, BUSY), BATCH_ANSWER)
    elif draw < 17:
        data = files[rng.choice(list(files))]
        judge(case, ask(target.port, upload(data, page=draw == 15)), HOSTILE_ANSWERS)
    elif draw < 18:
        name = rng.choice(list(MALFORMED))
        judge_exchange(case, name, *exchange(target.port, MALFORMED[name]))
    elif draw < 19:
        judge(case, ask(target.port, upload(_spoiled(rng))), HOSTILE_ANSWERS)
    else:
        hang_up(target.port, PHOTO, rng.random(), rng.uniform(0, 0.1))
        case.add()


def _spoiled(rng: random.Random) -> bytes:
    data = bytearray(PHOTO)
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)
