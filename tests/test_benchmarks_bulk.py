"""The parts of the benchmarks of folders and of training; their figures are nobody's to test."""

import re
import sys
import zipfile

import numpy as np
import pytest

from benchmarks import bulk, training
from benchmarks.pictures import photograph
from benchmarks.servers import CannotMeasure
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.training.data import read_dataset

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")


@pytest.fixture
def folder(tmp_path):
    """A folder of three images, made of two."""
    pictures = [tmp_path / f"{seed}.jpg" for seed in (0, 1)]
    for seed, path in enumerate(pictures):
        path.write_bytes(photograph((60, 45), seed))
    bulk.make_folder(tmp_path / "images", 3, pictures)
    return tmp_path / "images"


def test_a_folder_is_full_of_a_few_pictures_under_many_names(folder):
    first, second, third = sorted(path.read_bytes() for path in folder.rglob("*.jpg"))
    assert first != third
    assert second in {first, third}


def test_the_command_is_run_and_watched(folder):
    found = bulk.classify(folder, 3, DEFAULT_MODEL_PATH)
    assert 0 < found.start < found.seconds
    assert found.rate > 2 / (found.seconds - found.start)
    assert 20 < found.anonymous < found.resident < 2000


def test_a_line_of_the_table():
    line = bulk.line("LiteRT", 1000, bulk.Run(0.44, 3.1, 370.4, 1.9, 91.8, 52.3))
    assert line == "| LiteRT | 1,000 | 0.4 | 3.1 | 370 | 1.90 | 92 | 52 |"


def test_a_command_that_fails_is_named(folder, tmp_path):
    with pytest.raises(CannotMeasure, match="flask --app app classify"):
        bulk.classify(folder, 3, tmp_path / "none.h5")


def test_what_was_left_out_is_said_on_the_console_and_in_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bulk, "TABLE", tmp_path / "bulk.md")
    monkeypatch.setattr(bulk, "COUNTS", (2,))
    monkeypatch.setattr(bulk, "litert_is_missing", lambda: "LiteRT was left out.")
    bulk.run(largest=2)
    text = bulk.TABLE.read_text("utf-8")
    assert capsys.readouterr().out == f"{text}\nWrote it to {bulk.TABLE}.\n"
    assert re.search(r"\n\| Keras \| 2 \|.*\n\nLiteRT was left out\.\n$", text)


def test_the_rows_are_kaggles_and_repeated(tmp_path):
    pixels, labels = training.random_rows(20)
    csv_path, zip_path, metadata_path = training.write_files(tmp_path, (pixels, labels), 2)
    data = read_dataset(csv_path, metadata_path)
    assert np.array_equal(data.pixels, np.concatenate([pixels, pixels]))
    assert zipfile.ZipFile(zip_path).read(csv_path.name) == csv_path.read_bytes()
    work = training.alone(training.read, zip_path, metadata_path)
    assert work.seconds > 0
    assert 0 <= work.megabytes < 100


def test_an_epoch_is_timed_in_a_process_of_its_own():
    work = training.alone(training.fit, 70)
    assert 0 < work.seconds < 60
    assert work.megabytes > 1
