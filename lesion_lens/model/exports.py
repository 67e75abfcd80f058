"""Exports the network of a Keras model file to LiteRT, ONNX and other versions of Keras.

An export replaces an older file only once it is complete and gives the original's probabilities,
within the format's limit.
"""

import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.backends import chosen_backend
from lesion_lens.model.errors import ModelFileError, SettingError
from lesion_lens.model.files import (
    CLASS_ORDER,
    check_model_file,
    kept_attributes,
    keras_file,
    load_model,
    quiet,
    sha256_of,
    whole_file,
)
from lesion_lens.model.keras_files import read_stored, text_of
from lesion_lens.model.litert_files import MADE_OF, append_attributes, read_network
from lesion_lens.model.litert_metadata import LABELS, LABELS_NAME, with_metadata
from lesion_lens.model.model_path import check_path, naming_command, remedy_of
from lesion_lens.model.publication import AUTHOR, DESCRIPTION, LICENCE, NAME
from skin_cancer_detection import CODES, SIDE

if TYPE_CHECKING:
    import keras

# The largest allowed difference of a probability between a Keras file and its export.
MOST_DEVIATION = 1e-4
MOST_ONNX_DEVIATION = 1e-5
ONNX_PACKAGES = "onnx onnxruntime tf2onnx"


def export_model(source: str | Path, path: str | Path, class_order: str | None = None) -> float:
    """Export a Keras model file to the format that the suffix of `path` names.

    Args:
        source: a `.h5` from any version of Keras; to write a `.h5`, also a `.keras`.
        path: the file to write. Its suffix is one of `EXPORTS`.
        class_order: the class codes in the order of the source's outputs, separated by commas.
            Only to write a `.h5`, if the source does not say the order.

    Returns:
        The largest difference between the probabilities of both files, on `_images_to_compare`.

    Raises:
        ModelFileError: the source is invalid, a package is missing, the file cannot be written, or
            a probability differs by more than the format's limit.
        SettingError: Keras does not run on TensorFlow, which `.tflite` and `.onnx` exports need.
    """
    source, path = Path(source), Path(path)
    return EXPORTS[path.suffix](source, path, class_order)


def _need_tensorflow(path: Path) -> None:
    if chosen_backend() != "tensorflow":
        raise SettingError(
            f"{path} can only be written with TensorFlow: install it, and unset KERAS_BACKEND."
        )


def _to_litert(source: Path, path: Path, _: str | None) -> float:
    """Write the network for LiteRT, with TensorFlow Lite's metadata and the file's attributes."""
    _need_tensorflow(path)
    model = load_model(source)
    with whole_file(path, ".tflite") as unfinished:
        with quiet():
            model.export(unfinished, format="litert", verbose=False)
        unfinished.write_bytes(with_metadata(unfinished.read_bytes()))
        kept = kept_attributes(source) | {MADE_OF: sha256_of(source)}
        append_attributes(unfinished, kept, {LABELS_NAME: LABELS})
        check_model_file(unfinished)
        network = read_network(unfinished)
        return _checked(source, path, model, lambda x: _run_litert(network, x), MOST_DEVIATION)


