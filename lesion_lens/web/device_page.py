"""What a device needs to fill in the result page itself: the template and all its texts.

From these, static/device_page.js makes what `pages.context_of` and result.html make on the server.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from lesion_lens import version
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decisions import CLASS_COUNTS, FAMILIARITIES, HEADLINES, LEVELS
from lesion_lens.model.outliers import REASONS
from lesion_lens.model.publication import NAME
from lesion_lens.model.wording import ALL, LONGEST_NAME, MONTHS, NONE, WORDS
from lesion_lens.web import language
from lesion_lens.web.about import SHORT_CHECKSUM, describe_meaning
from lesion_lens.web.card_tables import pairs
from lesion_lens.web.line_breaks import CODE, TOGETHER
from lesion_lens.web.occlusion_map import NOTICEABLE_FALL, REGIONS, STRONGEST
from lesion_lens.web.results import CSV_COLUMNS, DECIMALS, verdict
from lesion_lens.web.template_trees import trees_of
from skin_cancer_detection import CLASSES, CODES


def page_of(classifier: Classifier) -> dict[str, Any]:
    """Return the template and its texts as a JSON-serialisable dict; needs the app's context.

    Returns:
        `trees` of the blocks of result.html; `context`, the template's variables that are the same
        for all images; `meanings` and `verdicts` for each risk level and familiarity ('' if not
        known); and the words and numbers of the imported modules.
    """
    return {
        "trees": trees_of("result.html", ("title", "main")),
        "context": _context(classifier),
        "codes": CODES,
        "reasons": REASONS,
        "meanings": _of_each(lambda *about: describe_meaning(classifier, *about)),
        "verdicts": _of_each(verdict),
        "csv_columns": CSV_COLUMNS,
        "decimals": DECIMALS,
        "version": version(),
        "map": {"noticeable_fall": NOTICEABLE_FALL, "strongest": STRONGEST, "regions": REGIONS},
        "wording": {
            "words": WORDS,
            "months": MONTHS,
            "all": ALL,
            "none": NONE,
            "longest_name": LONGEST_NAME,
        },
        "line_breaks": {"code": CODE.pattern, "together": TOGETHER.pattern},
        "language": language.LANGUAGE,
        "direction": language.DIRECTION,
        "app_name": NAME,
    }


def _context(classifier: Classifier) -> dict[str, Any]:
    """Return what result.html reads of the app's globals and of the context of the pages."""
    return {
        "class_of": {kind.code: asdict(kind) for kind in CLASSES},
        "class_counts": CLASS_COUNTS,
        "headlines": HEADLINES,
        "facts": _facts(classifier),
        "model_sha256": classifier.sha256,
        "short_checksum": SHORT_CHECKSUM,
        "pairs": pairs(classifier.facts),
        "pooled": [kind.name for kind in CLASSES if kind.code in classifier.pooled_classes],
        "on_device": True,
    }


def _facts(classifier: Classifier) -> dict[str, Any]:
    """Return the facts of the training that result.html reads, if the file has them."""
    facts, scores = classifier.facts, classifier.scores
    names = ("data", "data_sha256", "rows_may_share_lesions")
    read = {name: facts[name] for name in names if name in facts}
    if scores is None:
        return read
    eight_views = {
        "images": scores["images"],
        "accuracy": {"value": scores["accuracy"]["value"]},
        "per_class": {
            code: {
                name: {"value": scores["per_class"][code][name]["value"]}
                for name in ("precision", "sensitivity")
            }
            | {name: n for name, n in scores["per_class"][code].items() if name == "images"}
            for code in CODES
        },
    }
    return read | {"test": {"eight_views": eight_views}}


def _of_each(say: Callable[[str, str | None], Any]) -> dict[str, dict[str, Any]]:
    """Call a function for each risk level and familiarity."""
    familiarities = (*FAMILIARITIES, None)
    return {
        level: {familiarity or "": say(level, familiarity) for familiarity in familiarities}
        for level in LEVELS
    }
