"""The engines that run the network in the app: Keras or LiteRT.

An engine is a function from uint8 (N, 28, 28, 3), RGB, 0–255, to float32 (N, 7), each row summing
to 1. Several threads may call it at once.
"""

import os
import queue
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.backends import compiled
from lesion_lens.model.decisions import CLASS_COUNTS
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.files import check_model_file, load_model
from lesion_lens.model.hidden_modules import hidden_from_keras
from lesion_lens.model.keras_files import not_finite
from lesion_lens.model.litert_files import read_network
from lesion_lens.model.model_path import is_litert, remedy_of
from lesion_lens.model.views import Engine, predict
from skin_cancer_detection import CLASSES, SIDE

if TYPE_CHECKING:
    import keras

# Each interpreter uses one thread, and has separate memory for each batch size. On two cores, more
# than two at once would be no faster.
INTERPRETERS = 2


def load_engine(path: str | Path) -> Engine:
    """Load a model file: into LiteRT if it is a `.tflite`, otherwise into Keras.

    Returns:
        An engine that has already run once with an occlusion map and once without.

    Raises:
        ModelFileError: the file is invalid or cannot be loaded, or its engine is not installed.
    """
    check_model_file(path)
    if is_litert(path):
        engine: Engine = LiteRTEngine(path)
    else:
        # Requests already run in parallel, so threads within a request would only wait for each
        # other. TensorFlow reads both variables when it is first imported.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
        with hidden_from_keras():
            engine = KerasEngine(load_model(path))
    # Noise and white: if weights are finite but far too large, these give infinite numbers.
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    try:
        for pixels, with_map in ((noise, True), (np.full_like(noise, 255), False)):
            probabilities = predict(engine, pixels, with_map).views
    except ModelFileError as error:
        raise ModelFileError(f"{path} gives NaN or infinite numbers: {remedy_of(path)}") from error
    except Exception as error:  # whatever an engine raises on a network that is not ours
        raise ModelFileError(f"{path} cannot be run: {remedy_of(path)}") from error
    if probabilities.shape != (8, len(CLASSES)) or not np.allclose(
        probabilities.sum(1), 1, 0, 1e-3
    ):
        wanted = f"{CLASS_COUNTS['all']} probabilities"
        raise ModelFileError(f"{path} does not give {wanted}: {remedy_of(path)}")
    return engine


class KerasEngine:
    """A Keras model, compiled into one function.

    Raises:
        SettingError: see `chosen_backend`.
    """

    def __init__(self, model: "keras.Model") -> None:
        self._run = compiled(model)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._run(images)


class LiteRTEngine:
    """A `.tflite` in LiteRT's interpreters, one for each batch size and concurrent call.

    Raises:
        ModelFileError: LiteRT is not installed, or cannot load the file.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelFileError(
                f"{path} needs LiteRT, which is not installed: pip install -r "
                "requirements-slim.txt, or set MODEL_PATH to a .h5 file."
            ) from error
        network = read_network(path)
        self._make = lambda: Interpreter(model_content=network, num_threads=1)
        try:
            is_finite = _has_finite_weights(self._make())
        except Exception as error:  # whatever LiteRT raises on a network that is not ours
            raise ModelFileError(f"{path} cannot be run: {remedy_of(path)}") from error
        if not is_finite:
            raise ModelFileError(not_finite(path))
        # The most recently used interpreters come first: their memory is still in the cache.
        self._idle: queue.LifoQueue[dict[int, Any]] = queue.LifoQueue()
        for _ in range(INTERPRETERS):
            self._idle.put({})

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreters = self._idle.get()
        try:
            interpreter = interpreters.get(len(images))
            if interpreter is None:
                interpreter = self._make()
                (given,) = interpreter.get_input_details()
                interpreter.resize_tensor_input(given["index"], images.shape)
                interpreter.allocate_tensors()
                interpreters[len(images)] = interpreter  # only now: the lines above may fail
            (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
            interpreter.set_tensor(given["index"], images.astype(np.float32))
            interpreter.invoke()
            probabilities: NDArray[np.float32] = interpreter.get_tensor(wanted["index"])
            return probabilities
        finally:
            self._idle.put(interpreters)


def _has_finite_weights(interpreter: Any) -> bool:
    """Whether all constants of a network are finite. Call this before allocating tensors."""
    for tensor in interpreter.get_tensor_details():
        if not np.issubdtype(tensor["dtype"], np.floating):
            continue
        try:
            values = interpreter.get_tensor(tensor["index"])
        except ValueError:  # not a constant, so it has no memory yet
            continue
        if not np.isfinite(values).all():
            return False
    return True
