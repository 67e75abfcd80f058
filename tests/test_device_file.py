"""The file with which a browser classifies: its contents, and how it is sent."""

import base64
import gzip
import hashlib
import json
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lesion_lens.model.device_file import device_file, folded_layers
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.exports import export_model
from lesion_lens.model.files import sha256_of
from lesion_lens.model.litert_files import append_attributes, read_network
from lesion_lens.web.device import device_address, device_integrity
from skin_cancer_detection import CLASSES, KERNEL_SHAPES
from tests.support.drawings import draw_spots
from tests.support.models import (
    KERAS,
    LITERT,
    change_attributes,
    change_layer,
    copy_model,
    write_model,
)
from tests.support.pages import app_of, app_with, client_of, page_of

KINDS = pytest.mark.parametrize("path", [KERAS, LITERT], ids=["Keras", "LiteRT"])
NOISE = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3), np.uint8)
IMAGES = np.concatenate([draw_spots(8, seed=2), NOISE])
GZIP = {"Accept-Encoding": "gzip"}


def read(file):
    """Read a safetensors file by its published format: facts, and arrays by name."""
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(file[8 : 8 + length])
    facts = json.loads(header.pop("__metadata__")["lesion_lens"])
    data, arrays, place = memoryview(file)[8 + length :], {}, 0
    for name, said in header.items():
        begin, end = said["data_offsets"]
        assert (begin, said["dtype"]) == (place, "F32")
        arrays[name] = np.frombuffer(data[begin:end], "<f4").reshape(said["shape"])
        place = end
    assert (place, length % 8) == (len(data), 0)
    return facts, arrays


