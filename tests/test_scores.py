"""The metrics, on lists that can be worked out by hand and against scikit-learn."""

import numpy as np
import pytest
from conftest import require

from scores import binary_auc, confusion_matrix, evaluate


def test_confusion_matrix_has_the_truth_in_its_rows():
    matrix = confusion_matrix(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert matrix.tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize(
    ("positive", "score", "auc"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0),
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], 0.75),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
    ],
)
def test_binary_auc(positive, score, auc):
    assert binary_auc(np.array(positive, bool), np.array(score)) == auc


def test_evaluate_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    scores = evaluate(np.array([0, 0, 0, 1]), probabilities, ("benign", "malignant"))
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["macro_auc"] == 1
    malignant = scores["per_class"]["malignant"]
    assert malignant["sensitivity"] == 1
    assert malignant["specificity"] == pytest.approx(2 / 3)
    assert malignant["precision"] == 0.5


def test_precision_of_a_class_never_predicted_is_none():
    scores = evaluate(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ("a", "b"))
    assert scores["per_class"]["b"]["precision"] is None


def test_scikit_learn_agrees():
    metrics = require("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(7), rng.integers(7, size=500)])
    probabilities = rng.dirichlet(np.ones(7), size=len(labels)).round(2) + 1e-3  # with ties
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    scores = evaluate(labels, probabilities, tuple("abcdefg"))
    assert scores["confusion_matrix"] == metrics.confusion_matrix(labels, predicted).tolist()
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(labels, predicted)
    )
    assert scores["macro_auc"] == pytest.approx(
        metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    )
    precision, sensitivity, _, images = metrics.precision_recall_fscore_support(labels, predicted)
    for i, row in enumerate(scores["per_class"].values()):
        assert row["precision"] == pytest.approx(precision[i])
        assert row["sensitivity"] == pytest.approx(sensitivity[i])
        assert row["images"] == images[i]
