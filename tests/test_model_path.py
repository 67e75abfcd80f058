"""Which model file is served: valid values of MODEL_PATH, and the check of MODEL_SHA256."""

import json
import os
import shutil
import sys

import h5py
import numpy as np
import pytest

from app import create_app
from lesion_lens.model.classifier import Classifier
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.files import check_model_file, sha256_of
from lesion_lens.web.about import describe_model
from tests.support.models import KERAS, LITERT, shares_of, write_model
from tests.support.pages import client_of
from tests.test_start import PYTHON, start


def fault_of(path, check=check_model_file):
    """Return the error for a file, which must be a single sentence."""
    with pytest.raises(ModelFileError) as caught:
        check(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- The path --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "  "])
def test_an_empty_path(path):
    assert "(MODEL_PATH) is empty" in fault_of(path)


@pytest.mark.parametrize("name", ["models", "m.h5", "m.tflite"])
def test_a_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    assert f"{name} is a folder, not a model file" in fault_of(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_device_and_a_pipe(tmp_path):
    (tmp_path / "m.h5").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "m.tflite")
    for name in ("m.h5", "m.tflite"):
        assert f"{name} is a device, a pipe or a socket" in fault_of(tmp_path / name)


def test_a_loop_of_links_and_a_name_too_long(tmp_path):
    (tmp_path / "m.h5").symlink_to("m.h5")
    assert "m.h5 cannot be read (" in fault_of(tmp_path / "m.h5")
    assert "cannot be read (" in fault_of(tmp_path / f"{'m' * 300}.h5")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = shutil.copy(KERAS, tmp_path / "m.h5")

    def closed(*_):
        raise PermissionError(13, "Permission denied")

    # The user who runs the tests may have all permissions.
    monkeypatch.setattr("builtins.open", closed)
    assert "m.h5 cannot be read (Permission denied)" in fault_of(path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("m.H5", "m.H5 ends in .H5, but Keras knows only .h5: rename it."),
        (
            "m.keras",
            "m.keras is in Keras's format .keras, which does not say the order of the",
        ),
        ("m.onnx", "m.onnx does not have the suffix of a model file: name a file that ends in .h5"),
        ("m", "m does not have the suffix of a model file"),
    ],
)
def test_a_suffix_of_another_kind(tmp_path, name, sentence):
    assert sentence in fault_of(shutil.copy(KERAS, tmp_path / name))


@pytest.mark.parametrize("name", ["m.hdf5", "m.TFLITE"])
def test_suffixes_that_are_served(tmp_path, name):
    load_engine(shutil.copy(KERAS if name == "m.hdf5" else LITERT, tmp_path / name))


def test_an_empty_setting_stops_the_start_with_its_sentence():
    code, said = start(PYTHON, MODEL_PATH="")
    assert code == 3
    assert "(MODEL_PATH) is empty" in said


# --- The weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["kernel", "gamma", "moving_variance"])
def test_one_weight_that_is_not_finite(tmp_path, name, spoiled):
    path = shutil.copy(KERAS, tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        arrays = []
        file["model_weights"].visititems(lambda place, item: arrays.append((place, item)))
        array = next(item for place, item in arrays if place.endswith(name))
        array[(-1,) * array.ndim] = spoiled
    assert "m.h5 holds weights that are NaN or infinite: run" in fault_of(path)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf])
def test_one_weight_of_a_litert_file_that_is_not_finite(tmp_path, spoiled):
    path = write_model(tmp_path, [*shares_of()[:-1], spoiled])
    fault = fault_of(path, load_engine)
    assert "m.tflite holds weights that are NaN or infinite: run" in fault


def test_weights_whose_sums_run_over(tmp_path):
    path = shutil.copy(KERAS, tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        for layer in weights.attrs["layer_names"]:
            for name in weights[layer].attrs["weight_names"]:
                if weights[layer][name].ndim > 1:
                    weights[layer][name][...] = 1e30
    assert "m.h5 gives NaN or infinite numbers" in fault_of(path, load_engine)


@pytest.mark.parametrize("kind", ["Lambda", "Rescaling", "Mine", 7])
def test_a_layer_of_another_kind(tmp_path, kind):
    path = shutil.copy(KERAS, tmp_path / "m.h5")
    change_kind(path, kind)
    assert f"m.h5 has an unsupported layer, {kind}" in fault_of(path)


def change_kind(path, kind):
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1]["class_name"] = kind
        file.attrs["model_config"] = json.dumps(config)


# --- The facts -------------------------------------------------------------------------------


@pytest.mark.parametrize("spoiled", [7, float("nan"), True, ["a"], {"a": 1}], ids=str)
def test_single_facts_of_another_type_are_not_said(tmp_path, spoiled):
    facts = {"data": 7, "data_sha256": spoiled, "rows_may_share_lesions": "no"}
    path = write_model(tmp_path, shares_of(), facts)
    assert check_model_file(path) == {}
    assert client_of(path).get("/model").status_code == 200
    assert describe_model(Classifier(path))["data_sha256"] is None


def test_the_api_gives_no_text_as_a_checksum(tmp_path):
    path = write_model(tmp_path, shares_of(), {"data_sha256": "<b>"})
    assert describe_model(Classifier(path))["data_sha256"] is None


def test_facts_that_no_page_can_show_are_spoiled(tmp_path):
    path = write_model(tmp_path, shares_of(), {"data": "\ud800"})
    assert "damaged facts of its training" in fault_of(path)


# --- The pin ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [str, str.upper, " {}\n".format])
def test_the_file_that_is_demanded_is_served(change):
    pin = change(sha256_of(LITERT))
    create_app({"MODEL_PATH": LITERT, "MODEL_SHA256": pin})


def test_another_file_is_refused_with_both_checksums():
    pin = sha256_of(KERAS)
    fault = fault_of(LITERT, lambda path: Classifier(path, pin))
    assert f"its SHA-256 is {sha256_of(LITERT)}, not {pin}" in fault


@pytest.mark.parametrize("pin", ["", "abc", "g" * 64, "0" * 10_000])
def test_a_demand_that_is_no_checksum_is_refused(pin):
    fault = fault_of(LITERT, lambda path: Classifier(path, pin))
    assert "not a checksum of 64 hexadecimal digits" in fault
    assert len(fault) < 400


@pytest.mark.parametrize(
    "command", [PYTHON, ["-m", "flask", "--app", "app", "classify", "."]], ids=["app", "classify"]
)
def test_the_setting_stops_the_app_and_the_command_line(command):
    code, said = start(command, MODEL_PATH=LITERT.name, MODEL_SHA256="0" * 64)
    assert code == 3
    assert "is not the file that MODEL_SHA256 requires" in said


def test_a_file_exchanged_before_it_is_loaded_is_refused(tmp_path):
    path = write_model(tmp_path, shares_of())
    classifier = Classifier(path)
    write_model(tmp_path, shares_of(mel=0.9))
    with pytest.raises(ModelFileError, match="has changed since it was checked"):
        classifier.load()
    assert not classifier.is_loaded
