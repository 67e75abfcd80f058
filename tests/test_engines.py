"""Both engines and kinds of model file give the same answers and facts, and refuse bad files."""

import gc
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lesion_lens import ROOT
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.decisions import DecisionFacts
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.exports import export_model
from lesion_lens.model.files import check_model_file, read_attributes, sha256_of
from lesion_lens.model.litert_files import MADE_OF, append_attributes, read_network
from lesion_lens.model.model_path import remedy_of
from lesion_lens.model.views import predict
from lesion_lens.web.process import load_weights
from lesion_lens.web.results import to_dict
from skin_cancer_detection import CODES, preprocess
from tests.support.drawings import draw_grainy_lesion, draw_lesion, encode
from tests.support.models import KERAS, LITERT, change_attributes

KINDS = pytest.mark.parametrize("path", [KERAS, LITERT], ids=["Keras", "LiteRT"])


@pytest.fixture(scope="module")
def engine_of():
    """A function that returns the engine for a model file."""
    return {path: load_engine(path) for path in (KERAS, LITERT)}


IMAGES = [preprocess(draw_lesion()), *(preprocess(draw_grainy_lesion(i)) for i in range(16))]
NOISE = list(np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3), np.uint8))


# --- The same answers ------------------------------------------------------------------------


@pytest.mark.parametrize("with_map", [True, False], ids=["map", "no map"])
def test_both_engines_give_the_same_probabilities(engine_of, with_map):
    for pixels in IMAGES + NOISE:
        one, other = (predict(engine_of[path], pixels, with_map) for path in (KERAS, LITERT))
        assert np.allclose(one.views, other.views, rtol=0, atol=1e-4)
        if with_map:
            assert np.allclose(one.occlusion, other.occlusion, rtol=0, atol=1e-4)


def test_both_kinds_of_file_say_the_same_of_an_image():
    classifiers = [Classifier(path) for path in (KERAS, LITERT)]
    said = set()
    for pixels in IMAGES:
        one, other = (to_dict(classifier(pixels)) for classifier in classifiers)
        for name in ("probabilities", "malignant_probability"):
            assert one.pop(name) == pytest.approx(other.pop(name), abs=1e-4)
        assert one == other
        said.add((one["verdict"], *one["cannot_be_excluded"]))
    assert len(said) > 3


@KINDS
def test_several_threads_get_the_answers_that_one_gets(engine_of, path):
    engine = engine_of[path]
    wanted = [(pixels, with_map) for pixels in NOISE for with_map in (True, False)]
    alone = [predict(engine, *one).views for one in wanted]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: predict(engine, *one).views, wanted * 10))
    assert np.allclose(together, alone * 10, rtol=0, atol=1e-6)


# --- The same facts --------------------------------------------------------------------------


def test_the_committed_litert_file_is_made_of_the_committed_keras_file():
    said = read_attributes(LITERT)
    assert said[MADE_OF] == sha256_of(KERAS), "run `python train.py --export best_model.tflite`"


def test_every_attribute_but_keras_s_own_is_in_the_litert_file():
    kept, said = read_attributes(KERAS), read_attributes(LITERT)
    assert set(kept) - set(said) == {"backend", "keras_version", "model_config"}
    for name in set(kept) & set(said):
        assert np.array_equal(kept[name], said[name]), name
    assert check_model_file(LITERT) == check_model_file(KERAS)


def test_what_decisions_go_by_is_the_same_to_the_last_bit():
    one, other = Classifier(KERAS), Classifier(LITERT)
    assert isinstance(one.decision_facts, DecisionFacts)
    assert one.decision_facts == other.decision_facts
    kept, said = (classifier.picture_rules.to_attributes() for classifier in (one, other))
    assert {name.rsplit("_", 1)[0] for name in kept} == {
        "likeness",
        "other_picture",
        "picture_group",
    }
    for name, value in kept.items():
        assert np.array_equal(value, said[name]), name


