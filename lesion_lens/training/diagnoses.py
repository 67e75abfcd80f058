"""The names of diagnoses that tables and folders use, with the class of each.

The classes are those of HAM10000 as Tschandl, Rosendahl & Kittler define them (Scientific Data
5:180161, 2018): `akiec` is actinic keratosis and squamous cell carcinoma in situ, `bkl` seborrheic
keratosis, solar lentigo and lichen planus-like keratosis, `vasc` angioma, angiokeratoma, pyogenic
granuloma and haemorrhage, `mel` melanoma, including in situ. They do not mention metastases; the
challenge of 2019 counts them as melanoma, and so does this table. A name must match as a whole,
apart from capitals and blanks; nothing is guessed from parts of it.
"""

from collections.abc import Sequence

from skin_cancer_detection import CODES

# Class -> other names that the ISIC challenges, the ISIC archive and class folders have for it.
_NAMES: dict[str, tuple[str, ...]] = {
    "akiec": (
        "AK",  # of the challenge of 2019
        "actinic keratosis",
        "actinic keratoses",
        "actinic keratoses and intraepithelial carcinoma",
        "actinic keratoses and intraepithelial carcinomae",
        "solar or actinic keratosis",
        "squamous cell carcinoma in situ",
        "squamous cell carcinoma in situ, Bowens disease",
        "Bowen's disease",
        "Bowen disease",
    ),
    "bcc": ("basal cell carcinoma",),
    "bkl": (
        "BKL",
        "benign keratosis",
        "benign keratosis-like lesions",
        "lichen planus like keratosis",
        "lichenoid keratosis",
        "pigmented benign keratosis",
        "seborrheic keratosis",
        "seborrhoeic keratosis",
        "solar lentigo",
    ),
    "df": ("dermatofibroma",),
    "nv": (
        "nevus",
        "naevus",
        "melanocytic nevus",
        "melanocytic naevus",
        "melanocytic nevi",
        "melanocytic naevi",
        "blue nevus",
        "congenital nevus",
        "dysplastic nevus",
        "Spitz nevus",
    ),
    "vasc": (
        "angioma",
        "cherry angioma",
        "haemangioma",
        "haemorrhage",
        "hemangioma",
        "hemorrhage",
        "angiokeratoma",
        "pyogenic granuloma",
        "vascular lesion",
        "vascular lesions",
        "benign soft tissue proliferations - vascular",  # a `diagnosis_2`, where no `_3` says more
    ),
    "mel": (
        "lentigo maligna",
        "lentigo maligna melanoma",
        "melanoma",
        "nodular melanoma",
        "superficial spreading melanoma",
        "melanoma, NOS",
        "melanoma in situ",
        "melanoma invasive",
        "melanoma metastasis",
        "malignant melanocytic proliferations (melanoma)",  # a `diagnosis_2`
    ),
}

# Known names that belong to no class. A code or name of a class takes precedence.
_HOMELESS = (
    "SCC",  # of the challenge of 2019: squamous cell carcinoma, which is invasive there
    "UNK",  # of the same: none of the others
    *("BEN_OTH", "INF", "MAL_OTH", "SCCKA"),  # of the challenge of 2025
    "AIMP",
    "acrochordon",
    "angiofibroma",
    "angiofibroma or fibrous papule",
    "atypical intraepithelial melanocytic proliferation",
    "atypical melanocytic neoplasm",
    "atypical melanocytic proliferation",
    "atypical spitz tumor",
    "cafe-au-lait macule",
    "clear cell acanthoma",
    "fibroepithelial polyp",
    "hidradenoma",
    "ink-spot lentigo",
    "keratoacanthoma",
    "lentigo nos",
    "lentigo simplex",
    "mucosal melanotic macule",
    "neurofibroma",
    "other",
    "scar",
    "sebaceous hyperplasia",
    "squamous cell carcinoma",
    "squamous cell carcinoma, invasive",
    "squamous cell carcinoma, NOS",
    "trichilemmal or isthmic-catagen or pilar cyst",
    "unknown",
    "verruca",
)


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


_CLASS_OF: dict[str, str | None] = {
    **{_key(name): None for name in _HOMELESS},
    **{_key(name): code for code in CODES for name in _NAMES.get(code, ())},
    **{_key(code): code for code in CODES},
}
NO_HOME = -1  # the label of a diagnosis that belongs to no class


def label_of(name: str) -> int:
    """Return the label of a diagnosis, its place in `CODES`, or `NO_HOME`.

    Args:
        name: a code or another name in the table, in upper or lower case.
    """
    code = _CLASS_OF.get(_key(name))
    return NO_HOME if code is None else CODES.index(code)


def label_of_most_precise(names: Sequence[str]) -> tuple[str, int]:
    """Look up a diagnosis that is given in several columns, from coarse to fine.

    Args:
        names: such as those of the ISIC archive's columns `diagnosis_1`, `diagnosis_2`, …; the last
            are empty if nothing finer is known.

    Returns:
        The finest name that this table has, or else the finest of all, and its label. A still finer
        name is only a subtype of it, such as 'Nevus, Combined'.
    """
    given = [name.strip() for name in names if name.strip()]
    known = [name for name in given if _key(name) in _CLASS_OF]
    name = (known or given or [""])[-1]
    return name, label_of(name)
