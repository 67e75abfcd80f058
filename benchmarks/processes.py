"""Measure the app in one and in two processes behind nginx as the router.

    python -m benchmarks.processes          a minute; needs wrk and nginx (apt-get)

Each process is started as in the Procfile. All of them share this machine's cores.

Writes its table into docs/scale.md.
"""

import argparse
import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.cluster import PAGE
from benchmarks.pictures import SIZES, photograph
from benchmarks.servers import (
    LITERT_MODEL,
    PATIENCE,
    PREDICTION,
    CannotMeasure,
    Running,
    free_port,
    litert_is_missing,
    running,
    shipped,
    status_of,
)
from benchmarks.serving import WARM_UP, load
from benchmarks.table import as_command, measured_on
from scripts.marks import publish

CLIENTS = 8
LEGEND = "Eight clients post a JPEG of 600×450 to the API on LiteRT, through nginx."
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/answers;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream app {{
{servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 20m;
    client_body_buffer_size 20m;
    location / {{ proxy_pass http://app; proxy_set_header Host $http_host; }}
  }}
}}
"""


@contextlib.contextmanager
def router(ports):
    """Run nginx in front of servers on these ports, and yield nginx's port.

    Raises:
        CannotMeasure
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        servers = "\n".join(f"    server 127.0.0.1:{one};" for one in ports)
        path = Path(folder, "nginx.conf")
        path.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port))
        process = subprocess.Popen(["nginx", "-c", path], stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + PATIENCE
            while status_of(port, "GET", "/healthz") != 200:
                if process.poll() is not None or time.monotonic() > end:
                    raise CannotMeasure("nginx does not start: run `nginx` by hand to see why.")
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait()


def measure(processes, data, seconds):
    """Put load on the app in this many processes.

    Returns:
        Load.
    """
    with contextlib.ExitStack() as stack:
        server = shipped("app on LiteRT", LITERT_MODEL)
        started = [stack.enter_context(running(server, data)) for _ in range(processes)]
        port = stack.enter_context(router([one.port for one in started]))
        behind = Running(started[0].pid, port, 0, 0)
        load(behind, PREDICTION, data, CLIENTS, WARM_UP)
        found = load(behind, PREDICTION, data, CLIENTS, seconds)
    if not found.rate:
        raise CannotMeasure("No request was answered through nginx: look at the app's log.")
    return found


def run(seconds):
    """Measure and write the table.

    Raises:
        CannotMeasure, MissingMarks
    """
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            raise CannotMeasure(f"This needs {program}: apt-get install {program}")
    if remark := litert_is_missing():
        raise CannotMeasure(remark)
    data = photograph(SIZES["600×450"])
    lines = [
        *(measured_on(), "", LEGEND, ""),
        "| processes | answers a second | p50, ms | p99, ms | errors |",
        "|---|---|---|---|---|",
    ]
    for processes in (1, 2):
        found = measure(processes, data, seconds)
        lines.append(
            f"| {processes} | {found.rate:.0f} | {found.p50:.0f} | {found.p99:.0f} "
            f"| {found.errors} |"
        )
        print(lines[-1], flush=True)
    publish(PAGE, {"processes": "\n".join(lines)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each load (%(default)s)")
    options = parser.parse_args()
    as_command(run, options.seconds)


if __name__ == "__main__":
    main()
