"""The plots of training: confusion matrix, ROC curves, reliability and learning curves.

The `draw_…` functions return a `matplotlib.figure.Figure` and write no files. The colours are Okabe
& Ito's, which colour-blind people can tell apart; line styles and markers do the same in grey.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from lesion_lens.model.decisions import MALIGNANT_CODES
from lesion_lens.model.wording import series
from lesion_lens.training.metrics import (
    BINS,
    binary_auc,
    calibration_error,
    malignancy,
    reliability,
    roc_counts,
)
from lesion_lens.training.progress import History
from skin_cancer_detection import CODES

Style: TypeAlias = dict[str, Any]  # keyword arguments of matplotlib

# Grey replaces Okabe & Ito's yellow, which is too pale for a line on white. Grey is for nv; mel has
# the strongest colour and the solid line.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#7F7F7F", "#CC79A7", "#D55E00")
LINE_STYLES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (2, 1)), (0, (8, 2)), "-")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DIAGONAL: Style = {"color": "black", "linewidth": 0.8, "linestyle": (0, (2, 4)), "zorder": 1}


def draw_confusion_matrix(matrix: ArrayLike) -> Figure:
    """Draw a confusion matrix: colours show shares of the true class, numbers count images.

    Args:
        matrix: int (7, 7), rows true, columns predicted; a row may be all 0.
    """
    matrix = np.asarray(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(CODES)), CODES)
    axes.set_yticks(range(len(CODES)), CODES)
    axes.set(xlabel="most likely class", ylabel="true class")
    axes.spines[:].set_visible(False)
    colours = figure.colorbar(image, label="share of the true class")
    colours.outline.set_visible(False)
    return figure


def draw_roc_curves(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Figure:
    """Draw the ROC curve of each class against the rest, and of malignant against benign.

    Args:
        labels: (N,), 0–6; a class has no curve if it has no images, or all of them.
        probabilities: (N, 7).
    """
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    axes = figure.subplots()

    def draw_curve(
        name: str, is_positive: NDArray[np.bool_], score: NDArray[np.floating], style: Style
    ) -> None:
        false, true = roc_counts(is_positive, score)
        if false[-1] and true[-1]:
            auc = binary_auc(is_positive, score)
            axes.plot(false / false[-1], true / true[-1], label=f"{name}: {auc:.3f}", **style)

    is_malignant, risk = malignancy(labels, probabilities)
    emphasis = {"color": "black", "linewidth": 3.5}
    draw_curve(f"{series(MALIGNANT_CODES)} together", is_malignant, risk, emphasis)
    for i, code in enumerate(CODES):
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": _shifted(LINE_STYLES, i)}
        draw_curve(code, labels == i, probabilities[:, i], style)
    axes.plot([0, 1], [0, 1], **DIAGONAL)
    axes.set(
        xlabel="1 − specificity",
        ylabel="sensitivity",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        aspect="equal",
        title="ROC curves, each class against the rest",
    )
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:  # none if all images are of one class
        axes.legend(title="area under the curve", loc="lower right", handlelength=4, framealpha=1)
    return figure


def draw_reliability(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], title: str
) -> Figure:
    """Draw the accuracy against the confidence, bin by bin, and the number of images in each.

    Perfect calibration lies on the diagonal. The bars are the 95 % intervals of
    `metrics.reliability`.

    Args:
        labels: (N,), 0–6.
        probabilities: (N, 7).
        title: what the probabilities come from; the expected calibration error is added.
    """
    points = reliability(labels, probabilities)
    accuracy = np.array(
        [[point["accuracy"][k] for k in ("value", "low", "high")] for point in points]
    )
    value, low, high = accuracy.T
    error = calibration_error(labels, probabilities)

    figure = Figure(figsize=(5.2, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.plot([0, 1], [0, 1], label="perfect calibration", **DIAGONAL)
    top.errorbar(
        [point["confidence"] for point in points],
        value,
        (value - low, high - value),
        fmt="o",
        color="#0072B2",
        capsize=3,
        label="images of one bin, 95 % interval",
    )
    top.set(
        ylabel="accuracy",
        ylim=(-0.02, 1.02),
        title=f"{title}\nexpected calibration error {error:.3f}",
    )
    top.legend(loc="lower right")
    bottom.bar(
        [(point["above"] + point["up_to"]) / 2 for point in points],
        [point["images"] for point in points],
        0.9 / BINS,
        color="#56B4E9",
    )
    bottom.set(xlabel="confidence: probability of the most likely class", ylabel="images")
    bottom.set_xlim(-0.02, 1.02)
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    figure.align_ylabels()
    return figure


def draw_learning_curves(histories: dict[str, History]) -> Figure:
    """Draw the loss of each network by epoch, and its scores on held-out images, if any.

    Args:
        histories: name -> history of each network; a score of None is not drawn. The last network,
            which is the final one, is drawn in black.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    networks = []
    for i, (name, history) in enumerate(histories.items()):
        colour, marker = COLOURS[i % len(COLOURS)], _shifted(MARKERS, i)
        style: Style = {"color": colour, "marker": marker, "linewidth": 1}
        if i == len(histories) - 1:
            style = {"color": "black", "marker": "o", "linewidth": 2}
        held_out: Style = {**style, "linestyle": "--", "markersize": 4}
        losses = _points(history, "loss")
        left.plot(*losses, **{**style, "marker": "." if len(history) == 1 else None})
        left.plot(*_points(history, "held_out_log_loss"), **held_out)
        right.plot(*_points(history, "held_out_macro_auc"), **held_out)
        networks.append(Line2D([], [], label=name, **style))
    left.set(xlabel="epoch", ylabel="loss", title="Training loss and held-out log loss")
    right.set(xlabel="epoch", ylabel="macro AUC", title="Held-out macro AUC")
    kinds: dict[str, Style] = {
        "training": {"linestyle": "-"},
        "held out": {"linestyle": "--", "marker": "o"},
    }
    left.legend(handles=[Line2D([], [], color="black", label=k, **v) for k, v in kinds.items()])
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.set_xlim(0, max(map(len, histories.values())) + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if not any(len(line.get_xdata()) for line in right.lines):
        right.text(0.5, 0.5, "no held-out scores", ha="center", transform=right.transAxes)
        right.set_yticks([])
    figure.legend(handles=networks, loc="outside right upper")
    return figure


def _shifted(styles: Sequence[Any], i: int) -> Any:
    """Return the i-th style, advanced by one each time the colours start again."""
    return styles[(i + i // len(COLOURS)) % len(styles)]


def _points(history: History, name: str) -> tuple[list[int], list[float]]:
    """Return the epochs (from 1) that have a value of this name, and the values."""
    values = {epoch: row.get(name) for epoch, row in enumerate(history, 1)}
    points = {epoch: value for epoch, value in values.items() if value is not None}
    return list(points), list(points.values())
