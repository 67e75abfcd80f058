"""What a model file's facts must hold, whatever is wrong with them."""

import copy
import json

import pytest

from lesion_lens import ROOT
from lesion_lens.model import facts
from tests.support.models import made_scores

KNOWN = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))


def leaves(values, path=()):
    """The path to everything that is neither a dict nor a list, in dicts and lists."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def changed(path, value):
    """The known facts with another value at a path; a copy."""
    facts = copy.deepcopy(KNOWN)
    holder = facts
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return facts


def test_the_committed_facts_serve_pages_and_fill_the_card():
    assert facts.can_serve_pages(KNOWN)
    assert facts.can_fill_card(KNOWN)
    assert facts.has_reliability(KNOWN["test"]["eight_views"])


@pytest.mark.parametrize("spoiled", [[], -1, float("nan"), "<b>"], ids=str)
def test_every_number_of_the_card_must_be_one(spoiled):
    numbers = [
        path for path in leaves(KNOWN["test"]) if not {"reliability", "data_sha256"} & {*path}
    ]
    assert len(numbers) > 500
    accepted = [path for path in numbers if facts.can_fill_card(changed(("test", *path), spoiled))]
    assert accepted == []


def test_a_share_of_nothing_is_none():
    assert facts.can_fill_card(changed(("test", "decisions", "flagged", "right"), None))
    assert not facts.can_fill_card(changed(("test", "decisions", "lesions"), None))


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


@pytest.mark.parametrize("points", [None, [], [{}], {}, "text"], ids=str)
def test_a_reliability_diagram_needs_its_points(points):
    assert not facts.has_reliability({"reliability": points})
    assert not facts.has_reliability({})
