"""A file in, everything that may be said of it out: what pages, programs and command line share.

Holds the model of this process. How much is worked on at once: admission.py. Knows no Flask.
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
    """Everything that is said of one image.

    Attributes:
        probabilities: (7,), summing to 1, in the order of `CLASSES`.
        statements: of these probabilities.
        familiarity: of `decisions.FAMILIARITIES`; None where the model file does not say how to
            tell.
        reason: why the picture is unfamiliar, a key of `outliers.REASONS`; None where it is not.
        distance: of the picture from the training images, 0 or more; unfamiliar pictures are
            beyond the threshold of `OutlierDetector`. None where the model file has none.
        lacks_rules: the model file lacks some of the rules for pictures.
        occlusion: (7, 7), from `Prediction`; None where no map was asked for.
        crop: what was cut away before the picture was sent; None of a whole picture.
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
        """What all of it comes to, of `decisions.LEVELS`."""
        return risk_level(self.statements, self.familiarity)

    @property
    def next_step(self) -> str:
        """What to do, in a sentence."""
        return next_step(self.risk_level, self.statements)

    @property
    def urgency(self) -> float:
        """What sorts the most urgent answer first."""
        return urgency(self.risk_level, self.statements.malignant_probability)


class Classifier:
    """The model of this process. Checked when made, loaded once, used by all threads.

    Args:
        path: of the model file.
        pin: the SHA-256 that it must have; None for any.

    Attributes:
        facts: what the model file says of its training; empty where it says nothing.
        path: of the model file.
        sha256: the model file's SHA-256 in hexadecimal digits.
        decision_facts: None where the file has none.
        picture_rules: what the file says of pictures.

    Raises:
        ModelFileError: at once if the file breaks the contract.
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
        """The scores of eight views on the test part; None where the file has none."""
        test = self.facts.get("test")
        return test["eight_views"] if test else None

    @property
    def pooled_classes(self) -> tuple[str, ...]:
        """Codes of the classes that were too rare to have a threshold of their own."""
        return () if self.decision_facts is None else self.decision_facts.pooled_classes

    @property
    def is_loaded(self) -> bool:
        return self._engine is not None

    def load(self) -> Engine:
        """Load the weights unless they are; a second caller waits for the first.

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
        """See that the model file is still the one that was checked, and whose checksum is shown.

        Raises:
            ModelFileError: it was exchanged in between.
        """
        check_unchanged(self.path, sha256_of(self.path), self.sha256)

    def start_loading(self) -> None:
        """Begin to load in the background, so that the upload page need not wait for it."""
        if self._engine is None and self._loader is None:
            self._loader = threading.Thread(target=self._load_quietly, daemon=True)
            self._loader.start()

    def _load_quietly(self) -> None:
        with contextlib.suppress(ModelFileError):  # raised again for whoever asks for a result
            self.load()

    def __call__(
        self, pixels: NDArray[np.uint8], with_map: bool = False, crop: Crop | None = None
    ) -> Answer:
        """Classify one image.

        Args:
            pixels: (28, 28, 3), RGB, 0–255, as `preprocess` returns them.
            with_map: whether to make the occlusion map, from 49 images more.
            crop: what was cut away before the picture was sent; None of a whole picture.

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
    """Make a `kind` of a model file's attributes; None where the file has none that begin so.

    Raises:
        ModelFileError: the attributes are there, but not all of them or spoiled.
    """
    if not any(name.startswith(kind.attribute) for name in attributes):
        return None
    try:
        return kind.from_attributes(attributes)
    except ValueError as error:
        raise ModelFileError(
            f"{path} holds spoiled {kind.attribute} attributes: {remedy_of(path)}"
        ) from error
