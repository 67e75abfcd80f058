"""What the kernel and the C library can be told of this process: its limits, and its memory.

Linux has all of it. Elsewhere what is missing does nothing: macOS does not enforce a limit of
address space, and Windows knows none of these limits.
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
    """Have the memory of large images go back to the system, and keep that of small ones at hand.

    glibc keeps freed blocks of up to 32 MB, for each thread, so after a few large uploads the
    process would stay some hundred MB larger. Blocks above the first threshold it gives back at
    once; of the others it keeps up to the second, in two arenas for all threads, so that a
    request does not fetch every page of its image from the system anew (mallopt(3)).
    """
    m_mmap_threshold, m_trim_threshold, m_arena_max, megabyte = -3, -1, -8, 1 << 20
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_mmap_threshold, 4 * megabyte)
        mallopt(m_trim_threshold, 16 * megabyte)
        mallopt(m_arena_max, 2)


def allow_many_connections() -> None:
    """Let this process have as many open files and connections as the system allows it at all."""
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS, whose limit of none is too much
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_connections(wished: int) -> int:
    """How many connections there may be, up to the wish, so that files can still be opened."""
    if resource is None:
        return wished
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wished if most == resource.RLIM_INFINITY else max(1, min(wished, most - _FOR_OTHERS))


_FOR_OTHERS = 64  # open files


def limit_for_good() -> None:
    """Let this process put nothing into a file and leave no image of its memory."""
    if resource is not None:
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
            resource.setrlimit(kind, (0, 0))  # the second can be lowered alone, never raised


def limit_memory(address_space: int) -> None:
    """Have the kernel refuse whatever would make the address space larger than so many bytes."""
    if resource is not None and sys.platform == "linux":
        _set(resource.RLIMIT_AS, address_space)


def limit_processor(seconds: int) -> None:
    """Have the kernel end this process after so many further seconds of processor time."""
    if resource is not None:
        _set(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)  # of whole seconds


def lift_limits() -> None:
    """Undo `limit_memory` and `limit_processor`."""
    if resource is not None:
        _set(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        _set(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _set(kind: int, limit: int) -> None:
    """Set a limit that can be lifted again, within the one that was set from outside."""
    _, most = resource.getrlimit(kind)
    is_within = most == resource.RLIM_INFINITY or 0 <= limit <= most
    resource.setrlimit(kind, (limit if is_within else most, most))


def address_space() -> int:
    """The bytes of address space of this process; 0 where that cannot be read."""
    return _pages()[0] * _PAGE


def anonymous_memory() -> int:
    """The bytes that this process keeps and shares with no file; 0 where that cannot be read."""
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
    """The seconds of processor time that a process has taken; None where that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime; proc(5)


def be_quiet() -> None:
    """Drop what C libraries print: libtiff and libheif remark on a spoiled file by the line."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
