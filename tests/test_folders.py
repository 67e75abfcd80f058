"""Which files in a folder `classify` treats as images, and what it says about the others."""

import pytest

from lesion_lens.model.limits import SUFFIXES
from lesion_lens.web.folders import MOST_NAMED, OTHER_IMAGES, Kind, kind_of
from tests.support.drawings import draw_lesion, encode


@pytest.mark.parametrize("name", ["a.svg", "a.PSD", "a.raw", "a.dng", "a.cr2", "a.xcf", "a.ico"])
def test_images_that_cannot_be_read_are_named_and_other_files_counted_apart(run, tmp_path, name):
    (tmp_path / "a.png").write_bytes(encode(draw_lesion()))
    for other in (name, "notes.txt", "table.csv", ".hidden.svg"):
        (tmp_path / other).touch()
    said = run(tmp_path).stderr
    assert "1 of 1 images classified." in said
    assert "Skipped images in other formats: 1. Save them as JPEG, PNG, WebP" in said
    assert f"\n  {tmp_path / name}\n" in said
    assert "Skipped other files: 3." in said
    assert "notes.txt" not in said


def test_no_more_than_twenty_are_named(run, tmp_path):
    for number in range(MOST_NAMED + 5):
        (tmp_path / f"{number:02}.svg").touch()
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "No image was found." in result.stderr
    assert "Skipped images in other formats: 25." in result.stderr
    assert result.stderr.count(".svg\n") == MOST_NAMED == 20
    assert result.stderr.endswith(".svg\n  and 5 more\n")


def test_what_can_be_read_is_not_passed_over(tmp_path):
    kinds = {kind_of(str(tmp_path / f"a{suffix}")) for suffix in SUFFIXES}
    assert kinds == {Kind.IMAGE}
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in OTHER_IMAGES)
