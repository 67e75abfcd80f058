"""isic-challenge-scoring accepts what `classify --format isic` writes.

It needs NumPy 1, so it gets its own environment: `make test-portable` runs this.
"""

import csv
import json
import subprocess
import sys

import pytest

from lesion_lens.web.results import ISIC_COLUMNS
from tests.support.drawings import draw_grainy_lesion, encode
from tests.support.tables import csv_rows

CLASSES = ISIC_COLUMNS[1:]
# The scorer calls a method that pandas 3 no longer has.
PACKAGES = ("isic-challenge-scoring==5.6.0", "numpy<2", "pandas<3")

pytestmark = [
    pytest.mark.portable,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="NumPy 1 needs Python 3.12 or older"),
]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    """A function that runs the scorer on a CSV of the truth and a CSV of predictions."""
    folder = tmp_path_factory.mktemp("scorer")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--prefer-binary"]
    subprocess.run([*install, *PACKAGES], check=True)

    def scorer(truth, predictions):
        command = [programs / "isic-challenge-scoring", "--output", "json", "classification"]
        return subprocess.run(
            [*command, truth, predictions], capture_output=True, text=True, check=False
        )

    return scorer


def test_the_scorer_takes_the_table_and_comes_to_the_same_score(scorer, run, tmp_path):
    (tmp_path / "images").mkdir()
    truth = {f"ISIC_{number:07}": CLASSES[number % 7] for number in range(14)}
    for number, name in enumerate(truth):
        (tmp_path / "images" / f"{name}.png").write_bytes(encode(draw_grainy_lesion(number)))
    with (tmp_path / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(ISIC_COLUMNS)
        writer.writerows(
            [name, *(float(x == true) for x in CLASSES)] for name, true in truth.items()
        )
    table = tmp_path / "out.csv"
    assert run(tmp_path / "images", "--csv", table, "--format", "isic").exit_code == 0
    done = scorer(tmp_path / "truth.csv", table)
    assert done.returncode == 0, done.stderr
    rows = csv_rows(table)
    right = [max(CLASSES, key=lambda x: float(row[x])) == truth[row["image"]] for row in rows]
    assert json.loads(done.stdout)["overall"] == pytest.approx(sum(right) / 14)

    (tmp_path / "images" / "ISIC_0000003.png").write_bytes(b"hello")
    assert run(tmp_path / "images", "--csv", table, "--format", "isic").exit_code == 1
    done = scorer(tmp_path / "truth.csv", table)
    assert done.returncode == 1
    assert "Missing images in CSV: ['ISIC_0000003']" in done.stderr
