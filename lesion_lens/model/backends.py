"""The backend that Keras computes with: TensorFlow, or the one in `KERAS_BACKEND`.

Keras reads that variable when it is first imported. If it is not set, `skin_cancer_detection.py`
sets it to TensorFlow.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.errors import SettingError
from skin_cancer_detection import SIDE

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# For each backend: its display name and the command that installs it.
BACKENDS = {
    "tensorflow": ("TensorFlow", "pip install -r requirements.txt"),
    "jax": ("JAX", "pip install jax"),
    "torch": ("PyTorch", "pip install torch"),
}


def chosen_backend() -> str:
    """The backend that Keras runs on, or will run on: a key of `BACKENDS`.

    Raises:
        SettingError: `KERAS_BACKEND` names one that is not supported or not installed.
    """
    name = os.environ["KERAS_BACKEND"]
    others = ", ".join(BACKENDS)
    if name not in BACKENDS:
        raise SettingError(
            f"KERAS_BACKEND is {name!r}, but must be one of {others}: set it to one of them, "
            "or unset it."
        )
    if find_spec(name) is None:
        title, command = BACKENDS[name]
        raise SettingError(
            f"Keras would run on {title}, which is not installed: {command}, or set KERAS_BACKEND "
            f"to one of {others} that is installed."
        )
    return name


def backend_version() -> dict[str, str]:
    """The backend's name and version.

    The version comes from the module because TensorFlow's package has different names on
    different machines.

    Raises:
        SettingError: see `chosen_backend`.
    """
    name = chosen_backend()
    return {name: str(importlib.import_module(name).__version__)}


def compiled(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Compile a model into one function that takes any number of images.

    `predict` would build a data pipeline for each call, and calling the model itself would run it
    layer by layer. For PyTorch, the model is called as it is.

    Args:
        model: takes raw pixels. Its weights must not change afterwards.

    Returns:
        A function from uint8 (N, 28, 28, 3), RGB, 0–255, to float32 (N, 7), each row summing to 1.
        Several threads may call it at once.

    Raises:
        SettingError: see `chosen_backend`.
    """
    return _COMPILED[chosen_backend()](model)


def _with_tensorflow(
    model: keras.Model,
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.uint8)])
    def run(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    # Calling the concrete function skips the signature lookup.
    concrete = run.get_concrete_function()
    return lambda images: concrete(tf.constant(images)).numpy()


def _with_jax(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    import jax

    weights = [[variable.value for variable in model.trainable_variables]]
    weights.append([variable.value for variable in model.non_trainable_variables])

    @jax.jit
    def run(images: jax.Array) -> jax.Array:
        probabilities, _ = model.stateless_call(*weights, images.astype("float32"), training=False)
        return probabilities

    return lambda images: np.asarray(run(images))


def _with_torch(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    import keras
    import torch

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            probabilities = model(images.astype(np.float32), training=False)
        return keras.ops.convert_to_numpy(probabilities)

    return run


_COMPILED = {"tensorflow": _with_tensorflow, "jax": _with_jax, "torch": _with_torch}
