"""An epoch of training on TensorFlow, JAX or PyTorch.

`fitting` defines what an epoch does, in terms of Keras alone. This module does what Keras leaves to
its backends: compiling, gradients and reproducibility.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.backends import chosen_backend

if TYPE_CHECKING:
    import jax
    import keras
    import tensorflow as tf
    import torch


@dataclass(frozen=True)
class Step:
    """One training step in three parts, all written with `keras.ops`.

    Attributes:
        prepare: turns the arrays of a batch into the arguments of `loss`, without gradients.
        loss: runs the network on them and returns the loss, a scalar.
        update: takes the gradients, one for each trained variable, and assigns new values.
        trained: the variables that have a gradient.
        variables: every variable that `loss` or `update` changes.
    """

    prepare: Callable[..., tuple[Any, ...]]
    loss: Callable[..., Any]
    update: Callable[[Sequence[Any]], None]
    trained: Sequence[keras.Variable]
    variables: Sequence[keras.Variable]


def make_reproducible(seed: int) -> None:
    """Make all random numbers from now on depend on the seed alone.

    On TensorFlow, operations are also made deterministic, on a GPU too. Keras then compiles nothing
    with XLA, which has no deterministic gradient of the pooling on a GPU.
    """
    backend = chosen_backend()  # before Keras, whose own error message is unhelpful
    import keras

    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def begin_epoch(seed: int, epoch: int) -> None:
    """Make a resumed training drop the same units as an uninterrupted one.

    On TensorFlow and JAX, Keras keeps the dropout's state in variables, which the checkpoint holds.
    On PyTorch it draws from PyTorch's own generator, so each epoch gets its own seed.
    """
    if chosen_backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.default_rng([seed, epoch]).integers(2**63)))


def use_one_thread() -> None:
    """Compute on one thread, so that networks can be fitted side by side.

    On JAX this does nothing: JAX has set its number of threads by now, and shares the cores itself.
    """
    backend = chosen_backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    elif backend == "torch":
        import torch

        torch.set_num_threads(1)


def compile_epoch(step: Step) -> Callable[..., float]:
    """Compile one pass over the arrays of an `Epoch`; the pass returns the mean loss."""
    return _COMPILED[chosen_backend()](step)


def _with_tensorflow(step: Step) -> Callable[..., float]:
    """Compile a whole epoch into one call: a call for each batch would double the time."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def run(*arrays: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for place in tf.range(len(arrays[0])):
            examples = step.prepare(*[array[place] for array in arrays])
            with tf.GradientTape() as tape:
                loss = step.loss(*examples)
            step.update(tape.gradient(loss, step.trained))
            total += loss
        return total / tf.cast(len(arrays[0]), tf.float32)

    return lambda *arrays: float(run(*map(tf.constant, arrays)))


def _with_jax(step: Step) -> Callable[..., float]:
    """JAX functions are pure: each part takes the values of all variables and returns them."""
    import jax
    import keras

    trained = {id(variable) for variable in step.trained}
    places = [place for place, one in enumerate(step.variables) if id(one) in trained]

    def call(part: Callable[..., Any], values: Sequence[jax.Array], *given: Any) -> Any:
        mapping = zip(step.variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)) as scope:
            result = part(*given)
        after = [
            value if (new := scope.get_current_value(variable)) is None else new
            for variable, value in zip(step.variables, values, strict=True)
        ]
        return result, after

    @jax.jit
    def run(values: list[jax.Array], *arrays: jax.Array) -> Any:
        examples, values = call(step.prepare, values, *arrays)

        def loss_of(weights: list[jax.Array]) -> Any:
            changed = list(values)
            for place, weight in zip(places, weights, strict=True):
                changed[place] = weight
            return call(step.loss, changed, *examples)

        weights = [values[place] for place in places]
        (loss, values), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        _, values = call(step.update, values, gradients)
        return loss, values

    def run_epoch(*arrays: NDArray[Any]) -> float:
        values = [variable.value for variable in step.variables]
        losses = []
        for batch in zip(*arrays, strict=True):
            loss, values = run(values, *batch)
            losses.append(loss)
        for variable, value in zip(step.variables, values, strict=True):
            variable.assign(value)
        return float(np.mean(losses))

    return run_epoch


def _with_torch(step: Step) -> Callable[..., float]:
    import keras
    import torch

    def run_epoch(*arrays: NDArray[Any]) -> float:
        losses: list[torch.Tensor] = []
        for batch in zip(*map(keras.ops.convert_to_tensor, arrays), strict=True):
            with torch.no_grad():
                examples = step.prepare(*batch)
            loss = step.loss(*examples)
            gradients = torch.autograd.grad(loss, [variable.value for variable in step.trained])
            with torch.no_grad():
                step.update(gradients)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run_epoch


_COMPILED = {"tensorflow": _with_tensorflow, "jax": _with_jax, "torch": _with_torch}
