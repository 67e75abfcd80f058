"""Classifying on a Dask cluster: the same answers, on as many machines as it has.

The workers read the files themselves, from shared storage under the same paths. Only paths are sent
to them, and answers come back. Each of their threads has a few batches in progress, so the memory
of this process does not grow with the number of images.

Needs `dask[distributed]`, which the app itself does not need.
"""

import asyncio
import contextlib
import functools
import logging
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from lesion_lens import version
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.errors import LesionLensError, ModelFileError
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.web import bulk
from lesion_lens.web.bulk import Result, Task
from lesion_lens.web.folders import printable, shown

BATCH = 32  # images: a worker takes a tenth of a second for them, Dask a few milliseconds
MAP_BATCH = 4  # images if each comes with a heat map of up to a megabyte
AHEAD = 3  # batches in progress for each thread of the workers
CONNECT = 10  # seconds for the scheduler to answer
PATIENCE = 60  # seconds without any worker, after which the run ends
_ASK = 1  # second between checks of the cluster
LOST = "The connection to the Dask scheduler was lost. Restart the scheduler and this command."
GONE = "The file cannot be read (No such file or directory)."
KILLER = "Several workers were lost while reading this image. Save it again and retry."


class ClusterError(LesionLensError):
    """The cluster does not answer, or its workers cannot do the work."""


def results(
    tasks: Iterable[Task], address: str, sha256: str, with_map: bool = False
) -> Iterator[tuple[Task, Result]]:
    """Classify images on the workers of a cluster, and yield the results as they arrive.

    Dask gives the images of a lost worker to the others. If several workers are lost while reading
    an image, the image gets a fault.

    Args:
        tasks: any number; `AHEAD` batches for each thread of the workers are taken in advance.
        address: of the scheduler, such as `tcp://10.0.0.1:8786`, or `tls://…` with the certificates
            from Dask's own configuration.
        sha256: of the model file, which the workers must have too.
        with_map: whether to draw a heat map of each image.

    Raises:
        ClusterError
    """
    with _client(address) as client:
        work = _Work(client, sha256, with_map)
        rest = iter(tasks)
        size = MAP_BATCH if with_map else BATCH
        while True:
            while work.has_place() and (batch := tuple(islice(rest, size))):
                work.submit(batch)
            if not work.under_way:
                return
            yield from work.next_results()


class _Work:
    """The batches in progress.

    Args:
        client: a `distributed.Client`.
        sha256, with_map: see `results`.
    """

    def __init__(self, client: Any, sha256: str, with_map: bool) -> None:
        self._client = client
        self._classify = functools.partial(
            classify_batch, sha256=sha256, version_asked=version(), with_map=with_map
        )
        self.under_way: dict[str, tuple[Any, tuple[Task, ...]]] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._suspects: deque[Task] = deque()
        self._alone: str | None = None  # the key of the suspect being tried
        self._asked, self._last_worker, self._threads = -math.inf, time.monotonic(), 0

    def has_place(self) -> bool:
        """Whether another batch may be submitted. Updates the thread count once a second.

        Raises:
            ClusterError: there has been no worker for `PATIENCE`, or the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._asked > _ASK:
            self._asked = now
            self._threads = _threads_of(self._client)
            if self._threads:
                self._last_worker = now
        if now - self._last_worker > PATIENCE:
            raise ClusterError(
                f"The cluster has had no worker for {PATIENCE} seconds. Start some and try again."
            )
        return len(self.under_way) < AHEAD * max(self._threads, 1)

    def submit(self, batch: tuple[Task, ...]) -> str:
        """Submit a batch and return Dask's key for it."""
        paths = [os.path.abspath(task.path) for task in batch]
        future = self._client.submit(self._classify, paths, pure=False)
        self.under_way[future.key] = future, batch
        future.add_done_callback(lambda future: self._done.put(future.key))
        return str(future.key)

    def _try_suspect(self) -> None:
        """Submit the next image of a batch that lost workers, alone.

        One at a time, because Dask blames everything that a lost worker had to do.
        """
        if self._suspects and self._alone is None:
            self._alone = self.submit((self._suspects.popleft(),))

    def next_results(self) -> Iterator[tuple[Task, Result]]:
        """Wait until a batch is done.

        Yields:
            Its results; nothing if no batch is done within a second, or if the batch lost workers
            and its images are tried one by one.

        Raises:
            ClusterError
        """
        try:
            key = self._done.get(timeout=_ASK)
        except queue.Empty:
            return
        future, batch = self.under_way.pop(key)
        is_alone = key == self._alone
        if is_alone:
            self._alone = None
        try:
            found = future.result()
        except Exception as error:  # Dask's own, or one of a worker
            if type(error).__name__ != "KilledWorker":
                raise _cluster_error(error) from error
            if is_alone:
                yield batch[0], Result(fault=KILLER)
            else:  # at most one of them is the culprit
                self._suspects.extend(batch)
            self._try_suspect()
            return
        self._try_suspect()
        for task, (worker, result) in zip(batch, found, strict=True):
            if result is None and os.path.lexists(task.path):
                raise ClusterError(
                    f"The worker {worker} does not see {printable(shown(task.path))}. Give all "
                    "workers the same folders under the same path, on shared storage."
                )
            yield task, result or Result(fault=GONE)


