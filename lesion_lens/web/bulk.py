"""Classifying many images, a few at a time, in the order of their files."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from lesion_lens.model.classifier import Answer, Classifier
from lesion_lens.model.decoding import DecoderPool
from lesion_lens.model.errors import Busy, ImageError, NotProcessed
from lesion_lens.model.image_files import UnreadableFile, read
from lesion_lens.model.limits import MAX_DECODES, MEGA
from lesion_lens.web.folders import files_in, shown

AHEAD = 32  # images begun before the answer to the first of them is written


# Nobody else waits for these, so each has as much memory as the largest image needs, and its turn.
decode = DecoderPool(memory=MAX_DECODES * 400 * MEGA, answer_limit=math.inf).decode


# The name of a file, the answer or None, and what is wrong with the file where there is none.
Result = tuple[str, Answer | None, str | None]


def answers(paths: Iterable[Path], classifier: Classifier) -> Iterator[Result]:
    """Classify images, `MAX_DECODES` at a time, and give the results in the order of the files."""
    images = (path for path, is_image in files_in(paths) if is_image)
    with ThreadPoolExecutor(MAX_DECODES) as pool:
        begun = (pool.submit(answer_of, path, classifier) for path in images)
        try:
            ahead = deque(islice(begun, AHEAD))
            while ahead:
                yield ahead.popleft().result()
                ahead.extend(islice(begun, 1))
        finally:  # after an interruption only what is begun is waited for
            pool.shutdown(cancel_futures=True)


def answer_of(path: str, classifier: Classifier) -> Result:
    """Classify one image.

    Raises:
        ModelFileError
    """
    try:
        return shown(path), classifier(decode(read(path)).pixels), None
    except (ImageError, UnreadableFile) as error:
        return shown(path), None, str(error)
    except Busy:  # the machine left its decoder no time, or let none be started
        return shown(path), None, str(NotProcessed())
