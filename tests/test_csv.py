"""Server and browser write the same CSV rows, checked with one file of cases."""

import json

import pytest

from lesion_lens import ROOT
from lesion_lens.web.results import CSV_COLUMNS, csv_header, csv_line

CASES = json.loads((ROOT / "tests" / "csv_cases.json").read_text(encoding="utf-8"))


def line_of(case):
    """Return the line of a case: its two cells, with the other columns empty."""
    cells = dict(zip(("file", "error"), case["cells"], strict=True))
    return ",".join(cells.get(column, "") for column in CSV_COLUMNS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["file"]))
def test_the_server_writes_the_line(case):
    assert csv_line(case["file"], error=case["error"]) == line_of(case)


def test_the_browser_writes_the_same_lines(desk, address):
    page = desk.new_page()
    page.goto(address)
    lines = page.evaluate(
        """async ([columns, cases]) => {
            const { csvLine } = await import("/static/csv.js");
            return cases.map((values) => csvLine(columns, values));
        }""",
        [csv_header().split(","), CASES],
    )
    page.close()
    assert lines == [line_of(case) for case in CASES]


def test_the_browser_quotes_a_note_as_it_does_a_name(desk, address):
    page = desk.new_page()
    page.goto(address)
    cells = page.evaluate(
        """async (words) => {
            const { cell } = await import("/static/csv.js");
            return words.map(cell);
        }""",
        [case["file"] for case in CASES],
    )
    page.close()
    assert cells == [case["cells"][0] for case in CASES]
