"""Servers on this machine: an app in a thread, and gunicorn started like a platform does."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import requests
from werkzeug.serving import make_server

from benchmarks.servers import free_port
from lesion_lens import ROOT
from tests.support.waiting import wait_for

COMMAND = (ROOT / "Procfile").read_text(encoding="utf-8").removeprefix("web:").strip()
BOOT = 60  # seconds, Heroku's limit


@contextlib.contextmanager
def serving(application, port=0):
    """Serve a WSGI application while the context lasts; yield its port (0: any free port)."""
    server = make_server("127.0.0.1", port, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Gunicorn:
    """A running gunicorn.

    Attributes:
        process: subprocess.Popen, its master.
        port: on 127.0.0.1.
        log: the file that it writes to.
    """

    process: subprocess.Popen
    port: int
    log: Path

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self):
        return self.log.read_text(encoding="utf-8")

    @property
    def workers(self):
        """The process ids of the workers that the log names."""
        return list(map(int, re.findall(r"Booting worker with pid: (\d+)", self.said)))

    def wait_until_ready(self):
        wait_for(self._is_ready, BOOT)

    def _is_ready(self):
        assert self.process.poll() is None, self.said
        try:
            return requests.get(f"{self.address}/readyz", timeout=BOOT).status_code == 200
        except requests.ConnectionError:
            return False


@contextlib.contextmanager
def gunicorn(
    log,
    programs=Path(sys.executable).parent,
    folder=ROOT,
    enter="",
    command=COMMAND,
    **environment,
):
    """Run a command while the context lasts, by default the Procfile's; it must end with code 0.

    Args:
        log: the file that it writes to.
        programs: the folder of its Python's programs.
        folder: where it starts.
        enter: what the shell runs first, such as `cd / &&`.
        command: what the shell runs.
        environment: additional variables; apart from PATH, it inherits none from the tests.

    Yields:
        Gunicorn, which may not be ready yet.
    """
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            ["sh", "-c", f"{enter} exec {command}"],
            cwd=folder,
            env={
                "HOME": str(Path.home()),
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "PORT": str(port),
                "WEB_CONCURRENCY": "2",
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Gunicorn(process, port, log)
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):  # in case any of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
