"""Classifying many images, a few at a time, with results in the order of the files."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decisions import LAST
from lesion_lens.model.decoding import DecoderPool
from lesion_lens.model.errors import Busy, ImageError, NotProcessed
from lesion_lens.model.image_files import UnreadableFile, read
from lesion_lens.model.limits import MAX_DECODES, MEGA
from lesion_lens.web.heat_maps import draw_map
from lesion_lens.web.results import to_dict

AHEAD = 32  # images submitted before the first result is taken


# No other user waits here, so the pool has enough memory for the largest images and no time limit
# on its answers.
decode = DecoderPool(memory=MAX_DECODES * 400 * MEGA, answer_limit=math.inf).decode


class Task(NamedTuple):
    """An image to classify.

    Attributes:
        number: its position among all images, from 0.
        path: of its file.
        key: of its file, from `progress.key_of`.
    """

    number: int
    path: str
    key: str


@dataclass(frozen=True)
class Result:
    """The result for an image: an answer or a fault.

    Attributes:
        record: its answer, from `to_dict`; None if there is none.
        fault: a sentence on what is wrong with its file; None if there is an answer.
        urgency: of the answer, from `Answer`; `LAST` if there is none.
        heat_map: a PNG; None if none was requested.
    """

    record: dict[str, Any] | None = None
    fault: str | None = None
    urgency: float = LAST
    heat_map: bytes | None = None


def results(
    tasks: Iterable[Task], classifier: Classifier, with_map: bool = False
) -> Iterator[tuple[Task, Result]]:
    """Classify images, `MAX_DECODES` at a time, and yield the results in the order of the tasks.

    Args:
        tasks: any number; at most `AHEAD` of them are taken in advance.
        classifier: the model.
        with_map: whether to draw a heat map of each image.

    Raises:
        ModelFileError
    """
    with ThreadPoolExecutor(MAX_DECODES) as pool:
        begun = ((task, pool.submit(result_of, task.path, classifier, with_map)) for task in tasks)
        try:
            ahead = deque(islice(begun, AHEAD))
            while ahead:
                task, future = ahead.popleft()
                yield task, future.result()
                ahead.extend(islice(begun, 1))
        finally:  # after an interruption, wait only for running tasks
            pool.shutdown(cancel_futures=True)


def result_of(path: str, classifier: Classifier, with_map: bool = False) -> Result:
    """Classify one image.

    Raises:
        ModelFileError
    """
    try:
        image = decode(read(path), with_preview=with_map)
        answer = classifier(image.pixels, with_map)
    except (ImageError, UnreadableFile) as error:
        return Result(fault=error.at_the_command_line())
    except Busy:  # the machine left the decoder no time, or could not start one
        return Result(fault=str(NotProcessed()))
    heat_map = None
    if image.preview is not None and answer.occlusion is not None:
        heat_map = draw_map(image.preview, answer.occlusion)
    return Result(to_dict(answer), None, answer.urgency, heat_map)
