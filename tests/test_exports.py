"""Files for other programs, and files from other programs."""

import io
import json
import re
import shutil
import sys
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import yaml

from lesion_lens import ROOT
from lesion_lens.model.architecture import SETTINGS
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.exports import _images_to_compare, export_model
from lesion_lens.model.files import check_model_file, load_model, read_attributes
from lesion_lens.model.litert_files import read_network
from lesion_lens.model.litert_metadata import LABELS, LABELS_NAME
from lesion_lens.model.publication import AUTHOR, LICENCE, NAME
from skin_cancer_detection import CODES
from tests.support.drawings import draw_lesion
from tests.support.models import KERAS, LITERT, change_layer

ORDER = ",".join(CODES)
NOISE = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return shutil.copy(KERAS, tmp_path / "m.h5")


def answers_of(path):
    return load_model(path).predict(NOISE, verbose=0)


def fault_of(call, *arguments):
    with pytest.raises(ModelFileError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_config(path, change):
    """Change the architecture of a Keras file in place."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)


# --- Keras files -----------------------------------------------------------------------------


def test_the_committed_file_holds_no_more_than_keras_2_knew():
    with h5py.File(KERAS) as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    assert layers[0]["config"]["batch_input_shape"] == [None, 28, 28, 3]
    for layer in layers[1:]:
        assert set(layer["config"]) == {"name", "dtype", *SETTINGS[layer["class_name"]]}
        assert layer["config"]["dtype"] == "float32"


def test_an_export_is_compared_on_noise_and_on_smooth_images():
    noise, smooth = np.split(_images_to_compare(), 2)
    assert np.array_equal(smooth, _images_to_compare()[32:])
    assert np.abs(np.diff(noise, axis=1)).max() > 200
    assert np.abs(np.diff(smooth, axis=1)).max() < 30
    assert smooth.min() >= 0
    assert smooth.max() <= 255


def test_a_file_exported_again_is_the_same_to_the_bit(tmp_path):
    assert export_model(KERAS, tmp_path / "m.h5") == 0
    kept, said = read_attributes(KERAS), read_attributes(tmp_path / "m.h5")
    assert set(kept) == set(said)
    for name in set(kept) - {
        "model_config"
    }:  # names differ if a process has built several networks
        assert np.array_equal(kept[name], said[name]), name


def as_todays_keras_writes(path):
    """Save a file's network with today's Keras, which loses the class order."""
    import keras

    keras.models.load_model(KERAS, compile=False).save(path)
    return path


def as_keras_2_writes(config):
    """Write the axis as a list counted from the front, further keys, and no input layer."""
    layers = config["config"]["layers"]
    flat = [layer["class_name"] for layer in layers].index("Flatten")
    for place, layer in enumerate(layers):
        layer["config"] |= {"trainable": True, "activity_regularizer": None}
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["axis"] = [3 if place < flat else 1]
    first = layers.pop(0)
    layers[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]


def test_a_file_as_keras_2_writes_it_is_served(path):
    change_config(path, as_keras_2_writes)
    with h5py.File(path, "r+") as file:
        file.attrs["class_order"] = np.bytes_(ORDER)
        weights = file["model_weights"]
        weights.attrs["layer_names"] = np.array(weights.attrs["layer_names"], "S")
    load_engine(path)
    assert np.array_equal(answers_of(path), answers_of(KERAS))


def test_a_file_of_todays_keras_is_served_once_it_says_its_classes(tmp_path):
    path = as_todays_keras_writes(tmp_path / "m.h5")
    assert "give it with `python train.py --output" in fault_of(check_model_file, path)
    with h5py.File(path, "r+") as file:
        file.attrs["class_order"] = ORDER
    assert np.array_equal(answers_of(path), answers_of(KERAS))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_file_that_does_not_say_its_classes_is_made_a_model_file(tmp_path, suffix):
    source, path = as_todays_keras_writes(tmp_path / f"theirs{suffix}"), tmp_path / "m.h5"
    assert "does not say the order of its classes" in fault_of(export_model, source, path)
    export_model(source, path, ORDER)
    assert np.array_equal(answers_of(path), answers_of(KERAS))


def test_outputs_in_another_order_are_put_into_ours(tmp_path):
    source = as_todays_keras_writes(tmp_path / "theirs.keras")
    export_model(source, tmp_path / "m.h5", ",".join(sorted(CODES)))
    places = [sorted(CODES).index(code) for code in CODES]
    assert np.allclose(answers_of(tmp_path / "m.h5"), answers_of(KERAS)[:, places], atol=1e-6)


@pytest.mark.parametrize("classes", ["mel,nv", "a,b,c,d,e,f,g", f"{ORDER},mel"])
def test_classes_that_are_not_ours(tmp_path, classes):
    source = as_todays_keras_writes(tmp_path / "theirs.h5")
    assert "has the classes" in fault_of(export_model, source, tmp_path / "m.h5", classes)


def test_classes_that_the_file_denies(tmp_path):
    assert "leave out --classes" in fault_of(export_model, KERAS, tmp_path / "m.h5", "mel,nv")


@pytest.mark.parametrize(
    ("index", "setting", "value"),
    [
        (1, "padding", "valid"),
        (1, "strides", [2, 2]),
        (2, "pool_size", [3, 3]),
        (3, "epsilon", 0.1),
        (4, "activation", {"class_name": "function", "config": "relu"}),
        (-1, "use_bias", False),
    ],
)
def test_a_setting_that_is_not_ours(path, index, setting, value):
    change_layer(path, index, **{setting: value})
    assert f"has a different {setting} in layer" in fault_of(load_model, path)


def test_layers_in_another_order(path):
    change_config(path, lambda config: config["config"]["layers"].append({}))
    assert "is truncated or is not" in fault_of(check_model_file, path)
    shutil.copy(KERAS, path)
    change_config(path, lambda config: config["config"]["layers"].pop(10))
    assert "has layers that differ from this network's" in fault_of(load_model, path)


def test_a_class_of_somebody_s_own_under_a_name_of_keras(path):
    def register(config):
        config["config"]["layers"][-1]["registered_name"] = "theirs>Dense"

    change_config(path, register)
    assert "has an unsupported layer, Dense" in fault_of(check_model_file, path)


def test_weights_in_another_file(path):
    with h5py.File(path, "r+") as file:
        first = next(name for name in file["model_weights"] if name.startswith("conv2d"))
        layer = file[f"model_weights/{first}"]
        name = layer.attrs["weight_names"][0]
        del layer[name]
        layer[name] = h5py.ExternalLink(str(KERAS), f"model_weights/{first}/{name}")
    assert "has its weights in another file" in fault_of(check_model_file, path)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_keras_archive_that_inflates_without_end(tmp_path, name):
    source = tmp_path / "bomb.keras"
    with zipfile.ZipFile(as_todays_keras_writes(tmp_path / "whole.keras")) as whole:
        entries = {"config.json": whole.read("config.json"), name: bytes(100_000_000)}
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    tracemalloc.start()
    fault = fault_of(export_model, source, tmp_path / "m.h5", ORDER)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "is truncated or is not a Keras archive (.keras)" in fault
    assert peak < 90_000_000


# --- LiteRT's metadata and ONNX --------------------------------------------------------------


def test_the_committed_litert_file_has_its_metadata_and_labels():
    network = read_network(LITERT)
    for said in (b"TFLITE_METADATA", b"M001", NAME.encode(), AUTHOR.encode(), LICENCE.encode()):
        assert said in network
    with zipfile.ZipFile(io.BytesIO(LITERT.read_bytes())) as archive:
        assert archive.read(LABELS_NAME).decode() == LABELS
        # MediaPipe takes no other entries.
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
def test_a_package_that_onnx_needs_is_named(tmp_path, monkeypatch, package):
    for name in ("onnx", "onnxruntime", "tf2onnx"):
        monkeypatch.setitem(sys.modules, name, None if name == package else sys)
    fault = fault_of(export_model, KERAS, tmp_path / "m.onnx")
    assert f"needs {package}, which is not installed: pip install onnx" in fault
    assert list(tmp_path.iterdir()) == []


# --- The pages -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["keras", "litert"])
def test_the_snippets_of_the_page_run_as_they_are(name, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "model-files.md").read_text(encoding="utf-8")
    snippet = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", page, re.S)[1]
    for file in (KERAS, LITERT):
        (tmp_path / file.name).symlink_to(file)
    draw_lesion().save(tmp_path / "lesion.jpg")
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})  # noqa: S102 (the snippet is our own)
    assert len(re.findall(r"\d\.\d+", capsys.readouterr().out)) == len(CODES)


def test_the_card_begins_with_the_front_matter_of_hugging_face(client):
    card = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    said = yaml.safe_load(card.split("---\n")[1])
    scores = json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))["test"]["eight_views"]
    assert said["license"] == "cc-by-nc-4.0"
    measured = said["model-index"][0]["results"][0]["metrics"]
    assert measured[0]["value"] == pytest.approx(scores["accuracy"]["value"], abs=1e-4)
    assert "cc-by-nc-4.0" not in client.get("/model").text
