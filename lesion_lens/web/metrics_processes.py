"""What gunicorn's master does so that the metrics cover all of its workers. Imports no Flask.

Each worker counts in files of one folder, which prometheus-client adds up (its multiprocess mode),
so the counts survive the end of a worker. The metrics port is bound here once, and every worker
answers on it. It is not one of gunicorn's own addresses, which `--bind` would replace.
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

PREFIX = "lesion-lens-metrics-"  # followed by the process id of the master that made it
_listeners: list[Any] = []  # of this master; at most one


def name_folder() -> None:
    """Set `PROMETHEUS_MULTIPROC_DIR` for the workers, which inherit the environment.

    Call this before importing prometheus-client, which reads it on import. An existing setting is
    kept; otherwise this makes a new folder. Does nothing if the metrics are off.
    """
    if _access() is None:
        return
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if named and _maker(Path(named)) is None:
        with contextlib.suppress(OSError):  # each worker reports the fault
            Path(named).mkdir(parents=True, exist_ok=True)
    elif _maker(Path(named)) != os.getpid():  # otherwise we made it before a reload
        _remove_abandoned()
        made = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = made


def start(server: Any) -> None:
    """Discard an earlier master's counts, and bind the metrics port if one is set.

    Exits if the port is taken. So, if a master that holds the port is replaced without a pause
    (SIGUSR2), the new one exits and the old one continues to serve.

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
                f"{access.host}, or set METRICS_PORT and METRICS_HOST to other values.",
                file=sys.stderr,
            )
            remove_folder()
            sys.exit(3)
        server.log.info("Metrics at: %s", _listeners[0])


def _bind(host: str, port: int, server: Any) -> Any:
    """Make a listening socket as gunicorn does.

    Raises:
        OSError: it cannot be bound, or the app uses the same port.
    """
    from gunicorn.sock import TCP6Socket, TCPSocket

    if port in [address[1] for address in server.cfg.address if isinstance(address, tuple)]:
        raise OSError(errno.EADDRINUSE, "it is the app's own port")
    kind = TCP6Socket if ":" in host else TCPSocket
    return kind((host, port), server.cfg, server.log)


def add_port(worker: Any) -> None:
    """Make a newly forked worker also answer on the metrics port."""
    worker.sockets = [*worker.sockets, *_listeners]


def forget_worker(pid: int) -> None:
    """Remove an ended worker's current values from the sums; its totals stay."""
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
    except SettingError:  # each worker reports it and fails to start
        return None


def _maker(folder: Path) -> int | None:
    """Return the id of the process that made a folder; None if the folder is not ours."""
    pid = folder.name.removeprefix(PREFIX).partition("-")[0]
    is_ours = folder.name.startswith(PREFIX) and pid.isdecimal()
    return int(pid) if is_ours else None


def _remove_abandoned() -> None:
    """Remove the folders of killed masters; in a container, this master may have the same id."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = _maker(folder)
        if pid is None or folder.is_symlink():
            continue
        with contextlib.suppress(PermissionError):  # it runs as another user
            if pid == os.getpid() or not _runs(pid):
                shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether a process is running; raises PermissionError if it is another user's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
