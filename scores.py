"""Scores of probabilities against true labels, as pure functions under the field's names.

scikit-learn has them all, but with SciPy it would take the installation over the limit of
scripts/slug_size.py; the tests hold these few lines against it instead.
"""

import numpy as np
import pandas as pd


def confusion_matrix(labels, predicted, classes):
    """Count the images of each true class (row) that were given each class (column).

    Args:
        labels, predicted: int (N,), 0 to classes - 1.
        classes: their number.

    Returns:
        int64 (classes, classes).
    """
    cells = np.bincount(labels * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def binary_auc(is_positive, score):
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    By the rank-sum identity of Hanley & McNeil, Radiology 143:29–36 (1982).

    Args:
        is_positive: bool (N,), with at least one of each.
        score: float (N,), higher for positives.
    """
    ranks = pd.Series(score).rank().to_numpy()  # ties share their average rank
    positives = is_positive.sum()
    negatives = len(is_positive) - positives
    return float(
        (ranks[is_positive].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


def evaluate(labels, probabilities, codes):
    """Score probabilities, the most probable class being the prediction.

    Args:
        labels: int (N,), 0–6; every class must be there.
        probabilities: float (N, 7).
        codes: the seven classes' names, in their order.

    Returns:
        dict that JSON can hold: `images`, `accuracy`, `balanced_accuracy` (the mean of the
        sensitivities), `macro_auc` (the mean of one-against-the-rest AUCs), `per_class` with
        `sensitivity`, `specificity`, `precision` (None where the class was never predicted),
        `auc` and `images`, and `confusion_matrix` (rows true, columns predicted).
    """
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(codes))
    total, hits = matrix.sum(), np.diag(matrix)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    sensitivity = hits / true
    specificity = (total - true - predicted + hits) / (total - true)
    aucs = [binary_auc(labels == label, probabilities[:, label]) for label in range(len(codes))]
    return {
        "images": int(total),
        "accuracy": float(hits.sum() / total),
        "balanced_accuracy": float(sensitivity.mean()),
        "macro_auc": float(np.mean(aucs)),
        "per_class": {
            code: {
                "images": int(true[i]),
                "sensitivity": float(sensitivity[i]),
                "specificity": float(specificity[i]),
                "precision": float(hits[i] / predicted[i]) if predicted[i] else None,
                "auc": aucs[i],
            }
            for i, code in enumerate(codes)
        },
        "confusion_matrix": matrix.tolist(),
    }
