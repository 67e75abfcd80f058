"""What Hugging Face reads at the top of the model card: YAML, with the scores as `model-index`."""

import json
from collections.abc import Mapping
from typing import Any

# Hugging Face's name of a metric, its name for readers, and ours.
METRICS = (
    ("accuracy", "Accuracy, eight views", "accuracy"),
    ("balanced_accuracy", "Balanced accuracy, eight views", "balanced_accuracy"),
    ("roc_auc", "Macro AUC, eight views", "macro_auc"),
)
DATASET = "ham10000"


def front_matter(metrics: Mapping[str, Any]) -> str:
    """Write the front matter of the card.

    Args:
        metrics: what metrics.json holds, in the form that the card demands.

    Returns:
        YAML between two lines `---`, with a line break at the end.
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
    # JSON is YAML, and its quotes leave nothing to be guessed.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in parts.items()]
    return "\n".join(["---", *lines, "---", ""])
