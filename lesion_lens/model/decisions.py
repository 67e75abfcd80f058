"""What may be said about an image, given its probabilities and the facts in the model file.

Average the calibrated probabilities over eight views, correct that mean by a temperature
(`combine_views`), and derive every statement from the result (`decide`).
`training/calibration.py` fits the numbers for this, and they are read from the model file. Only
`HIGH_RISK` is defined here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.crops import Crop
from lesion_lens.model.facts import is_number, is_share
from lesion_lens.model.wording import spelled
from skin_cancer_detection import CLASSES, CODES

# Malignant and pre-malignant classes count alike against the benign ones: both need a doctor.
MALIGNANT = np.array([lesion_class.risk != "benign" for lesion_class in CLASSES])  # bool (7,)
MALIGNANT_CODES = tuple(np.array(CODES)[MALIGNANT].tolist())
# The numbers of classes, in words.
CLASS_COUNTS = {
    "all": spelled(len(CODES)),
    "malignant": spelled(len(MALIGNANT_CODES)),
    "benign": spelled(len(CODES) - len(MALIGNANT_CODES)),
}


@dataclass(frozen=True)
class DecisionFacts:
    """The numbers behind the statements, fitted on the calibration part.

    Attributes:
        eight_view_temperature: of the mean of eight calibrated views; above 0 and below 1e6.
        class_shares: 7 floats, each above 0, summing to 1: the prior that the flag divides out.
        low_risk_threshold: 0–1; 'low risk' needs a malignant probability below it. None if no
            threshold finds enough of the malignant lesions; 'low risk' is then never said.
        conformal_thresholds: 7 floats, 0–1; a class cannot be excluded if its probability reaches
            its threshold.
        pooled_classes: codes of the classes that use the threshold of all classes together.

    Raises:
        ValueError: a value has the wrong type, length or range; the text names it.
    """

    attribute: ClassVar[str] = "decision_facts"  # its name in a model file

    eight_view_temperature: float
    class_shares: tuple[float, ...]
    low_risk_threshold: float | None
    conformal_thresholds: tuple[float, ...]
    pooled_classes: tuple[str, ...]

    def __post_init__(self) -> None:
        _check(
            "eight_view_temperature",
            is_number(self.eight_view_temperature) and 0 < self.eight_view_temperature < 1e6,
        )
        _check(
            "class_shares",
            _are_shares("class_shares", self.class_shares)
            and min(self.class_shares) > 0
            and abs(sum(self.class_shares) - 1) < 1e-6,
        )
        _check(
            "low_risk_threshold",
            self.low_risk_threshold is None or is_share(self.low_risk_threshold),
        )
        thresholds = self.conformal_thresholds
        _check("conformal_thresholds", _are_shares("conformal_thresholds", thresholds))
        _check(
            "pooled_classes",
            isinstance(self.pooled_classes, tuple)
            and all(code in CODES for code in self.pooled_classes)
            and len(set(self.pooled_classes)) == len(self.pooled_classes),
        )

    def to_attributes(self) -> dict[str, str]:
        """Return the HDF5 attribute, a JSON text, that the model file stores."""
        return {self.attribute: json.dumps(self.to_dict())}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "DecisionFacts":
        """Read what `to_attributes` returned.

        Args:
            attributes: such as a model file's HDF5 attributes.

        Raises:
            ValueError: the attribute is missing or invalid.
        """
        if cls.attribute not in attributes:
            raise ValueError("the decision facts are missing")
        try:
            values = json.loads(attributes[cls.attribute])
        except TypeError as error:  # a number or an array instead of a text
            raise ValueError("the decision facts are not a text") from error
        except RecursionError as error:
            raise ValueError("the decision facts are nested too deeply") from error
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for JSON, which `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "DecisionFacts":
        """Read what `to_dict` returned, even if JSON has turned its tuples into lists.

        Args:
            values: a dict; unknown keys are ignored.

        Raises:
            ValueError: it is not a dict, a key is missing, or the class refuses a value.
        """
        if not isinstance(values, dict):
            raise ValueError("the decision facts are not a dict")
        arguments: dict[str, Any] = {}
        for field in fields(cls):
            if field.name not in values:
                raise ValueError(f"the decision facts lack {field.name}")
            value = values[field.name]
            arguments[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**arguments)


def _check(name: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"the decision fact {name} is invalid")


def _are_shares(name: str, values: Any) -> bool:
    """Whether a value is a share for each class.

    Raises:
        ValueError: it has another number of values.
    """
    if isinstance(values, tuple) and len(values) != len(CODES):
        raise ValueError(
            f"the decision fact {name} has {len(values)} numbers for {len(CODES)} classes"
        )
    return isinstance(values, tuple) and all(map(is_share, values))


# --- Probabilities ---------------------------------------------------------------------------


def soften(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Divide the logits of probabilities by a temperature: above 1 flattens, below 1 sharpens.

    Guo et al., On calibration of modern neural networks, ICML 2017.

    Args:
        probabilities: (..., 7), each row summing to 1.
        temperature: above 0.

    Returns:
        (..., 7), summing to 1; the order of the classes stays.
    """
    probabilities = np.asarray(probabilities, np.float64)
    # Relative to the largest, which stays 1, so that no temperature turns all of them into 0.
    powers = (probabilities / probabilities.max(axis=-1, keepdims=True)) ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def combine_views(
    view_probabilities: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Average calibrated probabilities over the views of an image, then correct the mean.

    The mean of calibrated probabilities is under-confident (Ranjan & Gneiting, J R Stat Soc B
    72:71–91, 2010), so it needs its own temperature.

    Args:
        view_probabilities: (8, ..., 7), in the order of `eight_views`; the number and order of
            the views do not matter here.
        temperature: `DecisionFacts.eight_view_temperature`.

    Returns:
        (..., 7), summing to 1.
    """
    return soften(np.mean(view_probabilities, axis=0, dtype=np.float64), temperature)


def malignant_probability(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Add up the probabilities of the malignant and pre-malignant classes.

    Args:
        probabilities: (..., 7).

    Returns:
        (...), 0–1.
    """
    malignant = np.asarray(probabilities, np.float64)[..., MALIGNANT]
    return np.minimum(malignant.sum(axis=-1), 1)  # rounding can exceed 1


def divide_by_prior(
    probabilities: NDArray[np.floating], class_shares: Sequence[float] | NDArray[np.floating]
) -> NDArray[np.float64]:
    """Compute the probabilities that would hold if all classes were equally frequent.

    Saerens, Latinne & Decaestecker, Neural Computation 14:21–41 (2002).

    Args:
        probabilities: (..., 7).
        class_shares: (7,), each above 0: how frequent the classes are.

    Returns:
        (..., 7), summing to 1.
    """
    divided = np.asarray(probabilities, np.float64) / np.asarray(class_shares)
    return divided / divided.sum(axis=-1, keepdims=True)


# --- Statements ------------------------------------------------------------------------------

# How a picture resembles the training images; None if the model file lacks the rules to tell.
FAMILIARITIES = ("familiar", "unfamiliar", "not dermatoscopic")


@dataclass(frozen=True)
class Statements:
    """What may be said about one image. None: the model file lacks the facts for it.

    Attributes:
        most_likely: code of the class with the largest probability; among equals, the first in the
            order of `CLASSES`.
        malignant_probability: 0–1, of the malignant and pre-malignant classes together.
        likeliest_cancer: code of the likeliest of these classes.
        flagged: code of the class that would be most likely if all were equally frequent; None if
            that is `most_likely`. Never call it the most likely class.
        cannot_be_excluded: codes of the conformal set and of `most_likely`, likeliest first.
        inconclusive: `cannot_be_excluded` contains both benign and malignant classes.
        low_risk: 'low risk' may be said. False means only that it may not.
        unproven: 'low risk' has not proved right in the picture's group, and nothing else but a
            crop counts against it.
        cropped: the only obstacle is that more was cut away than is harmless.
    """

    most_likely: str
    malignant_probability: float
    likeliest_cancer: str
    flagged: str | None = None
    cannot_be_excluded: tuple[str, ...] | None = None
    inconclusive: bool | None = None
    low_risk: bool | None = None
    unproven: bool = False
    cropped: bool = False


def decide(
    probabilities: NDArray[np.floating],
    facts: DecisionFacts | None,
    familiarity: str | None,
    proven: bool | None,
    crop: Crop | None = None,
) -> Statements:
    """Turn the probabilities of one image into everything that may be said about it.

    'Low risk' is said only if all of these hold:

    - The malignant probability is below its threshold.
    - No malignant or pre-malignant class is most likely, flagged or in the conformal set.
    - The conformal set is not empty.
    - The picture is familiar.
    - 'Low risk' has proved right in the picture's group.
    - No more was cut away from the picture than is harmless.

    Args:
        probabilities: (7,), from `combine_views`.
        facts: None if the model file has none.
        familiarity: of `FAMILIARITIES`; None if unknown, which rules out 'low risk'.
        proven: from `PictureGroups.is_proven`; None if the groups are unknown, which also rules
            out 'low risk'.
        crop: what was cut away; None for a whole picture.
    """
    probabilities = np.asarray(probabilities, np.float64)
    most_likely = CODES[probabilities.argmax()]
    risk = float(malignant_probability(probabilities))
    likeliest_cancer = MALIGNANT_CODES[probabilities[MALIGNANT].argmax()]
    if facts is None:
        return Statements(most_likely, risk, likeliest_cancer)

    prior_divided = CODES[divide_by_prior(probabilities, facts.class_shares).argmax()]
    flagged = None if prior_divided == most_likely else prior_divided
    in_set = probabilities >= facts.conformal_thresholds
    in_set_or_likely = in_set.copy()
    in_set_or_likely[probabilities.argmax()] = True  # this can only raise the coverage
    cannot_be_excluded = tuple(
        CODES[label]
        for label in np.argsort(-probabilities, kind="stable")
        if in_set_or_likely[label]
    )
    # The facts may hold NumPy numbers, whose comparisons give booleans that JSON refuses.
    is_low = bool(
        facts.low_risk_threshold is not None
        and risk < facts.low_risk_threshold
        and flagged not in MALIGNANT_CODES
        and in_set.any()
        and not MALIGNANT[in_set_or_likely].any()
        and familiarity == "familiar"
    )
    is_whole = crop is None or crop.is_harmless
    return Statements(
        most_likely=most_likely,
        malignant_probability=risk,
        likeliest_cancer=likeliest_cancer,
        flagged=flagged,
        cannot_be_excluded=cannot_be_excluded,
        inconclusive=len(set(MALIGNANT[in_set_or_likely].tolist())) == 2,
        low_risk=is_low and proven is True and is_whole,
        unproven=is_low and proven is False,
        cropped=is_low and proven is True and not is_whole,
    )


# --- The risk level --------------------------------------------------------------------------

# The levels, most urgent first, each with the sentence that a result begins with.
HEADLINES = {
    "high": "A doctor should look at this soon.",
    "raised": "Not clear: have a doctor look at this.",
    "unknown": "The model cannot judge this picture.",
    "low": "Low risk, as far as the model can tell.",
}
LEVELS = tuple(HEADLINES)
# More likely than not. A definition: nothing is fitted.
HIGH_RISK = 0.5


def risk_level(statements: Statements, familiarity: str | None) -> str:
    """Sum up all statements in one word: how high the risk is.

    Args:
        statements: from `decide`.
        familiarity: the one that `decide` was given.

    Returns:
        One of `LEVELS`: `unknown` if the picture is not dermatoscopic or the model file has no
        decision facts; `high` if a malignant or pre-malignant class is the most likely, or these
        classes have 0.5 or more together; `low` if 'low risk' may be said; else `raised`.
    """
    if statements.low_risk is None or familiarity == "not dermatoscopic":
        return "unknown"
    if statements.most_likely in MALIGNANT_CODES or statements.malignant_probability >= HIGH_RISK:
        return "high"
    return "low" if statements.low_risk else "raised"


# What to do and whom to see: a sentence for each level, and for special cases of it.
NEXT_STEPS = {
    "high": "Ask a dermatologist or your doctor for an appointment now, and say that skin cancer "
    "is the concern.",
    "high, melanoma": "Ask a dermatologist or your doctor for an appointment now, and say that "
    "melanoma is the concern.",
    "raised": "Show the spot to your doctor or a dermatologist.",
    "unknown": "If this is a mole or spot that worries you, show it to a doctor.",
    "unknown, high": "If this is a mole or spot, show it to a doctor.",
    "low": "If it changes, bleeds or worries you, see a doctor, whatever this says.",
}


def next_step(level: str, statements: Statements) -> str:
    """Say in a sentence what to do and whom to see.

    Args:
        level: of `LEVELS`.
        statements: the ones with this level.

    Returns:
        A sentence of `NEXT_STEPS`.
    """
    if level == "high" and statements.likeliest_cancer == "mel":
        return NEXT_STEPS["high, melanoma"]
    if level == "unknown" and statements.malignant_probability >= HIGH_RISK:
        return NEXT_STEPS["unknown, high"]
    return NEXT_STEPS[level]


# The urgency of what could not be classified: it comes after everything else.
LAST = float(len(LEVELS))


def urgency(level: str, probability: float) -> float:
    """Return a number that sorts the most urgent first: by level, then by falling probability.

    Args:
        level: of `LEVELS`.
        probability: the malignant probability, 0–1.

    Returns:
        0 to below `LAST`.
    """
    return LEVELS.index(level) + (1 - probability) / 2  # below the next level's numbers
