"""Clients that two generators, with pinned versions, make from the OpenAPI document.

`make test-portable` runs this; `make test` does not, because it installs the generators.
"""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support.drawings import draw_for, encode
from tests.support.portable import environment
from tests.support.skipping import skip_or_fail

pytestmark = pytest.mark.portable

PYTHON_PACKAGES = ("openapi-python-client==0.29.1",)
NODE_PACKAGES = ("openapi-typescript@7.13.0", "typescript@5.9.3")

ASK = """
import json, sys
from io import BytesIO
from client import Client
from client.api.default import predict
from client.models import (
    PredictExplain, PredictFilesBody, PredictionResult, Predictions, Problem, ProblemResult
)
from client.types import File

client = Client(base_url=sys.argv[1] + "/api/v1")
sound = open("lesion.png", "rb").read()
form = PredictFilesBody(image=[
    File(BytesIO(sound), "lesion.png", "image/png"),
    File(BytesIO(sound[:500]), "spoiled.png", "image/png"),
])
answer = predict.sync(client=client, body=form)
assert isinstance(answer, Predictions), answer
first, second = answer.results
assert isinstance(first, PredictionResult) and isinstance(second, ProblemResult)
body = File(BytesIO(sound))
(explained,) = predict.sync(client=client, body=body, explain=PredictExplain.VALUE_1).results
refused = predict.sync(client=client, body=File(BytesIO(b"hello")))
assert isinstance(refused, Problem), refused
print(json.dumps({
    "level": first.prediction.risk_level.value,
    "likely": first.prediction.most_likely.value,
    "nv": first.prediction.probabilities.nv,
    "distance": first.prediction.familiarity_distance,
    "width": first.image.width,
    "damaged": second.problem.detail,
    "rows": len(explained.prediction.explanation.map_),
    "refused": refused.type_,
    "low": answer.thresholds.low_risk,
}))
"""
NARROW = """
import type { components } from "./api";

export function said(result: components["schemas"]["Result"]): string {
  if (result.kind === "prediction") {
    const level: "high" | "raised" | "unknown" | "low" = result.prediction.risk_level;
    const falls: number[][] | undefined = result.prediction.explanation?.map;
    // @ts-expect-error: a prediction has no problem
    result.problem;
    return `${level} ${result.prediction.probabilities.mel} ${falls?.length} ${result.image.width}`;
  }
  // @ts-expect-error: a problem has no prediction
  result.prediction;
  return result.problem.detail;
}
"""


@pytest.fixture
def made(tmp_path):
    """A folder for the installed and generated files; pytest would keep its own for days."""
    folder = tmp_path / "made"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(folder, *command):
    """Run a command in a folder and return its output."""
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def test_a_generated_python_client_gets_a_prediction(made, address):
    python = environment(made / "venv", PYTHON_PACKAGES, sys.executable)
    generate = [python.with_name("openapi-python-client"), "generate", "--meta", "none"]
    said = run(
        made, *generate, "--url", f"{address}/api/v1/openapi.json", "--output-path", "client"
    )
    unknown = [line for line in said.splitlines() if line.startswith("Unsupported content type")]
    assert [line.split()[-1] for line in unknown] == ["image/*", "application/dicom"]
    assert said.count("WARNING") == len(unknown), said  # nothing else is left out
    (made / "lesion.png").write_bytes(encode(draw_for("high")))
    answer = json.loads(run(made, python, "-c", ASK, address).splitlines()[-1])
    assert answer["level"] == "high"
    assert answer["damaged"].startswith("The image is damaged or incomplete.")
    assert answer["refused"].endswith("#unsupported-image")
    assert (answer["rows"], answer["width"]) == (7, 600)
    assert 0 < answer["nv"] < 1
    assert 0 < answer["low"] < 0.5


def test_typescript_narrows_a_result_by_its_kind(made, address):
    npm = shutil.which("npm")
    if npm is None:
        skip_or_fail("npm is not installed")
    install = [npm, "install", "--no-audit", "--no-fund", *NODE_PACKAGES]
    done = subprocess.run(install, cwd=made, capture_output=True, text=True, check=False)
    if done.returncode:
        skip_or_fail(f"npm cannot install {' '.join(NODE_PACKAGES)}: {done.stderr[-500:]}")
    programs = made / "node_modules" / ".bin"
    document = f"{address}/api/v1/openapi.json"
    run(made, programs / "openapi-typescript", document, "-o", "api.d.ts")
    (made / "narrow.ts").write_text(NARROW)
    run(made, programs / "tsc", "--noEmit", "--strict", "narrow.ts")
