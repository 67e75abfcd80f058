"""Other programs read the model files, each in a new environment with pinned versions.

`make test-portable` runs these tests. `make test` does not, because installing takes minutes.
"""

import re
import shutil
import subprocess

import numpy as np
import pytest

from lesion_lens import ROOT
from lesion_lens.model.exports import MOST_ONNX_DEVIATION, ONNX_PACKAGES
from lesion_lens.model.files import load_model
from scripts.front_matter import METRICS
from skin_cancer_detection import CODES
from tests.support.drawings import draw_lesion
from tests.support.models import KERAS, LITERT
from tests.support.portable import answers_of, environment, keras_on_jax

pytestmark = pytest.mark.portable

PAGE = (ROOT / "docs" / "model-files.md").read_text(encoding="utf-8")
MEDIAPIPE = ("mediapipe==0.10.21",)
ONNX = ("onnxruntime==1.19.2", "numpy==1.26.4", "pillow==11.0.0")
# The oldest Keras 3, two in the middle and the last of Keras 2.
READERS = {
    "Keras 3.0.5 on JAX": (keras_on_jax("3.0.5"), "jax"),
    "Keras 3.8.0 on JAX": (keras_on_jax("3.8.0"), "jax"),
    "Keras 3.10.0 on JAX": (keras_on_jax("3.10.0"), "jax"),
    "TensorFlow 2.15.1": (("tensorflow-cpu==2.15.1",), "tensorflow"),
}
READ = """
import json, sys
import keras, numpy
model = keras.models.load_model(sys.argv[1], compile=False)
answers = model.predict(numpy.load(sys.argv[2]), verbose=0)
for path in sys.argv[3:]:
    model.save(path)
print(json.dumps(answers.tolist()))
"""
CLASSIFY = """
import json, sys
import mediapipe, numpy
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
answers = []
with ImageClassifier.create_from_options(options) as classifier:
    for pixels in numpy.load(sys.argv[2]).astype("uint8"):
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        found = classifier.classify(image).classifications[0].categories
        shares = {one.category_name: one.score for one in found}
        answers.append([shares[code] for code in sys.argv[3].split(",")])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """A file of 16 images of noise, float32, and our Keras's answers for them."""
    path = tmp_path_factory.mktemp("pixels") / "pixels.npy"
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28, 3)).astype(np.float32)
    np.save(path, images)
    return path, load_model(KERAS).predict(images, verbose=0)


@pytest.fixture
def made(tmp_path):
    """A function that makes environments; pytest would keep its own folders for days."""
    folder = tmp_path / "venv"
    yield lambda packages: environment(folder, packages)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("reader", READERS)
def test_another_keras_reads_our_file_and_we_read_its_files(made, tmp_path, pixels, reader):
    packages, backend = READERS[reader]
    saved = [tmp_path / "saved.h5", tmp_path / "saved.keras"]
    answers = answers_of(made(packages), READ, KERAS, pixels[0], *saved, KERAS_BACKEND=backend)
    assert np.allclose(answers, pixels[1], rtol=0, atol=1e-5)
    for path in saved:
        target = tmp_path / f"from{path.suffix}.h5"
        command = [ROOT / ".venv/bin/python", "train.py", "--output", path, "--export", target]
        subprocess.run([*command, "--classes", ",".join(CODES)], cwd=ROOT, check=True)
        theirs = load_model(target).predict(np.load(pixels[0]), verbose=0)
        assert np.array_equal(theirs, pixels[1])


def test_mediapipe_classifies_with_the_litert_file(made, pixels):
    python = made(MEDIAPIPE)
    answers = answers_of(python, CLASSIFY, LITERT, pixels[0], ",".join(CODES))
    assert np.allclose(answers, pixels[1], rtol=0, atol=1e-5)


def test_onnx_runtime_gives_the_same(made, tmp_path, pixels):
    ours = made(("-r", str(ROOT / "requirements.txt"), *ONNX_PACKAGES.split()))
    path = tmp_path / "best_model.onnx"
    subprocess.run([ours, "train.py", "--export", path], cwd=ROOT, check=True)
    script = (
        "import json, sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "given = {session.get_inputs()[0].name: numpy.load(sys.argv[2])}\n"
        "print(json.dumps(session.run(None, given)[0].tolist()))\n"
    )
    answers = answers_of(ours, script, path, pixels[0])
    assert np.allclose(answers, pixels[1], rtol=0, atol=MOST_ONNX_DEVIATION)
    check_snippet(ours, "onnx", tmp_path)


def check_snippet(python, name, folder):
    """Run a Python snippet from the page, and compare its output with the app's engine."""
    snippet = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE, re.S)[1]
    draw_lesion().save(folder / "lesion.jpg")
    done = subprocess.run(
        [python, "-c", snippet], cwd=folder, capture_output=True, text=True, check=True
    )
    assert len(re.findall(r"\d\.\d+", done.stdout)) == len(CODES)


def test_hugging_face_reads_the_card(made):
    script = (
        "import json, sys\n"
        "from huggingface_hub import ModelCard\n"
        "card = ModelCard.load(sys.argv[1])\n"
        "print(json.dumps([one.metric_value for one in card.data.eval_results]))\n"
    )
    values = answers_of(made(("huggingface_hub==0.26.2",)), script, ROOT / "docs/model_card.md")
    assert len(values) == len(METRICS)
