"""Made data sets in the form of HAM10000."""

import numpy as np

from lesion_lens.training.data import CSV_NAMES, METADATA_NAME, Dataset
from skin_cancer_detection import CODES, SIDE


def made_images(lesions_per_class=6, images_per_lesion=2, seed=0):
    """Make a `Dataset` of pictures with a different colour for each class."""
    rng = np.random.default_rng(seed)
    colours = np.linspace(30, 220, len(CODES))
    labels = np.repeat(np.arange(len(CODES)), lesions_per_class * images_per_lesion)
    noise = rng.normal(0, 8, (len(labels), SIDE, SIDE, 3))
    tint = np.stack([colours[labels], 255 - colours[labels], np.full(len(labels), 90.0)], axis=1)
    pixels = np.clip(tint[:, None, None, :] + noise, 0, 255).astype(np.uint8)
    lesion_ids = np.array([f"HAM_{row // images_per_lesion:07}" for row in range(len(labels))])
    return Dataset(pixels, labels, lesion_ids)


def write_csv(data, folder):
    """Write a data set as Kaggle's two files and return their paths."""
    csv_path, metadata_path = folder / CSV_NAMES[0], folder / METADATA_NAME
    header = ",".join([f"pixel{i:04d}" for i in range(SIDE * SIDE * 3)] + ["label"])
    table = np.column_stack([data.pixels.reshape(len(data.labels), -1), data.labels])
    np.savetxt(csv_path, table, fmt="%d", delimiter=",", header=header, comments="")
    rows = [
        f"{lesion_id},ISIC_{row:07},{CODES[label]}"
        for row, (lesion_id, label) in enumerate(zip(data.lesion_ids, data.labels, strict=True))
    ]
    metadata_path.write_text("\n".join(["lesion_id,image_id,dx", *rows]) + "\n")
    return csv_path, metadata_path
