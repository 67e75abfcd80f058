"""The format of the ISIC challenge's CSV; test_isic_scoring.py runs the challenge's scorer."""

import json

import pytest

from lesion_lens.web.results import isic_header
from tests.support.drawings import draw_for, encode
from tests.support.tables import csv_rows


@pytest.fixture
def pictures(tmp_path):
    """A folder of three drawn images; the least urgent comes first by name."""
    (tmp_path / "images").mkdir()
    for name, level in (("b", "high"), ("a", "low"), ("c", "raised")):
        path = tmp_path / "images" / f"ISIC_{name}.v1.png"
        path.write_bytes(encode(draw_for(level)))
    return tmp_path / "images"


def test_it_has_the_pages_probabilities_in_the_order_of_the_names(run, pictures, tmp_path):
    table, document = tmp_path / "out.csv", tmp_path / "out.json"
    done = run(pictures, "--csv", table, "--json", document, "--format", "isic")
    assert done.exit_code == 0
    rows = csv_rows(table)
    assert table.read_text("utf-8").splitlines()[0] == isic_header()
    assert [row["image"] for row in rows] == ["ISIC_a.v1", "ISIC_b.v1", "ISIC_c.v1"]
    results = sorted(json.loads(document.read_text("utf-8"))["results"], key=lambda x: x["file"])
    for row, result in zip(rows, results, strict=True):
        shares = {code.lower(): float(x) for code, x in row.items() if code != "image"}
        assert shares == result["prediction"]["probabilities"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)


def test_without_a_file_it_goes_to_the_output(run, pictures):
    assert run(pictures, "--format", "isic").stdout.startswith(isic_header() + "\nISIC_a.v1,")


def test_an_image_without_an_answer_has_no_line_and_is_told(run, pictures):
    (pictures / "spoiled.png").write_bytes(b"hello")
    done = run(pictures, "--format", "isic")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 4
    assert "spoiled.png: The file is" in done.stderr
    assert "They have no row in the ISIC challenge's CSV, so its scorer will report" in done.stderr


def test_two_images_of_one_name_are_refused_before_the_work(run, pictures, tmp_path):
    (pictures / "inner").mkdir()
    (pictures / "inner" / "ISIC_a.v1.jpg").touch()
    done = run(pictures, "--csv", tmp_path / "out.csv", "--format", "isic")
    assert done.exit_code == 2
    assert f"{pictures / 'ISIC_a.v1.png'} and {pictures / 'inner' / 'ISIC_a.v1.jpg'}" in (
        done.stderr.replace("\n", " ")
    )
    assert not (tmp_path / "out.csv").exists()


def test_a_document_alone_has_no_format(run, pictures):
    done = run(pictures, "--json", "-", "--format", "isic")
    assert done.exit_code == 2
    assert "--format isic needs a table. Add --csv with a file name." in done.stderr
