"""Compare how fast the app serves with a simple baseline and with the work alone.

    python -m benchmarks.serving                about eight minutes on two cores
    python -m benchmarks.serving --memory       also the memory over 20,000 requests: five more

The servers run on this machine one after another: `baseline.py`, then the app as the Procfile
starts it, with each model file. wrk posts the same drawn images to all of them, first from one
client and then from eight. The floor is the same work in a loop without a server.

Writes its tables into docs/benchmarks.md. The exit code is 1 if something that is needed is
missing; it does not depend on the times.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import floor
from benchmarks.pictures import SIZES, photograph
from benchmarks.servers import (
    BASELINE,
    LITERT_MODEL,
    PATIENCE,
    PREDICTION,
    CannotMeasure,
    form,
    litert_is_missing,
    memory_of,
    running,
    servers,
    wait_until_idle,
)
from benchmarks.table import FLOOR, PAGE, Load, Row, Start, as_command, document
from scripts.marks import publish

CLIENTS = {1: 1, 8: 2}  # -> processes of the floor, which keeps at most two cores busy
WARM_UP = 2  # seconds of load before each measurement
STEP = 1000  # requests between readings of the memory
LONGEST_CURVE = 1200  # seconds


def load(server, request, data, clients, seconds):
    """Have wrk post a file repeatedly.

    Args:
        server: Running.
        request: Request.
        data: the file's bytes.
        clients: number of connections, each of which waits for an answer before it sends again.
        seconds: int, how long.

    Returns:
        Load; for an answer that took more than twice the usual time, wrk also counts the requests
        that would have been sent meanwhile, so that p99 is not too low.

    Raises:
        CannotMeasure: wrk fails.
    """
    wait_until_idle(server.pid)
    body, content_type = form(request.field, data)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [
            *("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", f"--timeout={PATIENCE}s"),
            *("-s", Path(__file__).with_name("post.lua")),
            f"http://127.0.0.1:{server.port}{request.path}",
            *("--", file.name, content_type),
        ]
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
    if done.returncode:
        raise CannotMeasure(f"wrk failed; run it by hand to see why: {done.stderr.strip()}")
    said = json.loads(done.stdout.splitlines()[-1])
    processor = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return Load(
        rate=(said["requests"] - said["refused"]) / said["seconds"],
        p50=said["p50"],
        p99=said["p99"],
        errors=said["refused"] + said["socket_errors"],
        wrk_share=processor / (after.elapsed - before.elapsed),
    )


def floor_load(data, views, processes, seconds):
    """The same for the work alone; the arguments are those of `floor.latencies`."""
    taken = floor.latencies(data, views, LITERT_MODEL, processes, seconds)
    centiles = statistics.quantiles(taken, n=100, method="inclusive")
    return Load(processes * len(taken) / sum(taken), 1000 * centiles[49], 1000 * centiles[98])


def server_rows(server, process, picture, data, seconds):
    """Yield a `Row` for each number of clients and each request, for one picture."""
    for clients in CLIENTS:
        for request in server.requests:
            load(process, request, data, clients, min(WARM_UP, seconds))
            found = load(process, request, data, clients, seconds)
            yield said(Row(picture, clients, server.name, request.name, request.views, found))


def floor_rows(pictures, seconds):
    """Yield the floor's `Row`s: one process for one client, two for eight."""
    for picture, data in pictures.items():
        for clients, processes in CLIENTS.items():
            for views, name in ((1, "1 view"), (8, "8 views")):
                found = floor_load(data, views, processes, seconds)
                yield said(Row(picture, clients, FLOOR, name, views, found))


def memory_curve(process, data, requests):
    """Read the anonymous memory about every `STEP` predictions, for at most `LONGEST_CURVE`.

    Args:
        process: Running.
        data: bytes of the image.
        requests: how many.

    Returns:
        list of (requests, megabytes, errors since the previous reading).

    Raises:
        CannotMeasure: no request is answered.
    """
    end = time.perf_counter() + LONGEST_CURVE
    sent, seconds, curve = 0, WARM_UP, []
    while sent < requests and time.perf_counter() < end:
        found = load(process, PREDICTION, data, max(CLIENTS), seconds)
        if not found.rate:
            raise CannotMeasure("The API answers no request: look at its log.")
        sent += round(found.rate * seconds)
        seconds = math.ceil(STEP / found.rate)
        curve.append((sent, memory_of(process.pid).anonymous, found.errors))
        say(f"    {sent:,} requests: {curve[-1][1]:.0f} MB anonymous")
    return curve


def measure(server, pictures, options):
    """Start a server several times; the last time, put load on it and read its memory.

    Args:
        server: Server.
        pictures: dict of name -> bytes.
        options: from `parse_arguments`.

    Returns:
        (Start, list of Row).
    """
    say(f"{server.name}, {options.starts} starts")
    small = next(iter(pictures.values()))
    starts, rows, memory, curve = [], [], {}, []
    for start in range(options.starts + 1):
        with running(server, small) as process:
            if start:  # the first start only brings the files into memory
                starts.append(process)
            if start == options.starts:
                for picture, data in pictures.items():
                    rows += server_rows(server, process, picture, data, options.seconds)
                    wait_until_idle(process.pid)
                    memory[picture] = memory_of(process.pid)
    if options.memory and server.name != BASELINE:
        with running(server, small) as process:  # a new one, without large images before
            curve = memory_curve(process, small, options.requests)
    first_page = statistics.median(one.first_page for one in starts)
    first_answer = statistics.median(one.first_answer for one in starts)
    return Start(server.name, first_page, first_answer, memory, curve), rows


def said(row):
    """Print what was just measured; returns it."""
    load = row.load
    say(
        f"    {row.picture}, {row.clients} at once, {row.server}, {row.request}: "
        f"{load.rate:.1f}/s, p50 {load.p50:.1f} ms, p99 {load.p99:.1f} ms, {load.errors} errors"
    )
    return row


def say(text):
    """Print at once."""
    print(text, flush=True)


def parse_arguments(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each load (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="of each server (%(default)s)")
    parser.add_argument("--memory", action="store_true", help="also the memory over --requests")
    parser.add_argument("--requests", type=int, default=20_000, help="for --memory (%(default)s)")
    options = parser.parse_args(arguments)
    if min(options.seconds, options.starts, options.requests) < 1:
        parser.error("--seconds, --starts and --requests must be whole numbers of at least 1")
    return options


def run(options):
    """Measure everything and write the tables.

    Raises:
        CannotMeasure, MissingMarks
    """
    if shutil.which("wrk") is None:
        raise CannotMeasure("wrk, which sends the load, is missing: run `apt-get install wrk`.")
    pictures = {name: photograph(size) for name, size in SIZES.items()}
    decode = {name: 1000 * floor.decode_seconds(data) for name, data in pictures.items()}
    starts, rows = [], []
    for server in servers():
        start, found = measure(server, pictures, options)
        starts.append(start)
        rows += found
    remark = litert_is_missing()
    if remark is None:
        rows += floor_rows(pictures, options.seconds)
    table = document(rows, starts, decode, remark)
    say(f"\n{table}")
    publish(PAGE, {"serving": table})
    say(f"Wrote it into {PAGE}.")


def main():
    as_command(run, parse_arguments())


if __name__ == "__main__":
    main()
