"""A number and its unit stay on one line of a page, and programs get plain spaces."""

import re

import pytest

from lesion_lens.web.line_breaks import keep_together
from tests.support.browser import SPOILED
from tests.support.drawings import draw_for, encode
from tests.support.pages import page_of, pages_of, upload

BREAKABLE = re.compile(r"\d[ \n]+(?:%|[kM]B\b|(?:of|in) 100\b)|\d\s(?:of|in)[ \n]+100\b")


@pytest.mark.parametrize(
    ("html", "kept"),
    [
        ("under 4 %", "under 4\xa0%"),
        ("<p>20\n  MB</p>", "<p>20\xa0MB</p>"),
        ("13 of\n100", "13\xa0of\xa0100"),
        ("about 3 in 100 did", "about 3\xa0in\xa0100 did"),
        ("28 × 28 pixels", "28\xa0×\xa028 pixels"),
        ("{size} MB", "{size}\xa0MB"),
        ('<tr data-csv="4 %">4 rows</tr>', '<tr data-csv="4 %">4 rows</tr>'),
        ("<pre>4 %</pre> <code>4 %</code> 4 %", "<pre>4 %</pre> <code>4 %</code> 4\xa0%"),
        ('<img src="data:4 %" alt="4 %">4 %', '<img src="data:4 %" alt="4 %">4\xa0%'),
        ('4 % "data:4 %', '4\xa0% "data:4 %'),
    ],
)
def test_a_number_stays_with_its_unit(html, kept):
    assert keep_together(html) == kept


def test_no_page_breaks_a_line_between_a_number_and_its_unit(app, client):
    answers = [client.get(path) for path in pages_of(app)]
    answers += [upload(client, encode(draw_for(level))) for level in ("high", "raised", "low")]
    answers.append(upload(client, SPOILED["buffer"]))
    found = 0
    for answer in answers:
        page = page_of(answer)
        for code in page.select("pre, code"):
            code.decompose()
        text = page.get_text()
        assert BREAKABLE.findall(text) == []
        found += text.count("\xa0%")
    assert found > 30


def test_what_programs_read_has_plain_spaces(client):
    page = page_of(upload(client, encode(draw_for("high"))))
    assert not any(
        "\xa0" in str(value) for tag in page.find_all(True) for value in tag.attrs.values()
    )
