"""The plots: their contents, read from the drawn lines, not from pixels."""

import io

import matplotlib.colors
import numpy as np
import pytest

from lesion_lens.training import plots
from lesion_lens.training.metrics import binary_auc, calibration_error, malignancy
from skin_cancer_detection import CODES
from tests.support.skipping import require


@pytest.fixture(scope="module")
def scored():
    """Labels (300,), and probabilities (300, 7) that depend on them."""
    rng = np.random.default_rng(0)
    classes = len(CODES)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=300 - classes)])
    probabilities = rng.dirichlet(np.full(classes, 0.5), size=300) + np.eye(classes)[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def drawn(figure):
    """Render a figure as training does and return its axes."""
    figure.savefig(io.BytesIO(), dpi=40)
    return figure.axes


def texts_of(legend):
    return [text.get_text() for text in legend.get_texts()]


def history(epochs, watched=()):
    rows = [{"loss": 2 / epoch} for epoch in range(1, epochs + 1)]
    for epoch in watched:
        rows[epoch - 1] |= {"held_out_log_loss": 3 / epoch, "held_out_macro_auc": 1 - 0.2 / epoch}
    return rows


def test_confusion_matrix_shows_counts_and_colours_shares():
    matrix = np.diag([2, 4, 6, 8, 10, 12, 14])
    matrix[0, 1] = 6
    axes = drawn(plots.draw_confusion_matrix(matrix))[0]
    assert [text.get_text() for text in axes.texts] == [str(count) for count in matrix.ravel()]
    shares = axes.images[0].get_array()
    assert shares[0, :2].tolist() == [0.25, 0.75]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == list(CODES)


def test_confusion_matrix_has_its_counts_where_their_colours_are():
    matrix = np.diag([2, 4, 6, 8, 10, 12, 14])
    matrix[0, 1] = 6
    axes = drawn(plots.draw_confusion_matrix(matrix))[0]
    image = axes.images[0]
    for text in axes.texts:
        column, row = text.get_position()
        assert text.get_text() == str(matrix[row, column])
        ground = image.cmap(image.norm(image.get_array()[row, column]))[:3]
        ink = matplotlib.colors.to_rgb(text.get_color())
        assert abs(np.mean(ground) - np.mean(ink)) > 0.4  # so it can be read


@pytest.mark.filterwarnings("error")
def test_confusion_matrix_may_lack_a_class():
    axes = drawn(plots.draw_confusion_matrix(np.diag([0, *[1] * (len(CODES) - 1)])))[0]
    assert (axes.images[0].get_array()[0] == 0).all()


def test_roc_curves_name_their_auc(scored):
    labels, probabilities = scored
    axes = drawn(plots.draw_roc_curves(labels, probabilities))[0]
    expected = [f"akiec, bcc and mel together: {binary_auc(*malignancy(*scored)):.3f}"]
    expected += [
        f"{code}: {binary_auc(labels == i, probabilities[:, i]):.3f}"
        for i, code in enumerate(CODES)
    ]
    assert texts_of(axes.get_legend()) == expected


def test_the_area_under_a_drawn_roc_curve_is_its_auc(scored):
    labels, probabilities = scored
    axes = drawn(plots.draw_roc_curves(labels, probabilities))[0]
    for i, code in enumerate(CODES):
        line = next(line for line in axes.lines if line.get_label().startswith(f"{code}:"))
        x, y = line.get_data()
        area = (np.diff(x) * (y[1:] + y[:-1]) / 2).sum()
        assert area == pytest.approx(binary_auc(labels == i, probabilities[:, i]))


def test_a_class_that_is_missing_has_no_roc_curve(scored):
    labels, probabilities = (array[scored[0] != 3] for array in scored)
    axes = drawn(plots.draw_roc_curves(labels, probabilities))[0]
    assert len(texts_of(axes.get_legend())) == len(CODES)
    assert not any(text.startswith("df") for text in texts_of(axes.get_legend()))


def test_reliability_by_hand():
    confidence = np.array([0.55, 0.59, 0.95, 0.97, 0.99])
    probabilities = np.column_stack([confidence, 1 - confidence])
    labels = np.array([0, 1, 0, 0, 0])
    top, bottom = drawn(plots.draw_reliability(labels, probabilities, "Made data"))
    points = top.containers[0].lines[0]
    assert points.get_xdata() == pytest.approx([0.57, 0.97])
    assert points.get_ydata() == pytest.approx([0.5, 1])
    middles = [bar.get_x() + bar.get_width() / 2 for bar in bottom.patches]
    assert middles == pytest.approx([8.5 / 15, 14.5 / 15])
    assert [bar.get_height() for bar in bottom.patches] == [2, 3]
    assert top.get_title().startswith("Made data\n")
    assert top.get_title().endswith(f"{calibration_error(labels, probabilities):.3f}")


def test_the_bars_of_reliability_are_clopper_and_pearsons_intervals():
    beta = require("scipy.stats").beta
    probabilities = np.tile([0.65, 0.35], (10, 1))
    top, _ = drawn(plots.draw_reliability(np.repeat([0, 1], [9, 1]), probabilities, ""))
    (bar,) = top.containers[0].lines[2][0].get_segments()
    expected = beta.ppf(0.025, 9, 2), beta.ppf(0.975, 10, 1)  # for 9 of 10 right
    assert bar[:, 1] == pytest.approx(expected)


def test_learning_curves_draw_scores_at_their_epochs():
    left, right = drawn(plots.draw_learning_curves({"network": history(20, (10, 20))}))
    training, held_out = (line.get_data() for line in left.lines)
    assert training[0].tolist() == list(range(1, 21))
    assert [list(values) for values in held_out] == [[10, 20], [0.3, 0.15]]
    assert [list(values) for values in right.lines[0].get_data()] == [[10, 20], [0.98, 0.99]]


def test_learning_curves_of_eleven_networks_can_be_told_apart():
    names = [f"network {i}" for i in range(11)]
    figure = plots.draw_learning_curves({name: history(10, (10,)) for name in names})
    drawn(figure)
    assert texts_of(figure.legends[0]) == names
    styles = {(line.get_color(), line.get_marker()) for line in figure.axes[1].lines}
    assert len(styles) == 11


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("epochs", [1, 3])
def test_learning_curves_need_no_held_out_images(epochs):
    left, right = drawn(plots.draw_learning_curves({"network": history(epochs)}))
    assert len(left.lines[0].get_xdata()) == epochs
    assert [text.get_text() for text in right.texts] == ["no held-out scores"]


def test_learning_curves_leave_out_a_score_that_is_none():
    rows = [{"loss": 1.0, "held_out_log_loss": 0.5, "held_out_macro_auc": None}]
    left, right = drawn(plots.draw_learning_curves({"network": rows}))
    assert list(left.lines[1].get_ydata()) == [0.5]
    assert not len(right.lines[0].get_xdata())
