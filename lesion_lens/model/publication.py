"""The model's name, description, author and licence, for the metadata of exported files."""

from lesion_lens.model.decisions import CLASS_COUNTS

NAME = "Lesion Lens"
DESCRIPTION = (
    f"The most likely of HAM10000's {CLASS_COUNTS['all']} classes for a dermatoscopic image of a "
    "pigmented skin lesion. A study tool, not a diagnosis. Raw RGB values of 0-255 in, "
    f"{CLASS_COUNTS['all']} probabilities out."
)
AUTHOR = "The Skin-Cancer-Classification authors"
# The same terms as in LICENSE-MODEL.md.
LICENCE = (
    "CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/), non-commercial use only. "
    "Computed from HAM10000: Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a "
    "large collection of multi-source dermatoscopic images of common pigmented skin lesions. "
    "Scientific Data 5, 180161 (2018). https://doi.org/10.1038/sdata.2018.161"
)
