"""The network and the contract of best_model.h5."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

import skin_cancer_detection as scd
from lesion_lens import ROOT
from lesion_lens.model.engines import KerasEngine, load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.files import check_model_file, load_model, read_attributes, save_model
from lesion_lens.model.views import eight_views, occluded, predict
from tests.support.drawings import draw_lesion
from tests.support.models import KERAS, LAYERS, change_layer, made_scores


@pytest.fixture(scope="module", params=["built", "committed"])
def model(request):
    return scd.build_model() if request.param == "built" else load_model(KERAS)


def test_the_network_is_the_table(model):
    rows = [
        (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    assert rows == LAYERS


def test_parameters(model):
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert (model.count_params(), trainable) == (504_103, 502_983)


def test_activations_and_padding(model):
    kinds = [(layer.activation.__name__) for layer in model.layers if hasattr(layer, "activation")]
    assert kinds == ["relu"] * 9 + ["softmax"]
    padding = [layer.padding for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert padding == ["same"] + ["valid"] * 4


def test_plain_keras_gives_the_same_answers_without_our_code(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    script = (
        "import keras, numpy, sys\n"
        "model, pixels = keras.models.load_model(sys.argv[1]), numpy.load(sys.argv[2])\n"
        "answers = [model.predict(pixels.astype(t), verbose=0) for t in ('uint8', 'float32')]\n"
        "numpy.save(sys.argv[3], answers)\n"
    )
    paths = [KERAS, tmp_path / "pixels.npy", tmp_path / "answers.npy"]
    subprocess.run([sys.executable, "-c", script, *map(str, paths)], check=True, cwd=tmp_path)
    engine = load_engine(KERAS)
    ours = np.stack([predict(engine, image).views[0] for image in pixels])
    assert np.allclose(np.load(paths[2]), ours, atol=1e-6)


def test_probabilities_are_probabilities(model):
    views = predict(KerasEngine(model), np.full((28, 28, 3), 120, np.uint8)).views
    assert views.shape == (8, len(scd.CODES))
    assert views.dtype == np.float32
    assert views.min() >= 0
    assert np.allclose(views.sum(axis=1), 1, atol=1e-5)


def test_the_committed_file_knows_how_it_was_made():
    facts = check_model_file(KERAS)
    assert facts == json.loads((ROOT / "metrics.json").read_text(encoding="utf-8"))
    assert facts["rows_may_share_lesions"] is False
    assert set(facts) >= {"data_sha256", "split_sha256", "seed", "recipe", "versions", "test"}


# --- One image in ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (28, 28, 3)).astype(np.uint8)


def test_the_eight_views_are_all_the_ways_in_which_a_square_can_lie(noise):
    views = eight_views(noise[np.newaxis])[:, 0]
    expected = {
        np.rot90(side, turns).tobytes()
        for side in (noise, noise.swapaxes(0, 1))
        for turns in range(4)
    }
    assert np.array_equal(views[0], noise)
    assert {view.tobytes() for view in views} == expected
    assert len(expected) == 8


def test_every_view_is_asked(model, noise):
    expected = model.predict(eight_views(noise[np.newaxis])[:, 0].astype(float), verbose=0)
    assert np.allclose(predict(KerasEngine(model), noise).views, expected, atol=1e-5)


def test_each_patch_is_covered_once_in_the_colour_of_the_rim(noise):
    noise = noise.copy()
    noise[[0, -1]] = noise[:, [0, -1]] = (200, 150, 140)
    covered = occluded(noise)
    rows, columns = np.mgrid[:28, :28] // 4
    for patch, picture in enumerate(covered):
        inside = 7 * rows + columns == patch
        assert np.array_equal(picture[~inside], noise[~inside])
        assert (picture[inside] == (200, 150, 140)).all()
    assert len(covered) == 49


def test_the_map_says_how_far_the_most_likely_class_falls(noise):
    model = scd.build_model()
    prediction = predict(KerasEngine(model), noise)
    rim = np.concatenate([noise[0], noise[-1], noise[1:-1, 0], noise[1:-1, -1]])
    covered = noise.copy()
    covered[4:8, 20:24] = np.median(rim, axis=0)  # second row, sixth column
    pair = model.predict(np.stack([noise, covered]).astype(float), verbose=0)
    likely = prediction.views.mean(axis=0).argmax()
    assert prediction.occlusion.shape == (7, 7)
    assert prediction.occlusion[1, 5] == pytest.approx(pair[0, likely] - pair[1, likely], abs=1e-5)


def test_without_the_map_the_views_are_the_same():
    engine, noise = load_engine(KERAS), np.random.default_rng(3).integers(0, 256, (28, 28, 3))
    with_map, without = (
        predict(engine, noise.astype(np.uint8), wanted) for wanted in (True, False)
    )
    assert np.allclose(with_map.views, without.views, atol=1e-6)
    assert without.occlusion is None


CORNERS = {
    "upper left": (0, 0),
    "upper right": (0, 1),
    "lower left": (1, 0),
    "lower right": (1, 1),
}


def draw_in_corner(corner, radius, colour):
    """Draw a dark lesion in one quarter of pink skin, 600 × 450, reduced for the network."""
    y, x = 110 + 230 * corner[0], 130 + 340 * corner[1]
    ellipse = (x - radius, y - radius, x + radius, y + radius)
    return scd.preprocess(draw_lesion(ellipse=ellipse, colour=colour, blur=8))


@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS)
def test_the_map_follows_the_lesion(corner):
    """This uses the mean map of several lesions, because a single one may be unusual."""
    engine = load_engine(KERAS)
    maps = [
        predict(engine, draw_in_corner(corner, radius, colour)).occlusion
        for radius in (60, 70, 85)
        for colour in ((104, 62, 42), (110, 10, 40), (60, 35, 30))
    ]
    row, column = np.unravel_index(np.mean(maps, axis=0).argmax(), (7, 7))
    assert (row < 3, column < 3) == (corner[0] == 0, corner[1] == 0)
    assert (row > 3, column > 3) == (corner[0] == 1, corner[1] == 1)


# --- Files that must not be served -----------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return shutil.copy(KERAS, tmp_path / "copy.h5")


def fault_of(path):
    """Return the error for a bad file, which must name the file and the remedy."""
    with pytest.raises(ModelFileError) as caught:
        check_model_file(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert f"`python train.py --output {path}`" in sentence
    assert "\n" not in sentence
    return sentence


def test_missing_file(tmp_path):
    assert "is missing" in fault_of(tmp_path / "none.h5")


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated or is not a Keras HDF5 file" in fault_of(path)


def test_file_of_another_kind(path):
    path.write_text("not a model")
    assert "not a Keras HDF5 file" in fault_of(path)


def test_hdf5_without_a_model(path):
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2, 3]
    assert "complete Keras model" in fault_of(path)


def test_weights_without_architecture(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
    assert "complete Keras model" in fault_of(path)


def test_file_without_class_order(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["class_order"]
    assert "does not say the order" in fault_of(path)


def test_reordered_classes(path):
    with h5py.File(path, "r+") as file:
        file.attrs["class_order"] = "mel,akiec,bcc,bkl,df,nv,vasc"
    assert "in the order mel,akiec" in fault_of(path)


def test_another_input_shape(path):
    change_layer(path, 0, batch_shape=[None, 32, 32, 3])
    assert "28×28×3" in fault_of(path)


def test_another_network(tmp_path):
    import keras

    other = tmp_path / "other.h5"
    keras.Sequential(
        [keras.layers.Input((28, 28, 3)), keras.layers.Flatten(), keras.layers.Dense(7)]
    ).save(other)
    with h5py.File(other, "r+") as file:
        file.attrs["class_order"] = ",".join(scd.CODES)
    assert "504,103 parameters" in fault_of(other)


def test_no_layers_at_all(path):
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": []}})
    fault_of(path)


def bias_of(file):
    """Return the first layer's bias, wherever Keras has put it."""
    weights = file["model_weights"]
    layers = (weights[name] for name in weights.attrs["layer_names"])
    layer = next(layer for layer in layers if layer.attrs["weight_names"].size)
    return layer, layer.attrs["weight_names"][1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_link_to_another_file_is_not_followed(path, tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")  # opening it would block for ever
    with h5py.File(path, "r+") as file:
        layer, name = bias_of(file)
        del layer[name]
        layer[name] = h5py.ExternalLink(str(tmp_path / "pipe.h5"), "/x")
    assert "weights in another file" in fault_of(path)


def test_a_chunk_far_larger_than_its_array(path):
    with h5py.File(path, "r+") as file:
        layer, name = bias_of(file)
        values = layer[name][()]
        del layer[name]
        options = {"maxshape": (None,), "chunks": (10_000_000,), "compression": "gzip"}
        layer.create_dataset(name, data=values, **options)
    assert "weights in oversized chunks" in fault_of(path)


def test_invalid_settings_of_a_layer(path):
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"] = "none"
        file.attrs["model_config"] = json.dumps(config)
    assert "not a Keras HDF5 file" in fault_of(path)


def test_a_negative_variance_is_refused(path):
    with h5py.File(path, "r+") as file:
        found = []
        file.visit(lambda name: found.append(name) if "moving_variance" in name else None)
        file[found[0]][...] = -1
    with pytest.raises(ModelFileError, match="negative variance"):
        load_model(path)


def test_facts_that_are_nested_without_end(path):
    with h5py.File(path, "r+") as file:
        file.attrs["training_facts"] = "[" * 20000
    assert "damaged facts" in fault_of(path)


def write_facts(path, facts):
    with h5py.File(path, "r+") as file:
        file.attrs["training_facts"] = json.dumps(facts)


@pytest.mark.parametrize("facts", [[], {"test": {}}, {"test": {"accuracy": "high"}}, "text"])
def test_spoiled_facts(path, facts):
    write_facts(path, facts)
    assert "damaged facts" in fault_of(path)


EIGHT = ("eight_views",)


@pytest.mark.parametrize("spoiled", ["high", float("nan"), -0.5, {}, []], ids=str)
@pytest.mark.parametrize(
    "keys",
    [
        (*EIGHT, "accuracy", "value"),
        (*EIGHT, "per_class", "mel", "sensitivity", "value"),
        (*EIGHT, "per_class", "df", "precision", "value"),
        (*EIGHT, "confusion_matrix", 6, 4),
    ],
    ids=lambda keys: ".".join(map(str, keys[-3:])),
)
def test_a_figure_of_which_the_pages_speak_must_be_one(path, keys, spoiled):
    scores = made_scores()
    holder = scores
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = spoiled
    write_facts(path, {"test": scores})
    assert "damaged facts" in fault_of(path)


def test_attributes_that_cannot_be_read(path):
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="damaged attributes"):
        read_attributes(path)


def test_no_softmax_at_the_end(path):
    change_layer(path, -1, activation="linear")
    with pytest.raises(ModelFileError, match="a different activation in layer 22, Dense"):
        load_engine(path)


def test_spoiled_bytes_raise_nothing_but_model_file_errors(path):
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(100):
        spoiled = whole.copy()
        # The structure of an HDF5 file is at its start and between the arrays.
        places = rng.integers(20_000, size=rng.integers(1, 50))
        spoiled[places] = rng.integers(256, size=len(places))
        path.write_bytes(spoiled.tobytes())
        with contextlib.suppress(ModelFileError):
            check_model_file(path)


# --- Saving ----------------------------------------------------------------------------------


def test_saved_and_loaded_model_is_the_same(tmp_path):
    model = scd.build_model()
    save_model(model, tmp_path / "model.h5", {"seed": 7})
    assert check_model_file(tmp_path / "model.h5") == {"seed": 7}
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    loaded, kept = load_engine(tmp_path / "model.h5"), KerasEngine(model)
    one, other = predict(loaded, pixels), predict(kept, pixels)
    assert np.array_equal(one.views, other.views)
    assert np.array_equal(one.occlusion, other.occlusion)


def test_attributes_are_kept_beside_keras_s_own(tmp_path):
    path = tmp_path / "model.h5"
    save_model(scd.build_model(), path, {}, {"text": "a", "numbers": np.eye(2)})
    attributes = read_attributes(path)
    assert attributes["text"] == "a"
    assert np.array_equal(attributes["numbers"], np.eye(2))
    assert attributes["class_order"] == ",".join(scd.CODES)


def test_a_failed_save_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ModelFileError, match="disk full"):
        save_model(scd.build_model(), path, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_model_that_is_not_finite_is_not_saved(path):
    before = path.read_bytes()
    model = scd.build_model()
    weights = model.get_weights()
    weights[0][0, 0, 0, 0] = np.nan
    model.set_weights(weights)
    with pytest.raises(ModelFileError, match="NaN"):
        save_model(model, path, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
