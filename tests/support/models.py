"""Model files for tests: the one under test, changed copies of it, and small made ones."""

import functools
import json
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np

from lesion_lens import ROOT
from lesion_lens.model.decisions import DecisionFacts
from lesion_lens.model.facts import STATEMENTS
from lesion_lens.model.files import DEFAULT_MODEL_PATH, read_attributes
from lesion_lens.model.litert_files import append_attributes
from lesion_lens.model.model_path import is_litert
from lesion_lens.model.other_pictures import OtherPictureDetector
from lesion_lens.model.outliers import FEATURES, OutlierDetector
from lesion_lens.model.picture_groups import PictureGroups
from skin_cancer_detection import CODES, SIDE

KERAS, LITERT = ROOT / "best_model.h5", ROOT / "best_model.tflite"
# The file that loads in a tenth of the time, for tests that do not depend on the engine.
QUICK = LITERT if find_spec("ai_edge_litert") else KERAS
# The file that the tests of the app serve: `KERAS`, or `LITERT` in `make test-litert`.
MODEL = Path(os.environ.get("MODEL_PATH", DEFAULT_MODEL_PATH)).resolve()

# The network, layer by layer: kind, output shape without the batch, parameters.
LAYERS = [
    ("Conv2D", (28, 28, 16), 448),
    ("MaxPooling2D", (14, 14, 16), 0),
    ("BatchNormalization", (14, 14, 16), 64),
    ("Conv2D", (12, 12, 32), 4640),
    ("Conv2D", (10, 10, 64), 18496),
    ("MaxPooling2D", (5, 5, 64), 0),
    ("BatchNormalization", (5, 5, 64), 256),
    ("Conv2D", (3, 3, 128), 73856),
    ("Conv2D", (1, 1, 256), 295168),
    ("Flatten", (256,), 0),
    ("Dropout", (256,), 0),
    ("Dense", (256,), 65792),
    ("BatchNormalization", (256,), 1024),
    ("Dropout", (256,), 0),
    ("Dense", (128,), 32896),
    ("BatchNormalization", (128,), 512),
    ("Dense", (64,), 8256),
    ("BatchNormalization", (64,), 256),
    ("Dropout", (64,), 0),
    ("Dense", (32,), 2080),
    ("BatchNormalization", (32,), 128),
    ("Dense", (len(CODES),), 33 * len(CODES)),
]

# With these, a class cannot be excluded from 0.1 on, and moles are at least six times as frequent
# as any other class.
_SHARES = {"nv": 0.6, "akiec": 0.1, "bcc": 0.1, "bkl": 0.1, "df": 0.05, "mel": 0.03}
_shares = np.array([_SHARES.get(code, 0.02) for code in CODES])
FACTS = DecisionFacts(1.0, tuple((_shares / _shares.sum()).tolist()), 0.1, (0.1,) * len(CODES), ())
LIKE, UNLIKE = (
    OutlierDetector(np.zeros((len(CODES), FEATURES)), np.eye(FEATURES), threshold)
    for threshold in (1e9, 0)
)
# With OTHER, no picture is dermatoscopic; with OWN, all are, unless they have a single colour.
OTHER, OWN = (
    OtherPictureDetector(np.zeros(17), np.ones(17), np.eye(171)[0], threshold)
    for threshold in (-9, 1e9)
)
# 'Low risk' has proved right for every picture, or for no picture.
PROVEN, UNPROVEN = (
    PictureGroups(np.zeros((4, FEATURES)), np.stack([np.eye(FEATURES)] * 4), *shares)
    for shares in ((np.full(4, 0.25), np.full(4, proven)) for proven in (1, 0))
)


def shares_of(**shares):
    """Return the probabilities of all classes; those not named share the rest."""
    rest = (1 - sum(shares.values())) / (len(CODES) - len(shares))
    return [shares.get(code, rest) for code in CODES]


def attributes_of(*kinds):
    """Return the attributes of decision facts and of rules for pictures; None is ignored."""
    return {name: value for kind in kinds if kind for name, value in kind.to_attributes().items()}


def write_model(folder, shares, facts=None, attributes=None):
    """Write a model file that gives every image the same probabilities; return its path.

    It is always a LiteRT file, because LiteRT loads it at once.
    """
    path = folder / "m.tflite"
    biases = np.log(shares).astype(np.float32).tobytes()
    path.write_bytes(indifferent_network().replace(_BIASES, biases))
    order = {"class_order": ",".join(CODES), "training_facts": json.dumps(facts or {})}
    append_attributes(path, order | (attributes or {}))
    return path


_BIASES = np.arange(1, len(CODES) + 1, dtype=np.float32).tobytes()


@functools.cache
def indifferent_network():
    """Return the bytes of a small network that gives every image the softmax of `_BIASES`."""
    import keras

    layers = [keras.layers.Input((SIDE, SIDE, 3)), keras.layers.Flatten()]
    layers.append(keras.layers.Dense(len(CODES), "softmax", kernel_initializer="zeros"))
    model = keras.Sequential(layers)
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.frombuffer(_BIASES, np.float32)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.tflite")
        model.export(path, format="litert", verbose=False)
        network = path.read_bytes()
    assert network.count(_BIASES) == 1
    return network


def copy_model(folder, attributes, source=MODEL):
    """Copy the model under test, change some of its attributes and return the copy's path."""
    path = Path(shutil.copy(source, folder / f"m{source.suffix}"))
    change_attributes(path, attributes)
    return path


def change_attributes(path, attributes):
    """Change attributes of a Keras or LiteRT model file."""
    if is_litert(path):
        kept = read_attributes(path)
        path.write_bytes(path.read_bytes()[: kept["network_bytes"]])
        append_attributes(path, kept | attributes)
    else:
        with h5py.File(path, "r+") as file:
            file.attrs.update(attributes)


def change_layer(path, index, **settings):
    """Change settings of a layer in a Keras file."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][index]["config"].update(settings)
        file.attrs["model_config"] = json.dumps(config)


def made_scores():
    """Make the part of metrics.json's `test` that the pages show."""
    matrix = np.diag([10] * len(CODES))
    found = {"akiec": 1, "bcc": 1, "bkl": 5, "nv": 15, "mel": 28}  # 20 of 50 are called benign
    matrix[CODES.index("mel")] = [found.get(code, 0) for code in CODES]
    return {
        "eight_views": {
            "images": 2345,
            "accuracy": {"value": 0.81},
            "per_class": {
                code: {"sensitivity": {"value": 0.56}, "precision": {"value": 0.61}}
                for code in CODES
            },
            "confusion_matrix": matrix.tolist(),
        },
        "decisions": made_counts(),
    }


def made_counts(lesions=1000, malignant=160, **statements):
    """Make counts (lesions, malignant, melanomas) for each statement.

    A statement that is not given has a tenth of each total.
    """
    counts = {"lesions": lesions, "malignant": malignant, "melanomas": malignant // 2}
    tenth = [count // 10 for count in counts.values()]
    return counts | {
        "malignant_probability": 0.16,
        "statements": {
            name: dict(zip(counts, statements.get(name, tenth), strict=True)) for name in STATEMENTS
        },
    }
