"""Sets this process's limits and its use of memory, through the kernel and the C library.

All of this works on Linux. On other systems, functions without support do nothing: macOS does not
enforce a limit on address space, and Windows has none of these limits.
"""

import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def return_freed_memory() -> None:
    """Return the memory of large images to the system, and keep that of small ones for reuse.

    glibc keeps freed blocks of up to 32 MB for each thread, so after a few large uploads the
    process would remain a few hundred MB larger. With these settings (mallopt(3)), it returns
    blocks above the first threshold at once. It keeps other blocks up to the second threshold, in
    two arenas for all threads, so that requests need not fetch memory from the system each time.
    """
    m_mmap_threshold, m_trim_threshold, m_arena_max, megabyte = -3, -1, -8, 1 << 20
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_threshold, 4 * megabyte)
        mallopt(m_trim_threshold, 16 * megabyte)
        mallopt(m_arena_max, 2)


def allow_many_connections() -> None:
    """Raise this process's limit on open files and connections to the system's maximum."""
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_connections(wished: int) -> int:
    """The number of connections to allow, up to `wished`, so that files can still be opened."""
    if resource is None:
        return wished
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wished if most == resource.RLIM_INFINITY else max(1, min(wished, most - _FOR_OTHERS))


_FOR_OTHERS = 64  # open files


def limit_for_good() -> None:
    """Forbid this process to write to files and to leave a core dump."""
    if resource is not None:
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(kind, (0, 0))  # the hard limit, too, so that it cannot be undone


def limit_memory(address_space: int) -> None:
    """Have the kernel refuse memory beyond this size of the address space, in bytes (Linux)."""
    if resource is not None and sys.platform == "linux":
        _set(resource.RLIMIT_AS, address_space)


def limit_processor(seconds: int) -> None:
    """Have the kernel end this process after this many more seconds of processor time."""
    if resource is not None:
        _set(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)  # whole seconds


def lift_limits() -> None:
    """Undo `limit_memory` and `limit_processor`."""
    if resource is not None:
        _set(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        _set(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _set(kind: int, limit: int) -> None:
    """Set a limit that can be lifted again, at most the hard limit."""
    _, most = resource.getrlimit(kind)
    is_within = most == resource.RLIM_INFINITY or 0 <= limit <= most
    resource.setrlimit(kind, (limit if is_within else most, most))


def address_space() -> int:
    """The size of this process's address space in bytes; 0 if it cannot be read."""
    return _pages()[0] * _PAGE


def anonymous_memory() -> int:
    """The bytes in memory that this process does not share with a file; 0 if unreadable."""
    _, resident, shared = _pages()
    return (resident - shared) * _PAGE


def _pages() -> tuple[int, int, int]:
    try:
        size, resident, shared, *_ = _STATM.read_bytes().split()  # proc(5)
    except OSError:
        return 0, 0, 0
    return int(size), int(resident), int(shared)


_STATM = Path("/proc/self/statm")
_PAGE = resource.getpagesize() if resource is not None else 4096  # bytes


def processor_time(pid: int) -> float | None:
    """The processor time that a process has taken, in seconds; None if it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime; proc(5)


def be_quiet() -> None:
    """Discard the output of C libraries: libtiff and libheif print warnings on damaged files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
