"""What gunicorn's master does so that one answer counts for all of its workers. Knows no Flask.

Each worker counts in files of a folder, which prometheus-client adds up (its multiprocess mode). So
the counts also survive the end of a worker. The port of the metrics is bound here, once, and every
worker answers on it. It is none of gunicorn's own addresses, which `--bind` would replace.
"""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from lesion_lens.model.errors import SettingError
from lesion_lens.web.metrics_access import MetricsAccess, metrics_access

PREFIX = "lesion-lens-metrics-"  # then the master's process id, as the next one asks who made it
_listeners: list[Any] = []  # of this master: one, or none


def name_folder() -> None:
    """Give `PROMETHEUS_MULTIPROC_DIR` to the workers, by the environment that they inherit.

    To be called before prometheus-client is imported, which looks at it then. The folder is the one
    that it names already, or a new one. Does nothing where the metrics are off.
    """
    if _access() is None:
        return
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if named and _maker(Path(named)) is None:
        with contextlib.suppress(OSError):  # each worker says that it is none
            Path(named).mkdir(parents=True, exist_ok=True)
    elif _maker(Path(named)) != os.getpid():  # else the settings are read again
        _remove_abandoned()
        made = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = made


def start(server: Any) -> None:
    """Forget what an earlier master counted, and bind the port of the metrics if they have one.

    Ends the process where the port is taken. So a master that is replaced without a pause (SIGUSR2)
    goes on serving if it holds the port.

    Args:
        server: gunicorn's arbiter.
    """
    access = _access()
    if access is None:
        return
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
        file.unlink(missing_ok=True)
    if access.port is not None:
        try:
            _listeners.append(_bind(access.host, access.port, server))
        except OSError as error:
            print(
                f"METRICS_PORT cannot be bound ({error.strerror}): free port {access.port} of "
                f"{access.host}, or set METRICS_PORT and METRICS_HOST to others.",
                file=sys.stderr,
            )
            remove_folder()
            sys.exit(3)
        server.log.info("Metrics at: %s", _listeners[0])


def _bind(host: str, port: int, server: Any) -> Any:
    """Make a listening socket as gunicorn does.

    Raises:
        OSError: it cannot be bound, or its port is one that the app will have.
    """
    from gunicorn.sock import TCP6Socket, TCPSocket

    if port in [address[1] for address in server.cfg.address if isinstance(address, tuple)]:
        raise OSError(errno.EADDRINUSE, "it is the app's own port")
    kind = TCP6Socket if ":" in host else TCPSocket
    return kind((host, port), server.cfg, server.log)


def add_port(worker: Any) -> None:
    """Have a worker, which has just been forked, answer on the port of the metrics, too."""
    worker.sockets = [*worker.sockets, *_listeners]


def forget_worker(pid: int) -> None:
    """Take what a worker did at its end out of the sums; what it had done stays."""
    if _access() is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)


def remove_folder() -> None:
    """Remove the folder, if this process made it."""
    named = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if _maker(named) == os.getpid():
        shutil.rmtree(named, ignore_errors=True)


def _access() -> MetricsAccess | None:
    try:
        return metrics_access(os.environ)
    except SettingError:  # each worker says which, and ends the start
        return None


def _maker(folder: Path) -> int | None:
    """The id of the process that made a folder; None of a folder that is not ours."""
    pid = folder.name.removeprefix(PREFIX).partition("-")[0]
    is_ours = folder.name.startswith(PREFIX) and pid.isdecimal()
    return int(pid) if is_ours else None


def _remove_abandoned() -> None:
    """Remove the folders of masters that were killed; in a container this one may have their id."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = _maker(folder)
        if pid is None or folder.is_symlink():
            continue
        with contextlib.suppress(PermissionError):  # it runs, as another user
            if pid == os.getpid() or not _runs(pid):
                shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether there is a process; raises PermissionError where it is another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
