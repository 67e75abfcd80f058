"""From an image to everything said about it: shared by the pages, the API and the command line.

Holds the model of this process. admission.py limits how much is done at once. Does not use Flask.
"""

import contextlib
import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.crops import Crop
from lesion_lens.model.decisions import (
    DecisionFacts,
    Statements,
    combine_views,
    decide,
    next_step,
    risk_level,
    urgency,
)
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.events import watcher
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.files import check_model_file, read_attributes, sha256_of
from lesion_lens.model.model_path import check_pin, check_unchanged, remedy_of
from lesion_lens.model.other_pictures import OtherPictureDetector
from lesion_lens.model.outliers import OutlierDetector
from lesion_lens.model.picture_groups import PictureGroups
from lesion_lens.model.views import Engine, predict


@dataclass(frozen=True)
class Answer:
    """Everything said about one image.

    Attributes:
        probabilities: (7,), summing to 1, in the order of `CLASSES`.
        statements: what follows from these probabilities.
        familiarity: one of `decisions.FAMILIARITIES`; None if the model file has no rules for it.
        reason: why the image is unfamiliar, a key of `outliers.REASONS`; None if it is not.
        distance: from the training images, 0 or more. Unfamiliar images are beyond the threshold
            of `OutlierDetector`. None if the model file has no such detector.
        lacks_rules: whether the model file lacks any of the rules for pictures.
        occlusion: (7, 7), from `Prediction`; None if no map was requested.
        crop: what was cut away before the image was sent; None for a whole image.
    """

    probabilities: NDArray[np.float64]
    statements: Statements
    familiarity: str | None
    reason: str | None = None
    distance: float | None = None
    lacks_rules: bool = False
    occlusion: NDArray[np.float32] | None = None
    crop: Crop | None = None

    @functools.cached_property
    def risk_level(self) -> str:
        """The overall risk level, one of `decisions.LEVELS`."""
        return risk_level(self.statements, self.familiarity)

    @property
    def next_step(self) -> str:
        """What to do, in a sentence."""
        return next_step(self.risk_level, self.statements)

    @property
    def urgency(self) -> float:
        """The sort key that puts the most urgent answer first."""
        return urgency(self.risk_level, self.statements.malignant_probability)


class Classifier:
    """The model of this process: checked on creation, loaded once, shared by all threads.

    Args:
        path: of the model file.
        pin: the SHA-256 that the file must have; None for any.

    Attributes:
        facts: the facts of the model's training; empty if the file has none.
        path: of the model file.
        sha256: of the model file, in hexadecimal digits.
        decision_facts: the numbers that decisions need; None if the file has none.
        picture_rules: the file's rules for pictures.

    Raises:
        ModelFileError: the file is invalid, or its SHA-256 is not `pin`.
    """

    def __init__(self, path: str | Path, pin: str | None = None) -> None:
        self.facts: dict[str, Any] = check_model_file(path)
        self.sha256 = sha256_of(path)
        check_pin(path, self.sha256, pin)
        attributes = read_attributes(path)
        self.decision_facts = _read(DecisionFacts, attributes, path)
        self.picture_rules = PictureRules(
            _read(OutlierDetector, attributes, path),
            _read(OtherPictureDetector, attributes, path),
            _read(PictureGroups, attributes, path),
        )
        self.path = path
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._loader: threading.Thread | None = None

    @property
    def scores(self) -> dict[str, Any] | None:
        """The scores with eight views on the test part; None if the file has none."""
        test = self.facts.get("test")
        return test["eight_views"] if test else None

    @property
    def pooled_classes(self) -> tuple[str, ...]:
        """The codes of the classes that are too rare for a separate threshold."""
        return () if self.decision_facts is None else self.decision_facts.pooled_classes

    @property
    def is_loaded(self) -> bool:
        return self._engine is not None

    def load(self) -> Engine:
        """Load the weights if they are not yet loaded. A second caller waits for the first.

        Raises:
            ModelFileError: the weights cannot be loaded.
        """
        with self._lock:
            if self._engine is None:
                engine = load_engine(self.path)
                self.check_unchanged()
                self._engine = engine
            return self._engine

    def check_unchanged(self) -> None:
        """Check that the model file has not changed since its checksum was taken.

        Raises:
            ModelFileError: it has changed.
        """
        check_unchanged(self.path, sha256_of(self.path), self.sha256)

    def start_loading(self) -> None:
        """Start loading in the background, so that the upload page does not wait."""
        if self._engine is None and self._loader is None:
            self._loader = threading.Thread(target=self._load_quietly, daemon=True)
            self._loader.start()

    def _load_quietly(self) -> None:
        with contextlib.suppress(ModelFileError):  # raised again when a result is requested
            self.load()

    def __call__(
        self, pixels: NDArray[np.uint8], with_map: bool = False, crop: Crop | None = None
    ) -> Answer:
        """Classify one image.

        Args:
            pixels: (28, 28, 3), RGB, 0–255, as `preprocess` returns them.
            with_map: whether to make the occlusion map, which takes 49 more images.
            crop: what was cut away before the image was sent; None for a whole image.

        Raises:
            ModelFileError: the weights cannot be loaded.
        """
        prediction = predict(self.load(), pixels, with_map)
        facts = self.decision_facts
        temperature = 1 if facts is None else facts.eight_view_temperature
        probabilities = combine_views(prediction.views, temperature)
        rules = self.picture_rules
        distances = rules.distances(pixels[np.newaxis])
        familiarity = rules.familiarities(pixels[np.newaxis], distances)[0]
        proven = rules.proven(pixels[np.newaxis])[0]
        statements = decide(probabilities, facts, familiarity, proven, crop)
        answer = Answer(
            probabilities,
            statements,
            familiarity,
            reason=rules.reason(pixels) if familiarity == "unfamiliar" else None,
            distance=None if distances is None else float(distances[0]),
            lacks_rules=rules.lack_one,
            occlusion=prediction.occlusion,
            crop=crop,
        )
        watcher().image_classified(answer.risk_level)
        return answer


class _FromAttributes(Protocol):
    attribute: ClassVar[str]

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self: ...


Kind = TypeVar("Kind", bound=_FromAttributes)


def _read(kind: type[Kind], attributes: Mapping[str, Any], path: str | Path) -> Kind | None:
    """Make a `kind` from a model file's attributes; None if the file has none for it.

    Raises:
        ModelFileError: some of the attributes are missing or damaged.
    """
    if not any(name.startswith(kind.attribute) for name in attributes):
        return None
    try:
        return kind.from_attributes(attributes)
    except ValueError as error:
        raise ModelFileError(
            f"{path} holds damaged {kind.attribute} attributes ({str(error).rstrip('.')}): "
            f"{remedy_of(path)}"
        ) from error