# --- On a worker -----------------------------------------------------------------------------


def classify_batch(
    paths: list[str], sha256: str, version_asked: str, with_map: bool
) -> list[tuple[str, Result | None]]:
    """Classify images on a worker, which loads the model once.

    Args:
        paths: absolute, of the files.
        sha256: of the model file that the worker must have.
        version_asked: the version of Lesion Lens that it must have.
        with_map: whether to draw a heat map of each image.

    Returns:
        For each image, the worker's address and the result; None if there is no such file.

    Raises:
        ClusterError: the worker has a different model or version, or cannot use its model file.
    """
    import distributed

    worker = distributed.get_worker().address
    if version() != version_asked:
        raise ClusterError(
            f"The worker {worker} has version {version()} of Lesion Lens, not {version_asked}. "
            "Install the same version everywhere."
        )
    try:
        classifier = _worker_classifier()
        if classifier.sha256 != sha256:
            raise ClusterError(
                f"The worker {worker} has a different model file. Give it a copy of this one, and "
                "set MODEL_PATH there to its path."
            )
        classifier.load()
        tasks = [Task(number, path, "") for number, path in enumerate(paths)]
        seen = [task for task in tasks if os.path.lexists(task.path)]
        found = {task.number: result for task, result in bulk.results(seen, classifier, with_map)}
    except ModelFileError as error:
        raise ClusterError(f"The worker {worker} cannot use its model file. {error}") from error
    return [(worker, found.get(task.number)) for task in tasks]


_MAKING = threading.Lock()


def _worker_classifier() -> Classifier:
    """Return the model of this worker, shared by all its threads."""
    with _MAKING:
        return _make_classifier(os.environ.get("MODEL_PATH", str(DEFAULT_MODEL_PATH)))


_make_classifier = functools.cache(Classifier)


# --- The cluster -----------------------------------------------------------------------------


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    """Connect to a scheduler, with the certificates that Dask's configuration names.

    Raises:
        ClusterError
    """
    try:
        import distributed
    except ImportError as error:
        raise ClusterError('--dask needs Dask: pip install "dask[distributed]"') from error
    # Dask's own log repeats what our errors say, and reports workers that come and go.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        asyncio.run(_reach(address))  # first: an unconnected client prints errors at exit
        client = distributed.Client(address, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # wrong addresses, ports and certificates raise many kinds
        raise ClusterError(
            f"No Dask scheduler answers at “{address}”. Check the address, the network and, for "
            "tls://, the certificates in Dask's configuration."
        ) from error
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.close()


async def _reach(address: str) -> None:
    """Connect to a scheduler and hang up."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    await (await connect(address, timeout=CONNECT, **arguments)).close()


def _threads_of(client: Any) -> int:
    """Count the threads of all workers.

    Raises:
        ClusterError: the scheduler does not answer.
    """
    try:
        return sum(client.nthreads().values())
    except Exception as error:  # a lost connection raises many kinds
        raise ClusterError(LOST) from error


def _cluster_error(error: Exception) -> ClusterError:
    """Turn an error of Dask or of a worker into our own, with a clear sentence."""
    if isinstance(error, ClusterError):
        return error
    if isinstance(error, ImportError) or "deserialization" in str(error):
        return ClusterError(
            "The scheduler or a worker cannot import Lesion Lens and its packages. Start all of "
            "them in a copy of this repository, with its packages installed."
        )
    if type(error).__name__ in ("FutureCancelledError", "CancelledError"):
        return ClusterError(LOST)
    return ClusterError(f"A worker failed: {type(error).__name__}: {error}")
