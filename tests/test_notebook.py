"""The notebook, run from its first cell to its last."""

import json

from conftest import ROOT, made_images, require, write_csv

NOTEBOOK = ROOT / "Skin_Cancer_Detection.ipynb"


def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient, nbformat = require("nbclient"), require("nbformat")
    write_csv(made_images(), tmp_path)
    monkeypatch.setenv("HAM10000_DIR", str(tmp_path))
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    assert "macro AUC" in str(notebook.cells)


def test_the_committed_notebook_has_been_run_in_order():
    cells = [
        c
        for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
        if c["cell_type"] == "code"
    ]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = json.dumps([cell["outputs"] for cell in cells])
    assert "image/png" in outputs
    macro_auc = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))["test"]["macro_auc"]
    assert f"macro AUC          {macro_auc:.3f}" in outputs  # those of the committed model
    assert '"error"' not in outputs
    assert '"stderr"' not in outputs
