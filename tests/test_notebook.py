"""The notebook, with all cells run in order."""

import json
import os
import subprocess
import sys

from lesion_lens import ROOT
from lesion_lens.training.score_table import score_table
from tests.support.data import made_images, write_csv
from tests.support.skipping import require


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def outputs_of(cells):
    outputs = json.dumps([cell["outputs"] for cell in cells])
    assert '"error"' not in outputs
    assert '"stderr"' not in outputs
    assert "image/png" in outputs
    return outputs


def test_the_notebook_runs(tmp_path):
    require("nbclient")
    write_csv(made_images(), tmp_path)
    subprocess.run(
        [sys.executable, "-m", "scripts.run_notebook", str(tmp_path / "out.ipynb")],
        cwd=ROOT,
        env=os.environ | {"HAM10000_DIR": str(tmp_path), "NOTEBOOK_EPOCHS": "1"},
        check=True,
    )
    outputs = outputs_of(code_cells(tmp_path / "out.ipynb"))
    assert "(84, 28, 28, 3) uint8" in outputs  # the made pictures
    assert "epoch   1/1 " in outputs
    assert "calibrated: log loss" in outputs


def test_the_committed_notebook_has_been_run_in_order():
    cells = code_cells(ROOT / "Skin_Cancer_Detection.ipynb")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    metrics = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))
    # The first line of numbers shows that the table is of the committed model.
    line = score_table(metrics).splitlines()[1]
    assert "accuracy" in line
    assert json.dumps(line)[1:-1] in outputs_of(cells)
