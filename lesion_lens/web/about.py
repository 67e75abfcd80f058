"""What an answer says apart from the results: app, model, thresholds and classes.

The API and the command line write it before their results.
"""

import functools
import json
from typing import Any

from lesion_lens import version
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decisions import FAMILIARITIES, HIGH_RISK, LEVELS
from lesion_lens.model.facts import is_checksum
from lesion_lens.model.publication import NAME
from lesion_lens.web.card_tables import meaning, pairs
from skin_cancer_detection import CLASSES, CODES

NOTICE = (
    "A study tool. It does not diagnose, and it does not replace a doctor. Its answers mean "
    "nothing unless the image shows one lesion and was taken through a dermatoscope."
)
SHORT_CHECKSUM = 12  # hexadecimal digits of the model file's checksum that pages show
_SOURCE = "https://dermnetnz.org/topics/"


def describe(classifier: Classifier) -> dict[str, Any]:
    """Return a JSON-serialisable dict of `app`, `model`, `thresholds` and `classes`."""
    return {
        "app": {"name": NAME, "version": version(), "notice": NOTICE},
        "model": describe_model(classifier),
        "thresholds": describe_thresholds(classifier),
        "classes": describe_classes(),
    }


def describe_model(classifier: Classifier) -> dict[str, Any]:
    """Describe the model that answers, and how good it is.

    Returns:
        `sha256` of the model file, and its first `SHORT_CHECKSUM` digits as `version`;
        `data_sha256` and `data`, checksum and name of its training data, each may be None;
        `lacks_rules`, a boolean, True if some statements are missing because the file lacks the
        facts or rules for them; `scores` on its test images, or None if the file has none.
    """
    facts = classifier.facts
    data_sha256 = facts.get("data_sha256")
    lacks_facts = classifier.decision_facts is None
    return {
        "sha256": classifier.sha256,
        "data_sha256": data_sha256 if is_checksum(data_sha256) else None,
        "version": classifier.sha256[:SHORT_CHECKSUM],
        "data": facts.get("data"),
        "lacks_rules": lacks_facts or classifier.picture_rules.lack_one,
        "scores": _describe_scores(classifier),
    }


def _describe_scores(classifier: Classifier) -> dict[str, Any] | None:
    """Return the scores that the page shows; shares are 0–1, or None if undefined."""
    scores = classifier.scores
    if scores is None:
        return None
    return {
        "images": scores["images"],
        "accuracy": scores["accuracy"]["value"],
        "rows_may_share_lesions": bool(classifier.facts.get("rows_may_share_lesions")),
        "classes": {
            code: {
                name: scores["per_class"][code][name]["value"]
                for name in ("precision", "sensitivity")
            }
            for code in CODES
        },
        "pairs": pairs(classifier.facts),
    }


def describe_thresholds(classifier: Classifier) -> dict[str, Any]:
    """Return the thresholds that the statements use; None if the model file lacks one.

    Returns:
        `high_risk` and `low_risk`, thresholds of the malignant probability, 0–1;
        `cannot_be_excluded`, of the probability of each code, 0–1; `pooled_classes`, the codes too
        rare for their own threshold; `familiarity_distance`, 0 or more.
    """
    facts, outliers = classifier.decision_facts, classifier.picture_rules.outliers
    return {
        "high_risk": HIGH_RISK,
        "low_risk": facts and facts.low_risk_threshold,
        "cannot_be_excluded": facts
        and dict(zip(CODES, map(float, facts.conformal_thresholds), strict=True)),
        "pooled_classes": facts and list(facts.pooled_classes),
        "familiarity_distance": outliers and float(outliers.threshold),
    }


def describe_classes() -> list[dict[str, Any]]:
    """Describe the seven classes as the page does, in the order of the model's outputs."""
    return [
        {
            "code": kind.code,
            "name": kind.name,
            "risk": kind.risk,
            "description": kind.description,
            "next_steps": kind.next_steps,
            "sources": [_SOURCE + topic for topic in kind.sources],
        }
        for kind in CLASSES
    ]


class About:
    """The descriptions of one classifier, computed once and not for each answer."""

    def __init__(self, classifier: Classifier) -> None:
        self._described = describe(classifier)
        self._meanings = {
            (level, familiarity): describe_meaning(classifier, level, familiarity)
            for level in LEVELS
            for familiarity in (*FAMILIARITIES, None)
        }
        self.head = functools.lru_cache(maxsize=4)(self._head)

    def _head(self, card: str) -> str:
        """Return the start of a JSON object; the caller adds more members and the closing brace.

        Args:
            card: the path of the model card.
        """
        model = self._described["model"] | {"card": card}
        return json.dumps(self._described | {"model": model}, ensure_ascii=False)[:-1]

    def meaning(self, level: str, familiarity: str | None) -> dict[str, Any] | None:
        """Return what `describe_meaning` does for this classifier."""
        return self._meanings[level, familiarity]


def describe_meaning(
    classifier: Classifier, level: str, familiarity: str | None
) -> dict[str, Any] | None:
    """Return what a risk level meant for lesions of known diagnosis, like `card_tables.meaning`.

    Returns:
        `malignant`, `of_all` and `melanomas` (0–1; `melanomas` may be None) and `is_unseen`, a
        boolean; None if the model file does not say it.
    """
    found = meaning(classifier.facts, level, familiarity)
    return found and found._asdict()
