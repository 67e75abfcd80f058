"""Who made the model and what may be done with it, as an exported file says it of itself."""

NAME = "Lesion Lens"
DESCRIPTION = (
    "The most likely of HAM10000's seven classes for a dermatoscopic image of a pigmented skin "
    "lesion. A study tool, not a diagnosis. Raw RGB values of 0-255 in, seven probabilities out."
)
AUTHOR = "The Skin-Cancer-Classification authors"
# As LICENSE-MODEL.md says it.
LICENCE = (
    "CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/), non-commercial use only. "
    "Computed from HAM10000: Tschandl, P., Rosendahl, C. & Kittler, H. The HAM10000 dataset, a "
    "large collection of multi-source dermatoscopic images of common pigmented skin lesions. "
    "Scientific Data 5, 180161 (2018). https://doi.org/10.1038/sdata.2018.161"
)