def run(arrays, images):
    """Run the folded layers and return the probabilities, (N, 7)."""
    x = np.pad(images.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for number in range(1, 6):
        windows = sliding_window_view(x, (3, 3), axis=(1, 2))
        x = np.einsum("nyxchw,hwco->nyxo", windows, arrays[f"conv{number}.kernel"], optimize=True)
        x = np.maximum(x + arrays[f"conv{number}.bias"], 0)
        if number in (1, 3):
            x = np.maximum(x[:, ::2], x[:, 1::2])
            x = np.maximum(x[:, :, ::2], x[:, :, 1::2])
    x = x.reshape(len(x), -1)
    for number in range(1, 6):
        x = np.maximum(x, 0) @ arrays[f"dense{number}.kernel"] + arrays[f"dense{number}.bias"]
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def fault_of(path):
    with pytest.raises(ModelFileError) as caught:
        folded_layers(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Its network -----------------------------------------------------------------------------


def test_both_kinds_of_model_file_give_the_same_network():
    one, other = folded_layers(KERAS), folded_layers(LITERT)
    assert list(one) == list(other)
    for name, array in one.items():
        assert np.allclose(array, other[name], rtol=1e-5, atol=1e-6), name


@KINDS
def test_the_folded_network_gives_the_probabilities_of_the_engine(path):
    wanted = load_engine(path)(IMAGES)
    assert np.allclose(run(folded_layers(path), IMAGES), wanted, rtol=0, atol=1e-5)


def test_another_model_gives_its_own(tmp_path):
    path = shutil.copy(KERAS, tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file["model_weights"].visititems(shift_means)
    export_model(path, tmp_path / "m.tflite")
    before, after = run(folded_layers(KERAS), IMAGES), run(folded_layers(path), IMAGES)
    assert np.abs(after - before).max() > 0.1
    for file in (path, tmp_path / "m.tflite"):
        assert np.allclose(run(folded_layers(file), IMAGES), load_engine(file)(IMAGES), 0, 1e-5)


def shift_means(name, weights):
    """Change the mean of every BatchNormalization in a Keras file."""
    if "moving_mean" in name:
        weights[...] = weights[...] * 1.5 + 0.1


@KINDS
def test_the_file_has_ten_layers_and_the_facts(path):
    facts, arrays = read(device_file(path, {"title": "Bowen’s “disease”"}))
    assert facts == {"title": "Bowen’s “disease”"}
    kernels = [array.shape for name, array in arrays.items() if name.endswith(".kernel")]
    assert tuple(kernels) == KERNEL_SHAPES
    assert list(arrays)[:2] == ["conv1.kernel", "conv1.bias"]
    assert list(arrays)[-1] == "dense5.bias"


# --- Model files without a device file -------------------------------------------------------


def test_a_network_of_other_layers_is_refused(tmp_path):
    path = write_model(tmp_path, [1 / len(CLASSES)] * len(CLASSES))
    assert fault_of(path).startswith(f"{path} has layers that differ from this network's: run ")


@pytest.mark.parametrize(
    ("index", "settings", "sentence"),
    [
        (1, {"padding": "valid"}, "has layers that differ from this network's"),
        (1, {"activation": "tanh"}, "has layers that differ from this network's"),
        (4, {"strides": [2, 2]}, "has layers that cannot be read without its engine"),
        (2, {"pool_size": [3, 3]}, "has layers that cannot be read without its engine"),
        (3, {"scale": False}, "has layers that cannot be read without its engine"),
    ],
)
def test_a_network_of_other_settings_is_refused(tmp_path, index, settings, sentence):
    path = copy_model(tmp_path, {}, KERAS)
    change_layer(path, index, **settings)
    assert f"{path} {sentence}: run `python train.py --output {path}`" in fault_of(path)


@pytest.mark.parametrize("length", [0, 10, 2000, 200_000])
def test_a_truncated_network_for_litert_is_refused(tmp_path, length):
    path = tmp_path / "m.tflite"
    path.write_bytes(read_network(LITERT)[:length])
    append_attributes(path, {})  # with a valid checksum
    assert "has layers that cannot be read without its engine" in fault_of(path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "m.tflite"
    biases = folded_layers(LITERT)["dense5.bias"].tobytes()
    network = read_network(LITERT)
    assert network.count(biases) == 1
    path.write_bytes(network.replace(biases, b"\xff" * len(biases)))
    append_attributes(path, {})
    assert "holds weights that are NaN or infinite" in fault_of(path)


# --- How it is sent --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app():
    return app_with()


@KINDS
def test_the_file_takes_no_more_than_two_megabytes(path):
    app = app_of(path)
    packed = app.test_client().get("/model/device", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.data) <= 2_000_000


def test_the_facts_name_the_model(client):
    response = client.get("/model/device")
    assert response.mimetype == "application/octet-stream"
    facts, arrays = read(response.data)
    assert facts["model_sha256"] == sha256_of(LITERT)
    assert arrays["dense5.bias"].shape == (len(CLASSES),)


def test_the_gzipped_file_has_the_same_content(client):
    plain, packed = client.get("/model/device"), client.get("/model/device", headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data) == plain.data
    assert plain.vary.as_set() == packed.vary.as_set() == {"accept-encoding"}


def test_a_proxy_that_compresses_gets_it_as_it_is():
    response = app_with(COMPRESSION="off").test_client().get("/model/device", headers=GZIP)
    assert not {"Content-Encoding", "Vary"} & set(response.headers.keys())


@pytest.mark.parametrize("accepted", [{}, GZIP], ids=["plain", "gzip"])
def test_the_file_is_not_sent_again(client, accepted):
    first = client.get("/model/device", headers=accepted)
    again = client.get("/model/device", headers=accepted | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_address_and_integrity_are_of_what_is_sent(app, client):
    digest = hashlib.sha256(client.get("/model/device").data)
    with app.test_request_context("/"):
        assert device_address() == f"/model/device?sha256={digest.hexdigest()[:16]}"
        assert device_integrity() == f"sha256-{base64.b64encode(digest.digest()).decode()}"
    with app.test_request_context("/", environ_overrides={"SCRIPT_NAME": "/lens"}):
        assert device_address().startswith("/lens/model/device?sha256=")


def test_threads_get_the_same_file_which_is_made_once(monkeypatch):
    app, made = app_with(), []
    monkeypatch.setattr(
        "lesion_lens.web.device.facts_of", lambda _: made.append(1) or {"number": len(made)}
    )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.test_client().get("/model/device"), range(16)))
    assert len({answer.data for answer in answers}) == len(made) == 1


def test_without_it_the_app_serves_all_the_same(tmp_path):
    client = client_of(write_model(tmp_path, [1 / len(CLASSES)] * len(CLASSES)))
    response = client.get("/model/device")
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert page_of(response).h1
    with client.application.test_request_context("/"):
        assert device_address() is device_integrity() is None
    assert client.get("/").status_code == 200


def test_no_file_is_made_of_a_model_that_was_replaced_meanwhile(tmp_path, monkeypatch):
    path = copy_model(tmp_path, {}, LITERT)
    client = client_of(path)

    def exchange(_):
        change_attributes(path, {"title": "another"})
        return {}

    monkeypatch.setattr("lesion_lens.web.device.facts_of", exchange)
    assert client.get("/model/device").status_code == 404


@KINDS
def test_where_the_model_file_cannot_be_read_the_next_request_tries_again(tmp_path, path):
    path = copy_model(tmp_path, {}, path)
    client = client_of(path)
    path.rename(tmp_path / "away")
    assert client.get("/model/device").status_code == 404
    (tmp_path / "away").rename(path)
    assert client.get("/model/device").status_code == 200
