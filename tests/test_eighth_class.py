"""An eighth class, appended as docs/development.md says, in a copy of skin_cancer_detection.py."""

import os
import subprocess
import sys

import pytest

from lesion_lens import ROOT

EIGHTH = """
    LesionClass(
        "scc", "Squamous cell carcinoma", "malignant", "A cancer.", "See a doctor.", ("scc",)
    ),
)
CODES = """
SCRIPT = """
import os, sys
from pathlib import Path

import numpy as np

from lesion_lens.training.diagnoses import label_of
from lesion_lens.training.plots import draw_roc_curves
from lesion_lens.training.score_table import METRIC_NAMES
from skin_cancer_detection import CODES, PARAMETERS, build_model
from tests.support.drawings import draw_lesion, encode
from tests.support.models import FACTS, attributes_of, shares_of, write_model

assert build_model().count_params() == PARAMETERS == 504_136
assert [label_of(code) for code in CODES] == list(range(8))
assert label_of("SCC") == 7
assert METRIC_NAMES["malignant_auc"] == "akiec, bcc, mel or scc against benign, AUC"
lines = draw_roc_curves(np.arange(8), np.eye(8)).axes[0].lines[1:9]  # after malignant together
assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 8

folder = Path(sys.argv[1])
picture = folder / "a.png"
picture.write_bytes(encode(draw_lesion()))
shares = shares_of(nv=0.4, scc=0.3, mel=0.29)
os.environ["MODEL_PATH"] = str(write_model(folder, shares, attributes=attributes_of(FACTS)))
from app import app  # refuses the committed model file
from tests.support.pages import page_of, text_of, upload

client = app.test_client()
result = text_of(page_of(upload(client, picture.read_bytes())), "#result")
assert "All eight probabilities" in result
assert "The four classes that are a cancer or can become one" in result
assert "those four classes are at least as likely as the four benign ones" in result
for address in ("/", "/model"):
    assert "eight kinds" in client.get(address).text
for address in ("/api/v1/openapi.json", "/manifest.webmanifest"):
    assert "of eight classes" in client.get(address).text

classify = app.test_cli_runner().invoke
refused = classify(args=["classify", str(picture), "--format", "isic"])
assert refused.exit_code == 2
assert "--format isic has no column for scc" in refused.stderr
assert ",mel,scc," in classify(args=["classify", str(picture), "--csv", "-"]).stdout
"""


def test_the_product_follows_from_the_classes(tmp_path):
    pytest.importorskip("matplotlib")
    core = (ROOT / "skin_cancer_detection.py").read_text(encoding="utf-8")
    assert core.count("\n)\nCODES = ") == 1
    (tmp_path / "skin_cancer_detection.py").write_text(
        core.replace("\n)\nCODES = ", EIGHTH), encoding="utf-8"
    )
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # after the script's folder
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
