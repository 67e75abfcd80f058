"""The model card: from the facts of a model's training to Markdown.

`model_card` fills templates/model_card.md.jinja with the facts from metrics.json, which a model
file also holds. The template has the text, but no number that training could change. Its text
describes HAM10000. templates/other_model_card.md.jinja is the card for models trained on other data
and for older model files. This module does not use Flask.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lesion_lens import ROOT, version
from lesion_lens.model.backends import BACKENDS
from lesion_lens.model.decisions import CLASS_COUNTS, MALIGNANT_CODES
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.facts import (
    Form,
    can_fill_card,
    has_calibration,
    has_class_scores,
    has_clinic_groups,
    has_coverage,
    has_images,
    has_low_risk,
    has_other_clinics,
    has_overall_scores,
)
from lesion_lens.model.wording import count, number
from lesion_lens.web.card_tables import (
    GROUPS,
    HOME,
    QUESTIONS,
    Facts,
    auc_range,
    calibration_table,
    class_list,
    class_names,
    class_table,
    clinic_columns,
    clinic_table,
    coverage_table,
    escaped,
    group_table,
    level_table,
    listed,
    low_risk_table,
    overall_table,
    pairs,
    part_table,
    per_100,
    share_table,
    source_table,
    statement_table,
)
from skin_cancer_detection import CODES, PARAMETERS

_REMEDY = "write it again with python train.py, or with --evaluate if the model is up to date."


class CardError(LesionLensError):
    """Facts from which the card cannot be written."""


# --- The card --------------------------------------------------------------------------------

ENVIRONMENT = Environment(
    loader=FileSystemLoader(ROOT / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
ENVIRONMENT.globals["class_counts"] = CLASS_COUNTS
# The card explains these sources by name.
HAM10000_SOURCES = {"rosendahl", "vidir_modern", "vidir_molemax", "vienna_dias"}
# What the template uses in addition to the parts of `test`.
_FACTS = ("data_sha256", "split_sha256", "seed", "images", "lesions", "recipe", "versions", "test")
_FUNCTIONS = {
    function.__name__: function
    for function in (
        *(count, number, per_100, listed),
        *(class_list, overall_table, class_table, group_table),
        *(calibration_table, level_table, low_risk_table, coverage_table, share_table),
        *(clinic_table, source_table, statement_table, auc_range),
    )
}


def read_metrics(path: Path) -> Any:
    """Read metrics.json. `model_card` checks its content.

    Raises:
        CardError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{path} is missing: {_REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path} is not JSON: {_REMEDY}") from error
    except OSError as error:
        raise CardError(f"{path} cannot be read ({error.strerror}): {_REMEDY}") from error


def model_card(facts: Any, source: str | Path = "the model file") -> str:
    """Write the card of a model that was trained on HAM10000.

    Args:
        facts: as training writes them to metrics.json and into the model file.
        source: where they come from, for error messages.

    Returns:
        Markdown.

    Raises:
        CardError: the facts are damaged or have an older form, or the data is not HAM10000 split
            by lesion, which the card describes.
    """
    known = facts if isinstance(facts, dict) else {}
    if known.get("data", "HAM10000") != "HAM10000" or known.get("rows_may_share_lesions"):
        raise CardError(
            f"{source} does not come from HAM10000 split by lesion, which the card describes: "
            "train on Kaggle’s CSV and its metadata."
        )
    if not can_fill_card(facts):
        raise CardError(f"{source} lacks facts that the card needs: {_REMEDY}")
    test = facts["test"]
    matrix, mel, nv = test["eight_views"]["confusion_matrix"], CODES.index("mel"), CODES.index("nv")
    conformal = test["decisions"]["conformal"]["per_class"]
    clinics = facts["other_clinics"]["clinics"] if has_other_clinics(facts) else None
    return ENVIRONMENT.get_template("model_card.md.jinja").render(
        {name: facts[name] for name in _FACTS},
        **{name: test[name] for name in ("one_view", "eight_views", "decisions", "subgroups")},
        **_FUNCTIONS,
        app_version=version(),
        BACKENDS=BACKENDS,
        PARAMETERS=PARAMETERS,
        GROUPS=GROUPS,
        HOME=HOME,
        QUESTIONS=QUESTIONS,
        columns=clinic_columns(test, clinics) if clinics else None,
        pairs=pairs(facts),
        knows_the_sources=set(test["subgroups"].get("clinic", ())) == HAM10000_SOURCES,
        melanomas={
            "images": sum(matrix[mel]),
            "share": sum(matrix[mel]) / test["eight_views"]["images"],
            "found": matrix[mel][mel],
            "taken_for_naevi": matrix[mel][nv],
        },
        malignant=MALIGNANT_CODES,
        pooled=[code for code, row in conformal.items() if row["pooled"]],
    )


def other_model_card(facts: Facts) -> str:
    """Write the card of any other model, from what its file holds.

    Args:
        facts: from `check_model_file`.

    Returns:
        Markdown.
    """
    test = facts.get("test")
    scored = test or {}
    views = [scored.get("one_view"), scored.get("eight_views")]
    eight, decisions = views[1:], [scored.get("decisions")]
    tables = {
        "Scores": _table_if(has_overall_scores, overall_table, views),
        "By class, eight views": _table_if(has_class_scores, class_table, eight),
        "Calibration": _table_if(has_calibration, calibration_table, views),
        "Low risk": _table_if(has_low_risk, low_risk_table, decisions),
        "What cannot be excluded": _table_if(has_coverage, coverage_table, decisions),
        "By source": _table_if(
            has_clinic_groups,
            lambda groups: source_table(groups["clinic"]),
            [scored.get("subgroups")],
        ),
    }
    return ENVIRONMENT.get_template("other_model_card.md.jinja").render(
        data=facts.get("data"),
        escaped=escaped,
        may_share_lesions=facts.get("rows_may_share_lesions"),
        images=_table_if(has_images, part_table, [facts]),
        is_scored=test is not None,
        class_names=class_names,
        tables=tables,
        unseen=_table_if(
            has_other_clinics,
            lambda facts: clinic_table(clinic_columns(None, facts["other_clinics"]["clinics"])),
            [facts],
        ),
        missing=[heading for heading, rows in tables.items() if rows is None],
    )


def _table_if(form: Form, lay_out: Callable[..., str], values: list[Any]) -> str | None:
    """Lay out a table; None if a value does not have the form it needs."""
    return lay_out(*values) if all(map(form, values)) else None
