"""What runs the network where it is served: Keras on TensorFlow, or LiteRT.

An engine is called with uint8 (N, 28, 28, 3), RGB, 0–255, and returns float32 (N, 7), each row
summing to 1. Several threads may call it at once.
"""

import contextlib
import os
import queue
import sys

import numpy as np

from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.files import check_model_file, is_litert, load_model, read_network, remedy_of
from lesion_lens.model.views import predict
from skin_cancer_detection import CLASSES, SIDE

# Each interpreter works on one thread and has memory of its own, so there are as many as images are
# decoded at once, for each size of batch.
INTERPRETERS = 2
# Keras imports them where they are installed, for features that serving has no use for: without
# them it starts in about three quarters of the time, with 60 MB less.
_UNUSED_BY_KERAS = ("IPython", "matplotlib", "pandas", "scipy", "sklearn")


def load_engine(path):
    """Load a model file, ready to answer: by LiteRT if it is a `.tflite`, else by Keras.

    Args:
        path: the file.

    Returns:
        LiteRTEngine or KerasEngine, which has answered once with a map and once without.

    Raises:
        ModelFileError: the file breaks the contract or cannot be loaded, or its engine is not
            installed.
    """
    check_model_file(path)
    if is_litert(path):
        engine = LiteRTEngine(path)
    else:
        # Requests work side by side already; threads within one would only wait for each other.
        # TensorFlow reads both when it is first imported.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
        with hidden(_UNUSED_BY_KERAS):
            engine = KerasEngine(load_model(path))
    try:
        for with_map in (True, False):
            probabilities = predict(engine, np.zeros((SIDE, SIDE, 3), np.uint8), with_map).views
    except Exception as error:  # whatever an engine raises on a network that is not ours
        raise ModelFileError(f"{path} cannot be run: {remedy_of(path)}") from error
    if probabilities.shape != (8, len(CLASSES)) or not np.allclose(
        probabilities.sum(1), 1, 0, 1e-3
    ):
        raise ModelFileError(f"{path} does not give seven probabilities: {remedy_of(path)}")
    return engine


class KerasEngine:
    """A Keras model as one compiled call for every number of images.

    `predict` builds a data pipeline for each call, and a call of the model itself runs it layer by
    layer.
    """

    def __init__(self, model):
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.uint8)])
        def run(images):
            return model(tf.cast(images, tf.float32), training=False)

        # Called itself, it need not be looked for among the functions of other signatures.
        self._run = run.get_concrete_function()
        self._to_tensor = tf.constant

    def __call__(self, images):
        return self._run(self._to_tensor(images)).numpy()


class LiteRTEngine:
    """A `.tflite` in LiteRT's interpreters, one for each size of batch and thread at work.

    Raises:
        ModelFileError: LiteRT is not installed, or cannot load the file.
    """

    def __init__(self, path):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelFileError(
                f"{path} needs LiteRT, which is not installed: pip install -r "
                "requirements-slim.txt, or set MODEL_PATH to a .h5 file."
            ) from error
        network = read_network(path)
        self._make = lambda: Interpreter(model_content=network, num_threads=1)
        self._idle = queue.LifoQueue()  # the one that was used last has its memory at hand
        for _ in range(INTERPRETERS):
            self._idle.put({})

    def __call__(self, images):
        interpreters = self._idle.get()
        try:
            interpreter = interpreters.get(len(images))
            if interpreter is None:
                interpreter = self._make()
                (given,) = interpreter.get_input_details()
                interpreter.resize_tensor_input(given["index"], images.shape)
                interpreter.allocate_tensors()
                interpreters[len(images)] = interpreter  # now that nothing about it can fail
            (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
            interpreter.set_tensor(given["index"], images.astype(np.float32))
            interpreter.invoke()
            return interpreter.get_tensor(wanted["index"])
        finally:
            self._idle.put(interpreters)


@contextlib.contextmanager
def hidden(names):
    """Make optional packages look as if they were not installed, unless they are in use already."""
    unused = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unused))
    try:
        yield
    finally:
        for name in unused:
            del sys.modules[name]
