"""The near-duplicates of HAM10000: pairs of images of one lesion under two lesion ids.

The pairs are those that Abhishek, Jain & Hamarneh found and confirmed by eye: "Investigating the
Quality of DermaMNIST and Fitzpatrick17k Dermatological Image Datasets", Scientific Data 12:196
(2025), doi 10.1038/s41597-025-04382-5. Only image names are listed here, no image data.
"""

import numpy as np
from numpy.typing import NDArray

NEAR_DUPLICATES = (
    ("ISIC_0033481", "ISIC_0033421"),
    ("ISIC_0033556", "ISIC_0032634"),
    ("ISIC_0029152", "ISIC_0033173"),
    ("ISIC_0029036", "ISIC_0027027"),
    ("ISIC_0027820", "ISIC_0028209"),
    ("ISIC_0027689", "ISIC_0032647"),
    ("ISIC_0030906", "ISIC_0024879"),
    ("ISIC_0033391", "ISIC_0034186"),
    ("ISIC_0025226", "ISIC_0030074"),
    ("ISIC_0026087", "ISIC_0025664"),
    ("ISIC_0024736", "ISIC_0029748"),
    ("ISIC_0024770", "ISIC_0027811"),
    ("ISIC_0027162", "ISIC_0029061"),
    ("ISIC_0024602", "ISIC_0032283"),
    ("ISIC_0029625", "ISIC_0024629"),
    ("ISIC_0030000", "ISIC_0031392"),
    ("ISIC_0024437", "ISIC_0031299"),
    ("ISIC_0033374", "ISIC_0033417"),
)


_HAM10000 = range(24306, 34321)  # the numbers of its 10,015 images, without a gap


def is_of_ham10000(image_id: str) -> bool:
    """Whether an image is from HAM10000, judging by its name."""
    number = image_id.removeprefix("ISIC_")
    return len(image_id) == 12 and number.isdecimal() and int(number) in _HAM10000


def merge_near_duplicates(
    lesion_ids: NDArray[np.str_], image_ids: NDArray[np.str_], labels: NDArray[np.int64]
) -> NDArray[np.str_]:
    """Give the two lesions of each pair one id, so that the split keeps them together.

    A pair is left unchanged if one of its images is missing (in other data sets, both are) or if
    the two have different labels, because a lesion has one class.

    Args:
        lesion_ids: (N,), each lesion of one class.
        image_ids: (N,).
        labels: (N,), 0–6.

    Returns:
        (N,): the lesion ids; a merged pair has the alphabetically first of its two.
    """
    merged = lesion_ids.copy()
    row_of = {image_id: row for row, image_id in enumerate(image_ids.tolist())}
    for first, second in NEAR_DUPLICATES:
        if first not in row_of or second not in row_of:
            continue
        rows = [row_of[first], row_of[second]]
        if labels[rows[0]] == labels[rows[1]]:
            both = sorted(merged[rows].tolist())
            merged[np.isin(merged, both)] = both[0]
    return merged
