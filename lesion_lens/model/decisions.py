"""What may be said of an image, given its probabilities and the facts in the model file.

The order is: the file's calibrated probabilities, their mean over eight views, the temperature of
that mean (`combine_views`), and from it every statement (`decide`). The numbers that this takes are
fitted by `training/calibration.py` and are read from the model file; none stands here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.crops import Crop
from lesion_lens.model.facts import is_number, is_share
from skin_cancer_detection import CLASSES, CODES

# Malignant and pre-malignant count alike wherever two sides are told apart: both need a doctor.
MALIGNANT = np.array([lesion_class.risk != "benign" for lesion_class in CLASSES])  # bool (7,)
MALIGNANT_CODES = tuple(np.array(CODES)[MALIGNANT].tolist())


@dataclass(frozen=True)
class DecisionFacts:
    """What the statements need to know, fitted on the calibration part.

    Attributes:
        eight_view_temperature: of the mean of eight calibrated views; above 0 and below 1e6.
        class_shares: 7 floats, each above 0, summing to 1: the prior that the flag divides out.
        low_risk_threshold: 0–1; 'low risk' needs a malignant probability below it. None where no
            threshold finds enough of the malignant lesions: then it is never said.
        conformal_thresholds: 7 floats, 0–1; a class cannot be excluded where its probability is
            at least its threshold.
        pooled_classes: codes of the classes whose threshold is that of all classes together.

    Raises:
        ValueError: a value of another type, number or range; the text names it.
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
            _are_seven_shares(self.class_shares)
            and min(self.class_shares) > 0
            and abs(sum(self.class_shares) - 1) < 1e-6,
        )
        _check(
            "low_risk_threshold",
            self.low_risk_threshold is None or is_share(self.low_risk_threshold),
        )
        _check("conformal_thresholds", _are_seven_shares(self.conformal_thresholds))
        _check(
            "pooled_classes",
            isinstance(self.pooled_classes, tuple)
            and all(code in CODES for code in self.pooled_classes)
            and len(set(self.pooled_classes)) == len(self.pooled_classes),
        )

    def to_attributes(self) -> dict[str, str]:
        """Give what a model file must keep: an HDF5 attribute of JSON."""
        return {self.attribute: json.dumps(self.to_dict())}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "DecisionFacts":
        """Make again what `to_attributes` gave.

        Args:
            attributes: such as a model file's HDF5 attributes.

        Raises:
            ValueError: the attribute is missing or spoiled.
        """
        if cls.attribute not in attributes:
            raise ValueError("the decision facts are missing")
        try:
            values = json.loads(attributes[cls.attribute])
        except TypeError as error:  # a number or an array in the place of the text
            raise ValueError("the decision facts are not a text") from error
        except RecursionError as error:
            raise ValueError("the decision facts are nested too deeply") from error
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Give a dict that JSON can hold and `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "DecisionFacts":
        """Read what `to_dict` gave, also after JSON has made lists of its tuples.

        Args:
            values: a dict; keys that are not known are passed over.

        Raises:
            ValueError: not a dict, a missing key, or what the class itself raises.
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
        raise ValueError(f"the decision fact {name} is spoiled")


def _are_seven_shares(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) == len(CODES) and all(map(is_share, values))


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
    # Relative to the largest, which stays 1, so that no temperature makes all of them vanish.
    powers = (probabilities / probabilities.max(axis=-1, keepdims=True)) ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def combine_views(
    view_probabilities: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Average calibrated probabilities over the views of an image, then correct the mean.

    The mean of calibrated probabilities is under-confident (Ranjan & Gneiting, J R Stat Soc B
    72:71–91, 2010), hence a temperature of its own.

    Args:
        view_probabilities: (8, ..., 7), as `eight_views` orders the views; their number and
            order do not matter here.
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
    """Give the probabilities that would hold if every class were equally frequent.

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

# How a picture resembles the training images; None where the model file does not say how to tell.
FAMILIARITIES = ("familiar", "unfamiliar", "not dermatoscopic")


@dataclass(frozen=True)
class Statements:
    """What may be said of one image. None: the model file has not the facts for it.

    Attributes:
        most_likely: code of the class with the largest probability; of equals the first in the
            order of `CLASSES`.
        malignant_probability: 0–1, of the malignant and pre-malignant classes together.
        likeliest_cancer: code of the likeliest of these classes.
        flagged: code of the class that would be named if all were equally frequent, where that is
            another than `most_likely`; None where it is not. Never to be called most likely.
        cannot_be_excluded: codes of the conformal set and of `most_likely`, by falling probability.
        inconclusive: `cannot_be_excluded` holds benign and malignant classes together.
        low_risk: 'low risk' may be said. False means no more than that it may not.
        unproven: it may not, only because it has not proved right in the picture's group.
        cropped: it may not, only because more was cut away than is harmless.
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
    """Turn the probabilities of one image into everything that may be said of it.

    'Low risk' is said only if the malignant probability is below its threshold; no malignant or
    pre-malignant class is most likely, flagged or in the conformal set, and that set is not empty;
    the picture is familiar; 'low risk' has proved right in its group of pictures; and no more was
    cut away from the picture than is harmless.

    Args:
        probabilities: (7,), from `combine_views`.
        facts: None where the model file has none.
        familiarity: of `FAMILIARITIES`; None where it is not known, which rules out 'low risk'.
        proven: from `PictureGroups.is_proven`; None where the groups are not known, which rules
            out 'low risk' as well.
        crop: what was cut away; None of a whole picture.
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
    in_set_or_likely[probabilities.argmax()] = True  # which only raises the coverage
    cannot_be_excluded = tuple(
        CODES[label]
        for label in np.argsort(-probabilities, kind="stable")
        if in_set_or_likely[label]
    )
    # The facts' numbers may be NumPy's, whose booleans JSON refuses.
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

# From the most urgent on, with the sentence that a result leads with.
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
    """Say how great the risk is: the one word that all statements come to.

    Args:
        statements: from `decide`.
        familiarity: that `decide` was given.

    Returns:
        Of `LEVELS`. `high` where a malignant or pre-malignant class is the most likely, or these
        have 0.5 or more together; `low` where 'low risk' may be said; `unknown` where the picture
        is not dermatoscopic or the model file has no decision facts; else `raised`.
    """
    if statements.low_risk is None or familiarity == "not dermatoscopic":
        return "unknown"
    if statements.most_likely in MALIGNANT_CODES or statements.malignant_probability >= HIGH_RISK:
        return "high"
    return "low" if statements.low_risk else "raised"


# What to do, and whom to see: at each level, and in the cases of it that have their own sentence.
NEXT_STEPS = {
    "high": "Ask a dermatologist or your doctor for an appointment now, and say that skin cancer "
    "is the concern.",
    "high, melanoma": "Ask a dermatologist or your doctor for an appointment now, and say that "
    "melanoma is the concern.",
    "raised": "Show the spot to your doctor or a dermatologist.",
    "unknown": "If this is a mole or spot that worries you, show it to a doctor.",
    "unknown, high": "If this is a mole or spot, show it to a doctor.",
    "low": "If it changes, bleeds or worries you, see a doctor whatever this says.",
}


def next_step(level: str, statements: Statements) -> str:
    """Say in a sentence what to do, and whom to see.

    Args:
        level: of `LEVELS`.
        statements: that it is the level of.

    Returns:
        Of `NEXT_STEPS`.
    """
    if level == "high" and statements.likeliest_cancer == "mel":
        return NEXT_STEPS["high, melanoma"]
    if level == "unknown" and statements.malignant_probability >= HIGH_RISK:
        return NEXT_STEPS["unknown, high"]
    return NEXT_STEPS[level]


# Of what could not be classified: after everything else.
LAST = float(len(LEVELS))


def urgency(level: str, probability: float) -> float:
    """Give one number that sorts the most urgent first: by level, then by falling probability.

    Args:
        level: of `LEVELS`.
        probability: the malignant probability, 0–1.

    Returns:
        0 to below `LAST`.
    """
    return LEVELS.index(level) + (1 - probability) / 2  # half, so that two levels never meet
