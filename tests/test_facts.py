"""The checks of a model file's facts, whatever is wrong with the facts."""

import copy
import json

import pytest

from lesion_lens import ROOT
from lesion_lens.model import facts
from lesion_lens.web.card_tables import (
    calibration_table,
    class_table,
    coverage_table,
    low_risk_table,
    overall_table,
)
from lesion_lens.web.model_card import model_card
from skin_cancer_detection import CODES
from tests.support.cards import with_sources
from tests.support.models import made_scores

KNOWN = with_sources(json.loads((ROOT / "metrics.json").read_text(encoding="utf-8")))
HUGE = 10**400
SPOILED = [None, True, 2**70, HUGE]


def places(values, path=()):
    """Yield the path to each value in nested dicts and lists, with one class or item for all."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        is_first = key == next(iter(values)) if isinstance(values, dict) else not key
        if not is_first and (
            isinstance(values, list)
            or key in CODES
            or path[-2:-1] == ("subgroups",)
            or path[-1:] == ("clinics",)
        ):
            continue
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(path, *value):
    """Copy the known facts, and change or remove the value at a path."""
    spoiled = copy.deepcopy(KNOWN)
    holder = spoiled
    for key in path[:-1]:
        holder = holder[key]
    if value:
        holder[path[-1]] = value[0]
    else:
        del holder[path[-1]]
    return spoiled


def test_the_committed_facts_serve_pages_and_fill_the_card():
    assert facts.can_serve_pages(KNOWN)
    assert facts.can_fill_card(KNOWN)
    assert facts.has_reliability(KNOWN["test"]["eight_views"])


@pytest.mark.parametrize("value", [(), (None,), (True,), (HUGE,)], ids=lambda v: repr(v)[:9])
def test_a_card_whose_facts_are_accepted_is_written(value):
    for path in places(KNOWN):
        spoiled = changed(path, *value)
        if facts.can_fill_card(spoiled) and path[-1] not in ("data", "rows_may_share_lesions"):
            assert model_card(spoiled)


TABLES = {
    "overall": (facts.has_overall_scores, lambda part: overall_table(part, part), "eight_views"),
    "by class": (facts.has_class_scores, class_table, "eight_views"),
    "calibration": (facts.has_calibration, lambda part: calibration_table(part, part), "one_view"),
    "low risk": (facts.has_low_risk, low_risk_table, "decisions"),
    "coverage": (facts.has_coverage, coverage_table, "decisions"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_whose_facts_are_accepted_is_laid_out(name):
    accepts, lay_out, part = TABLES[name]
    for path in places(KNOWN["test"][part]):
        for value in ((), *((value,) for value in SPOILED)):
            spoiled = changed(("test", part, *path), *value)["test"][part]
            if accepts(spoiled):
                assert lay_out(spoiled)


@pytest.mark.parametrize("spoiled", [[], -1, HUGE, float("nan"), "<b>"], ids=lambda v: repr(v)[:9])
def test_every_number_of_the_card_must_be_one(spoiled):
    unused = {"reliability", "data_sha256", "missed_per_100", "levels"}
    numbers = [path for path in places(KNOWN["test"]) if not unused & {*path}]
    assert len(numbers) > 100
    accepted = [path for path in numbers if facts.can_fill_card(changed(("test", *path), spoiled))]
    assert accepted == []


@pytest.mark.parametrize("spoiled", [[], -1, HUGE, float("nan"), "<b>"], ids=lambda v: repr(v)[:9])
def test_every_number_of_a_clinic_must_be_one(spoiled):
    clinics = {"other_clinics": {"clinics": KNOWN["other_clinics"]["clinics"]}}
    # The name of the source, which any text may be, stands for the last of the three.
    unused = {"mean", "levels"}
    numbers = [path for path in places(clinics) if not unused & {*path}]
    assert len(numbers) > 30
    accepted = [path for path in numbers if facts.can_fill_card(changed(path, spoiled))]
    # A clinic with few images has an empty list of classes, so that is accepted.
    assert {path[-1] for path in accepted} == ({"classes"} if spoiled == [] else set())


def test_a_share_of_nothing_is_none():
    assert facts.can_fill_card(changed(("test", "decisions", "flagged", "right"), None))
    assert not facts.can_fill_card(changed(("test", "decisions", "lesions"), None))


def test_a_name_of_the_card_s_own_in_the_facts_changes_nothing():
    named = KNOWN | {"count": 1, "GROUPS": {}, "test": KNOWN["test"] | {"count": 1, "malignant": 0}}
    assert model_card(named) == model_card(KNOWN)


def test_facts_without_scores_serve_pages_and_fill_no_card():
    for without in ({}, {"test": None}):
        assert facts.can_serve_pages(without)
        assert not facts.can_fill_card(without)


def test_older_scores_serve_pages_and_fill_no_card():
    assert facts.can_serve_pages({"test": made_scores()})
    assert not facts.can_fill_card({"data": "HAM10000", "test": made_scores()})


def test_no_more_malignant_lesions_than_lesions():
    decisions = copy.deepcopy(KNOWN["test"]["decisions"])
    assert facts.has_low_risk(decisions)
    decisions["lesions"] = decisions["low_risk"]["statement"]["malignant"] - 1
    assert not facts.has_low_risk(decisions)


@pytest.mark.parametrize("statement", [*facts.STATEMENTS, None], ids=str)
@pytest.mark.parametrize("counts", [(5, 6, 0), (5, 2, 3)], ids=["malignant", "melanomas"])
def test_no_statement_has_more_of_a_kind_than_lesions(statement, counts):
    decisions = copy.deepcopy(KNOWN["test"]["decisions"])
    assert facts.has_statement_counts(decisions)
    holder = decisions["statements"][statement] if statement else decisions
    holder |= dict(zip(("lesions", "malignant", "melanomas"), counts, strict=True))
    assert not facts.has_statement_counts(decisions)


@pytest.mark.parametrize("name", ["lesions", "malignant", "melanomas"])
def test_no_statement_is_made_of_more_lesions_than_there_are(name):
    decisions = copy.deepcopy(KNOWN["test"]["decisions"])
    decisions["statements"]["low"] |= {key: decisions[name] + 1 for key in ("lesions", name)}
    assert not facts.has_statement_counts(decisions)


@pytest.mark.parametrize("points", [None, [], [{}], {}, "text"], ids=str)
def test_a_reliability_diagram_needs_its_points(points):
    assert not facts.has_reliability({"reliability": points})
    assert not facts.has_reliability({})