# --- Exporting -------------------------------------------------------------------------------


def test_an_export_keeps_the_contract_and_says_how_far_it_is_off(tmp_path):
    deviation = export_model(KERAS, tmp_path / "m.tflite")
    assert 0 <= deviation <= 1e-4
    assert check_model_file(tmp_path / "m.tflite") == check_model_file(KERAS)
    assert [file.name for file in tmp_path.iterdir()] == ["m.tflite"]


@pytest.mark.parametrize("fault", ["the disk is full", "probabilities that differ"])
@pytest.mark.parametrize("suffix", [".h5", ".tflite"])
def test_a_failed_export_leaves_the_old_file(tmp_path, monkeypatch, suffix, fault):
    def fail(*_):
        raise OSError("the disk is full")

    # The network comes from the committed file: converting it takes seconds.
    network = read_network(LITERT)
    monkeypatch.setattr("keras.Sequential.export", lambda _, to, **__: to.write_bytes(network))
    if fault == "probabilities that differ":
        monkeypatch.setattr("lesion_lens.model.exports.MOST_DEVIATION", -1)
    else:
        monkeypatch.setattr("os.replace", fail)
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(ModelFileError, match=fault):
        export_model(KERAS, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- Without Keras ---------------------------------------------------------------------------

SERVE = """
import io, sys

hidden = dict.fromkeys(("keras", "tensorflow", "h5py"))
sys.modules.update(hidden)  # from now on, importing one of them raises
from app import app

path = sys.argv[1]
data = open(path, "rb").read()
client = app.test_client()
for count in (1, 2):  # the page of one result, and the table of several
    pictures = [(io.BytesIO(data), "a.png") for _ in range(count)]
    assert client.post("/showresult", data={"pic": pictures}).status_code == 200
answer = client.post("/api/v1/predictions", data={"image": (io.BytesIO(data), "a.png")})
assert answer.json["results"][0]["prediction"]["most_likely"]
assert client.get("/model").status_code == 200
said = app.test_cli_runner().invoke(args=["classify", path])
assert "Most likely class" in said.stdout, said.output
assert {name for name in sys.modules if name.split(".")[0] in hidden} == set(hidden)
"""


def test_a_litert_file_is_served_without_keras_tensorflow_and_h5py(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(draw_lesion()))
    command = [sys.executable, "-c", SERVE, str(tmp_path / "a.png")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"MODEL_PATH": LITERT.name})


def test_the_server_looks_for_garbage_again_once_the_model_is_loaded(app):
    try:
        load_weights(app)
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000  # the loaded objects are exempt
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("path", "missing", "remedy"),
    [
        (LITERT, "ai_edge_litert.interpreter", "pip install -r requirements-slim.txt"),
        (KERAS, "keras", "pip install -r requirements.txt"),
        (KERAS, "h5py", "pip install -r requirements.txt"),
    ],
)
def test_an_engine_that_is_not_installed_is_named(monkeypatch, path, missing, remedy):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelFileError, match="which is not installed") as caught:
        load_engine(path)
    assert str(path) in str(caught.value)
    assert remedy in str(caught.value)


# --- Files that must not be served -----------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return Path(shutil.copy(LITERT, tmp_path / "m.tflite"))


def fault_of(path):
    """Return the error for a bad file, which must name the file and the remedy."""
    with pytest.raises(ModelFileError) as caught:
        load_engine(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert sentence.endswith(remedy_of(path))
    assert "\n" not in sentence
    return sentence


def test_a_missing_file(tmp_path):
    path = tmp_path / "m.tflite"
    sentence = f"{path} is missing: name another file, or run `python train.py --export {path}`"
    assert sentence in fault_of(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.997, 0.9999])
def test_a_truncated_file(path, share):
    os.truncate(path, int(path.stat().st_size * share))
    fault_of(path)


