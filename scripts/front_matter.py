"""The model card's front matter for Hugging Face: YAML, with the scores as `model-index`."""

import json
from collections.abc import Mapping
from typing import Any

# Of each metric: Hugging Face's name, the name for readers, the key in metrics.json.
METRICS = (
    ("accuracy", "Accuracy, eight views", "accuracy"),
    ("balanced_accuracy", "Balanced accuracy, eight views", "balanced_accuracy"),
    ("roc_auc", "Macro AUC, eight views", "macro_auc"),
)
DATASET = "ham10000"


def front_matter(metrics: Mapping[str, Any]) -> str:
    """Write the front matter of the card.

    Args:
        metrics: the content of metrics.json, in the form that the card needs.

    Returns:
        YAML between two lines of `---`, ending in a line break.
    """
    scores = metrics["test"]["eight_views"]
    values = [
        {"type": kind, "name": name, "value": round(scores[ours]["value"], 4)}
        for kind, name, ours in METRICS
    ]
    dataset = {"name": "HAM10000, split by lesion", "type": DATASET, "split": "test"}
    task = {"type": "image-classification", "name": "Image classification"}
    parts: dict[str, Any] = {
        "license": "cc-by-nc-4.0",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "language": "en",
        "datasets": [DATASET],
        "tags": ["keras", "litert", "tflite", "medical", "dermatoscopy", "skin-lesions"],
        "metrics": [kind for kind, _, _ in METRICS],
        "model-index": [
            {
                "name": "Lesion Lens",
                "results": [{"task": task, "dataset": dataset, "metrics": values}],
            }
        ],
    }
    # JSON is valid YAML, and its quotes keep YAML from guessing types.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in parts.items()]
    return "\n".join(["---", *lines, "---", ""])
