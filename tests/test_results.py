"""An answer as JSON and as CSV: columns, quoting, unknown values."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from lesion_lens import version
from lesion_lens.model.classifier import Answer
from lesion_lens.model.decisions import HEADLINES, DecisionFacts, decide
from lesion_lens.web.results import (
    CSV_COLUMNS,
    csv_header,
    csv_line,
    isic_header,
    isic_line,
    to_dict,
)
from skin_cancer_detection import CODES

FACTS = DecisionFacts(1.0, (1 / len(CODES),) * len(CODES), 0.1, (0.3,) * len(CODES), ())
_SHARES = {"bcc": 0.4, "bkl": 0.04, "nv": 0.5, "mel": 0.03, "akiec": 0.01, "df": 0.01, "vasc": 0.01}
PROBABILITIES = np.array([_SHARES.get(code, 0) for code in CODES])


def answer_of(facts=FACTS, familiarity="familiar", probabilities=PROBABILITIES):
    statements = decide(probabilities, facts, familiarity, proven=True)
    return Answer(probabilities, statements, familiarity)


def row_of(name, answer=None, *arguments, **options):
    line = csv_line(name, answer and to_dict(answer), *arguments, **options)
    table = io.StringIO("\r\n".join([csv_header(), line]), newline="")
    (row,) = csv.DictReader(table)
    return row


def test_a_record_says_all_that_is_decided():
    record = to_dict(answer_of())
    assert record == json.loads(json.dumps(record))
    assert (record["risk_level"], record["familiarity"]) == ("raised", "familiar")
    assert record["sentence"].startswith(HEADLINES["raised"] + " Show the spot to your doctor")
    assert record["most_likely"] == "nv"
    assert record["probabilities"] == dict(zip(CODES, PROBABILITIES.tolist(), strict=True))
    assert record["malignant_probability"] == pytest.approx(0.44)
    assert record["cannot_be_excluded"] == ["nv", "bcc"]
    assert record["flagged"] is None
    assert (record["inconclusive"], record["low_risk"], record["unlike"]) == (True, False, False)
    assert f"{record['headline']} {record['next_step']}" == record["sentence"]
    assert (record["likeliest_cancer"], record["unproven"]) == ("bcc", False)


def test_an_unfamiliar_image_has_its_distance_and_a_reason():
    answer = replace(answer_of(familiarity="unfamiliar"), distance=4.25, reason="dark")
    record = to_dict(answer)
    assert record["familiarity_distance"] == 4.25
    assert record["familiarity_reason"] == {"code": "dark", "text": "it is too dark"}


def test_a_distance_that_json_cannot_hold_is_none():
    record = to_dict(replace(answer_of(), distance=float("inf")))
    assert record["familiarity_distance"] is None


def test_what_a_model_file_cannot_say_is_none():
    record = to_dict(answer_of(None, None))
    unknown = ("cannot_be_excluded", "flagged", "inconclusive", "low_risk", "unlike", "familiarity")
    unknown += ("unproven", "familiarity_distance", "familiarity_reason")
    assert [record[name] for name in unknown] == [None] * 9
    assert (record["risk_level"], record["verdict"]) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("likely", "familiarity", "level", "verdict", "unlike"),
    [
        ("mel", "familiar", "high", "see a doctor", False),
        ("mel", "unfamiliar", "high", "see a doctor", True),
        ("nv", "unfamiliar", "raised", "see a doctor", True),
        ("nv", "familiar", "low", "low risk", False),
        ("nv", "not dermatoscopic", "unknown", "unlike", True),
    ],
)
def test_programs_of_before_get_their_words(likely, familiarity, level, verdict, unlike):
    probabilities = np.where(np.array(CODES) == likely, 0.94, 0.01)
    record = to_dict(answer_of(familiarity=familiarity, probabilities=probabilities))
    assert record["risk_level"] == level
    assert (record["verdict"], record["unlike"]) == (verdict, unlike)


def test_a_line_agrees_with_the_record():
    record, row = to_dict(answer_of()), row_of("a.png", answer_of(), "0123")
    assert {code: float(row[code]) for code in CODES} == record["probabilities"]
    assert float(row["probability"]) == max(record["probabilities"].values())
    assert float(row["malignant_probability"]) == record["malignant_probability"]
    assert row["cannot_be_excluded"].split() == record["cannot_be_excluded"]
    assert (row["inconclusive"], row["low_risk"], row["unlike"]) == ("true", "false", "false")
    assert (row["file"], row["model_sha256"], row["error"]) == ("a.png", "0123", "")
    assert row["version"] == version()


def test_what_is_not_known_is_an_empty_cell():
    row = row_of("a.png", answer_of(None, None), "0123")
    assert [row[name] for name in ("cannot_be_excluded", "inconclusive", "unlike")] == [""] * 3


def test_a_fault_has_nothing_but_its_sentence():
    row = row_of("a.png", error="The file is empty.")
    assert {name for name, value in row.items() if value} == {"file", "error"}


@pytest.mark.parametrize("name", ['a, "b".png', "a\nb.png", "ä;b.png", " .png"])
def test_any_name_survives_the_quoting(name):
    assert row_of(name, answer_of(), "0123")["file"] == name


@pytest.mark.parametrize("sign", "=+-@\t\r")
def test_no_name_is_a_formula(sign):
    assert row_of(f"{sign}1.png", answer_of(), "0123")["file"] == f"'{sign}1.png"


def test_the_columns():
    assert csv_header().split(",") == list(CSV_COLUMNS)


def test_programs_of_before_find_their_columns_where_they_were():
    assert list(CSV_COLUMNS[:3]) == ["file", "risk_level", "familiarity"]
    assert list(CSV_COLUMNS[-3:]) == ["model_sha256", "error", "version"]


def test_the_isic_challenge_gets_its_columns_in_its_order():
    assert isic_header() == "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    line = isic_line("a/ISIC_0000001.b.jpg", to_dict(answer_of()))
    assert line == "ISIC_0000001.b,0.03,0.5,0.4,0.01,0.04,0.01,0.01"