@pytest.mark.parametrize("begin", [0, 0.001, 0.25, 0.5, 0.75, 0.97])
def test_a_changed_byte_of_the_network(path, begin):
    content = bytearray(path.read_bytes())
    content[int(len(content) * begin)] ^= 1
    path.write_bytes(content)
    assert "truncated or damaged" in fault_of(path)


def test_changed_bytes_of_the_archive_are_found_or_change_nothing(tmp_path):
    path, rng = tmp_path / "m.tflite", np.random.default_rng(0)
    path.write_bytes(b"network")
    append_attributes(path, read_attributes(LITERT))
    whole, wanted = path.read_bytes(), read_attributes(path)
    for _ in range(500):
        content = bytearray(whole)
        # The directory and the end of the archive, and 8 kB of attributes before them.
        for place in rng.integers(1, rng.choice([150, len(whole)]), rng.integers(1, 5)):
            content[-place] = rng.integers(256)
        path.write_bytes(content)
        try:
            check_model_file(path)
        except ModelFileError:
            continue
        assert read_attributes(path) == wanted
        assert read_network(path) == b"network"


def test_a_network_without_its_archive(path):
    path.write_bytes(read_network(LITERT))
    assert "damaged attributes" in fault_of(path)


@pytest.mark.parametrize("order", ["mel,akiec,bcc,bkl,df,nv,vasc", "", None, 7])
def test_another_order_of_the_classes(path, order):
    change_attributes(path, {"class_order": order})
    assert "order" in fault_of(path)


@pytest.mark.parametrize("facts", ["", "[", "[]", "7", '{"test": {}}', None, 7])
def test_spoiled_facts(path, facts):
    change_attributes(path, {"training_facts": facts})
    assert "damaged" in fault_of(path)


@pytest.mark.parametrize(
    "document", ["[]", "7", '"text"', "{}", "not JSON", '{"network_bytes": -1}']
)
def test_an_archive_of_something_else(path, document):
    path.write_bytes(read_network(LITERT))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("attributes.json", document)
    assert "damaged" in fault_of(path)


def test_attributes_that_inflate_without_end(path):
    path.write_bytes(read_network(LITERT))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("attributes.json", '{"a": "' + 64_000_000 * "a" + '"}')
    tracemalloc.start()
    fault = fault_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "damaged attributes" in fault
    assert peak < 60_000_000


@pytest.mark.parametrize("network", [b"", b"no network", bytes(1000)])
def test_what_litert_cannot_read(path, network):
    path.write_bytes(network)
    append_attributes(path, {"class_order": ",".join(CODES)})
    assert "cannot be run" in fault_of(path)


@pytest.mark.parametrize(
    ("side", "outputs", "activation", "fault"),
    [
        (32, len(CODES), "softmax", "cannot be run"),
        (28, 3, "softmax", "does not give"),
        (28, len(CODES), "linear", "does not give"),
    ],
)
def test_another_network(path, side, outputs, activation, fault):
    import keras

    layers = [keras.layers.Input((side, side, 3)), keras.layers.Flatten()]
    layers.append(keras.layers.Dense(outputs, activation=activation))
    keras.Sequential(layers).export(path, format="litert", verbose=False)
    assert "damaged attributes" in fault_of(path)
    append_attributes(path, {"class_order": ",".join(CODES)})
    assert fault in fault_of(path)


@pytest.mark.parametrize(("source", "name"), [(KERAS, "m.tflite"), (LITERT, "m.h5")])
def test_a_file_under_the_suffix_of_the_other_kind(tmp_path, source, name):
    fault_of(shutil.copy(source, tmp_path / name))


def test_a_file_that_changes_while_it_is_served_changes_no_answer(path):
    engine = load_engine(path)
    before = [predict(engine, pixels).views for pixels in NOISE]
    os.truncate(path, 1000)
    with ThreadPoolExecutor(8) as pool:  # so that every interpreter is used
        after = list(pool.map(lambda pixels: predict(engine, pixels).views, NOISE * 10))
    assert np.array_equal(after, before * 10)
