"""Draw docs/model_architecture.png from the model itself.

Each block is a layer. For layers with feature maps, the height shows their side and the width their
number; for the others, the height shows the number of units. All scales are logarithmic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lesion_lens import ROOT
from skin_cancer_detection import build_model

if TYPE_CHECKING:
    import keras

COLOURS = {
    "Input": "#e8eef0",
    "Conv2D": "#2a7f9e",
    "MaxPooling2D": "#e0a030",
    "BatchNormalization": "#8fb8a8",
    "Flatten": "#c9ced1",
    "Dropout": "#c9ced1",
    "Dense": "#8a5a9e",
}
THIN = {"BatchNormalization", "Dropout", "Flatten"}
GAP = 0.28


def blocks(model: keras.Sequential) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield kind, output shape and parameters of the input and of every layer."""
    yield "Input", model.input_shape[1:], 0
    for layer in model.layers:
        yield type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params()


def draw(model: keras.Sequential) -> Figure:
    """Draw the network from left to right."""
    figure = Figure(figsize=(16, 6.2), layout="constrained")
    axes = figure.subplots()
    x = 0.0
    for kind, shape, parameters in blocks(model):
        if len(shape) == 3:
            side, _, channels = shape
            height, width = 0.6 + np.log2(side), 0.15 * np.log2(channels + 1)
        else:
            height, width = 0.35 * np.log2(shape[0]), 0.35
        width = 0.22 if kind in THIN else width
        axes.add_patch(
            Rectangle((x, -height / 2), width, height, facecolor=COLOURS[kind], edgecolor="#333")
        )
        middle = x + width / 2
        axes.text(
            middle, height / 2 + 0.15, "×".join(map(str, shape)),
            rotation=90, ha="center", va="bottom", fontsize=9,
        )  # fmt: skip
        label = kind + (f"  {parameters:,}" if parameters else "")
        axes.text(middle, -3.1, label, rotation=90, ha="center", va="top", fontsize=9)
        x += width + GAP
    axes.set(xlim=(-0.3, x), ylim=(-6.9, 5), aspect="equal")
    axes.set_title(
        f"{model.count_params():,} parameters; above each layer its output, below its parameters"
    )
    axes.axis("off")
    return figure


if __name__ == "__main__":
    path = ROOT / "docs" / "model_architecture.png"
    draw(build_model()).savefig(path, dpi=110, bbox_inches="tight")
    print(f"Wrote {path.relative_to(ROOT)}")
