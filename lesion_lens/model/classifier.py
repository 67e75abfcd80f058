"""A file in, everything that may be said of it out: what pages, programs and command line share.

Holds the model of this process and bounds its work: `MAX_DECODES` images are decoded at once,
however many requests there are, or one where several processes serve. Knows no Flask.
"""

import contextlib
import io
import threading
from dataclasses import dataclass

import numpy as np

from lesion_lens.model.decisions import DecisionFacts, Statements, combine_views, decide
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import Busy, ModelFileError
from lesion_lens.model.files import check_model_file, read_attributes, remedy_of, sha256_of
from lesion_lens.model.images import read_image
from lesion_lens.model.outliers import OutlierDetector
from lesion_lens.model.views import predict
from skin_cancer_detection import preprocess

MAX_DECODES = 2  # a decoded image may take 100 MB, so no more stand in memory at once
MAX_WAITING = 8  # further requests with images that wait for their turn
PREVIEW_SIDE = 600  # pixels, as wide as the originals of HAM10000


_decodes = threading.BoundedSemaphore(MAX_DECODES)
_admissions = threading.BoundedSemaphore(MAX_DECODES + MAX_WAITING)


def decode_one_at_a_time():
    """Take one of the two turns for good, where another process on the machine decodes as well."""
    _decodes.acquire()


@contextlib.contextmanager
def admission():
    """Let a request with images in, or turn it away: hold this around all its work.

    Raises:
        Busy: at once, if `MAX_DECODES` + `MAX_WAITING` requests are in.
    """
    if not _admissions.acquire(blocking=False):
        raise Busy("Too many images are waiting for their turn. Try again in a few seconds.")
    try:
        yield
    finally:
        _admissions.release()


@dataclass(frozen=True)
class DecodedImage:
    """What is kept of an uploaded file.

    Attributes:
        pixels: uint8 (28, 28, 3), RGB, 0–255, as the network takes them.
        preview: bytes of a JPEG of at most `PREVIEW_SIDE` pixels a side, upright, with no metadata
            of the upload; None where none was asked for.
        size: (width, height) of the preview in pixels; None without one.
    """

    pixels: np.ndarray
    preview: bytes | None = None
    size: tuple[int, int] | None = None


def decode(data, with_preview=False):
    """Decode an untrusted file when it is its turn: `MAX_DECODES` at once, or one.

    Args:
        data: the file's bytes.
        with_preview: whether to make the preview as well.

    Returns:
        DecodedImage.

    Raises:
        ImageError: the file cannot be used; see `read_image`.
    """
    with _decodes:
        image = read_image(data)
        pixels = preprocess(image)
        if not with_preview:
            return DecodedImage(pixels)
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        image.info.clear()  # Pillow writes a JPEG's comment into the copy, whatever it says
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        return DecodedImage(pixels, file.getvalue(), image.size)


@dataclass(frozen=True)
class Answer:
    """Everything that is said of one image.

    Attributes:
        probabilities: float64 (7,), summing to 1, in the order of `CLASSES`.
        statements: `decisions.Statements` of these probabilities.
        unlike: whether the image is unlike every training image; None where the model file does
            not say how to tell.
        occlusion: float32 (7, 7), from `Prediction`; None where no map was asked for.
    """

    probabilities: np.ndarray
    statements: Statements
    unlike: bool | None
    occlusion: np.ndarray | None = None


class Classifier:
    """The model of this process. Checked when made, loaded once, used by all threads.

    Attributes:
        facts: dict, what the model file says of its training; empty where it says nothing.
        sha256: str, the model file's SHA-256 in hexadecimal digits.
        decision_facts: `decisions.DecisionFacts`; None where the file has none.
        outlier_detector: `outliers.OutlierDetector`; None where the file has none.

    Raises:
        ModelFileError: at once if the file breaks the contract.
    """

    def __init__(self, path):
        self.facts = check_model_file(path)
        self.sha256 = sha256_of(path)
        attributes = read_attributes(path)
        self.decision_facts = facts_of(DecisionFacts, "decision_facts", attributes, path)
        self.outlier_detector = facts_of(OutlierDetector, "likeness", attributes, path)
        self._path = path
        self._engine = None
        self._lock = threading.Lock()
        self._loader = None

    @property
    def pooled_classes(self):
        """Codes of the classes that were too rare to have a threshold of their own."""
        return () if self.decision_facts is None else self.decision_facts.pooled_classes

    @property
    def is_loaded(self):
        return self._engine is not None

    def load(self):
        """Load the weights unless they are; a second caller waits for the first."""
        with self._lock:
            if self._engine is None:
                self._engine = load_engine(self._path)

    def start_loading(self):
        """Begin to load in the background, so that the upload page need not wait for it."""
        if self._engine is None and self._loader is None:
            self._loader = threading.Thread(target=self._load_quietly, daemon=True)
            self._loader.start()

    def _load_quietly(self):
        with contextlib.suppress(ModelFileError):  # raised again for whoever asks for a result
            self.load()

    def __call__(self, pixels, with_map=False):
        """Classify one image.

        Args:
            pixels: uint8 (28, 28, 3), RGB, 0–255, as `preprocess` returns them.
            with_map: whether to make the occlusion map, from 49 images more.

        Returns:
            Answer.

        Raises:
            ModelFileError: the weights cannot be loaded.
        """
        self.load()
        prediction = predict(self._engine, pixels, with_map)
        facts = self.decision_facts
        temperature = 1 if facts is None else facts.eight_view_temperature
        probabilities = combine_views(prediction.views, temperature)
        unlike = None
        if self.outlier_detector is not None:
            unlike = bool(self.outlier_detector.is_outlier(pixels[np.newaxis])[0])
        statements = decide(probabilities, facts, unlike)
        return Answer(probabilities, statements, unlike, prediction.occlusion)


def facts_of(kind, name, attributes, path):
    """Read the facts of one kind from a model file's attributes.

    Args:
        kind: a class with `from_attributes`.
        name: what the names of its attributes begin with.
        attributes: dict, from `read_attributes`.
        path: the file's, for the error's sentence.

    Returns:
        A `kind`, or None where the file has none of its attributes.

    Raises:
        ModelFileError: the attributes are there, but not all of them or spoiled.
    """
    if not any(attribute.startswith(name) for attribute in attributes):
        return None
    try:
        return kind.from_attributes(attributes)
    except ValueError as error:
        raise ModelFileError(
            f"{path} holds spoiled {name} attributes: {remedy_of(path)}"
        ) from error