def _to_onnx(source: Path, path: Path, _: str | None) -> float:
    """Write the network for ONNX, with a description of the model in its metadata."""
    _need_tensorflow(path)
    for package in ONNX_PACKAGES.split():
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ModelFileError(
                f"{path} needs {package}, which is not installed: pip install {ONNX_PACKAGES}."
            ) from error
    import onnx
    import onnxruntime

    model = load_model(source)
    model.predict(np.zeros((1, SIDE, SIDE, 3)), verbose=0)  # Keras exports only what has run
    with whole_file(path, ".onnx") as unfinished:
        with quiet(), warnings.catch_warnings():  # tf2onnx warns about NumPy's names
            warnings.simplefilter("ignore")
            model.export(unfinished, format="onnx", verbose=False)
        network = onnx.load(unfinished)
        network.doc_string = DESCRIPTION
        said = {
            "name": NAME,
            "labels": json.dumps(CODES),
            "author": AUTHOR,
            "license": LICENCE,
            MADE_OF: sha256_of(source),
        }
        onnx.helper.set_model_props(network, said)
        onnx.save(network, unfinished)
        session = onnxruntime.InferenceSession(unfinished, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return _checked(
            source, path, model, lambda x: session.run(None, {name: x})[0], MOST_ONNX_DEVIATION
        )


def _to_keras(source: Path, path: Path, class_order: str | None) -> float:
    """Write the network of a file from any version of Keras as a model file.

    The source's other attributes are kept unchanged. If its classes are in a different order, its
    outputs are reordered and the attributes are dropped, because they refer to the old order.
    """
    check_path(source, remedy_of(source), to_convert=True)
    order = _order_of(source, class_order)
    model = read_stored(source).build(source)
    attributes = {CLASS_ORDER: ",".join(CODES)}
    if order == CODES:
        attributes = kept_attributes(source) | attributes
    else:
        places = [order.index(code) for code in CODES]
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([kernel[:, places], bias[places]])
    with keras_file(model, path, attributes) as unfinished:
        written = load_model(unfinished)
        return _checked(
            source, path, model, lambda x: written.predict(x, verbose=0), MOST_DEVIATION
        )


def _order_of(source: Path, class_order: str | None) -> tuple[str, ...]:
    """The order of a file's classes, which the file or the caller must give."""
    said = text_of(kept_attributes(source).get(CLASS_ORDER))
    if said is None and class_order is None:
        raise ModelFileError(
            f"{source} does not say the order of its classes: give it as in "
            f"`{naming_command(source)}`, with the order of its outputs."
        )
    if said is not None and class_order not in (None, said):
        raise ModelFileError(
            f"{source} has its classes in the order {str(said)[:80]}: leave out --classes."
        )
    order = tuple(code.strip() for code in str(said or class_order).split(","))
    if sorted(order) != sorted(CODES):
        raise ModelFileError(
            f"{source} has the classes {','.join(order)[:80]}, not {','.join(CODES)} in "
            "some order: only these can be read."
        )
    return order


# By the suffix of the target.
EXPORTS: dict[str, Callable[[Path, Path, str | None], float]] = {
    ".tflite": _to_litert,
    ".onnx": _to_onnx,
    ".h5": _to_keras,
}


def _checked(
    source: Path,
    path: Path,
    model: "keras.Model",
    run: Callable[[NDArray[np.float32]], Any],
    most: float,
) -> float:
    """The largest difference between the probabilities of a Keras model and of its export.

    Raises:
        ModelFileError: the difference is larger than `most`, or NaN.
    """
    images = _images_to_compare()
    deviation = float(np.abs(run(images) - model.predict(images, verbose=0)).max())
    if not deviation <= most:
        raise ModelFileError(
            f"{path} would give probabilities that differ from those of {source} by up to "
            f"{deviation:.1g}: serve the latter."
        )
    return deviation


def _images_to_compare() -> NDArray[np.float32]:
    """32 images of noise and 32 smooth ones, (64, SIDE, SIDE, 3), 0–255, always the same.

    Noise alone can give every image a probability of 0 or 1 for each class, whatever the weights.
    The smooth images are closer to real ones: skin-coloured, with a darker spot of any contrast.
    """
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, SIDE, SIDE, 3))
    skin = rng.uniform((150, 110, 100), (240, 190, 180), (32, 1, 1, 3))
    row, column = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    width = rng.uniform(3, 12, (32, 1, 1))
    spot = np.exp(-(row**2 + column**2) / (2 * width**2))[..., np.newaxis]
    darker = rng.uniform(0, 100, (32, 1, 1, 3))
    return np.concatenate([noise, skin - darker * spot]).astype(np.float32)


def _run_litert(network: bytes, images: NDArray[np.float32]) -> Any:
    import tensorflow as tf

    with warnings.catch_warnings():  # this name will move to LiteRT's package
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=network)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(wanted["index"])
