"""The seven classes, the preprocessing and the network: the core of the project.

The web app and the training build on this file; it imports nothing from them. Keras is imported
only when a network is built, so importing this module is cheap.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import keras

# Keras and its backends read these when Keras is first imported. The first silences TensorFlow's
# messages about its graphs (not those about the processor, which it prints before reading this).
# The next two keep TensorFlow and JAX from taking all of a GPU's memory at once, because several
# processes share it: networks that are fitted side by side, or the workers of a server. The last
# keeps the user's ~/.keras/keras.json from choosing another backend.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"


# --- The classes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class LesionClass:
    """One class, and everything that is said about it, in plain words."""

    code: str  # as in the `dx` column of HAM10000's metadata
    name: str
    risk: str  # "malignant", "pre-malignant" or "benign"
    description: str
    next_steps: str  # what usually happens with such a spot
    sources: tuple[str, ...]  # DermNet's pages on which both texts are based


# In the order of the labels 0–6 in Kaggle's hmnist_28_28_RGB.csv, which is also that of the model's
# seven outputs. What each class includes is from Tschandl et al., Sci Data 5:180161 (2018).
CLASSES = (
    LesionClass(
        "akiec",
        "Actinic keratosis or Bowen’s disease",
        "pre-malignant",
        "Rough, scaly patches on skin that has had a lot of sun (actinic keratosis), or a very "
        "early cancer that is only in the top layer of the skin (Bowen’s disease). Most stay the "
        "same for years, but some turn into a skin cancer that grows deeper.",
        "A doctor looks at it and may take a small piece to have it checked. Most often it is "
        "frozen off, or treated with a cream or with light. This works well.",
        ("actinic-keratosis", "intraepidermal-squamous-cell-carcinoma"),
    ),
    LesionClass(
        "bcc",
        "Basal cell carcinoma",
        "malignant",
        "The most common skin cancer. It grows slowly and hardly ever spreads to other parts of "
        "the body. Untreated, it keeps growing and harms the skin around it.",
        "A doctor looks at it and often takes a small piece to have it checked. In most cases it "
        "is then cut out, and that nearly always cures it. It is not an emergency, but do not "
        "put it off.",
        ("basal-cell-carcinoma",),
    ),
    LesionClass(
        "bkl",
        "Benign keratosis (seborrhoeic keratosis, solar lentigo)",
        "benign",
        "Harmless thick or dark spots that come with age and sun: warty growths that look stuck "
        "on, flat age spots, or such spots when they fade. Some look like a melanoma, even to a "
        "doctor.",
        "Most need no treatment. If one looks odd, a doctor may take a small piece to make sure. "
        "It can be removed if it rubs or itches.",
        ("seborrhoeic-keratosis", "solar-lentigo", "lichenoid-keratosis"),
    ),
    LesionClass(
        "df",
        "Dermatofibroma",
        "benign",
        "A small, firm, harmless lump in the skin, most often on the legs. It may come after an "
        "insect bite or a scratch, and can stay for years.",
        "Most need no treatment. A doctor can often tell by the feel of it. If there is any doubt, "
        "it is cut out and checked.",
        ("dermatofibroma",),
    ),
    LesionClass(
        "nv",
        "Melanocytic naevus (mole)",
        "benign",
        "An ordinary mole: a harmless group of the cells that give skin its colour. Almost "
        "everybody has some.",
        "Most need no treatment, but watch them. If a mole is new in later life, or changes, show "
        "it to a doctor. The doctor may compare pictures over some months, or cut it out to make "
        "sure.",
        ("melanocytic-naevus",),
    ),
    LesionClass(
        "vasc",
        "Vascular lesion (angioma, bleeding under the skin)",
        "benign",
        "Red, purple or black spots made of small blood vessels, or of blood under the skin. Most "
        "are harmless, but a melanoma can look the same.",
        "Most need no treatment. If one is new, grows fast or bleeds, show it to a doctor soon. It "
        "can be removed if it is in the way.",
        ("cherry-angioma", "angiokeratoma", "pyogenic-granuloma"),
    ),
    LesionClass(
        "mel",
        "Melanoma",
        "malignant",
        "A cancer of the cells that give skin its colour. It is the most dangerous of the common "
        "skin cancers, because it can spread. Found early, it is nearly always cured.",
        "A doctor should look at it soon. If the doctor is worried too, the whole spot is cut out "
        "and checked under a microscope. What happens next depends on how deep it has grown.",
        ("melanoma",),
    ),
)
CODES = tuple(lesion_class.code for lesion_class in CLASSES)


# --- The preprocessing -----------------------------------------------------------------------

SIDE = 28  # pixels; the network sees SIDE × SIDE × 3
# Up to this many pixels the reduction is exact; HAM10000's images have 270,000. Larger images are
# first reduced by whole factors, to no less than `REDUCING_GAP` times `SIDE`. In
# tests/test_large_images.py this moves no probability by more than 0.01.
EXACT_PIXELS = 2_000_000
REDUCING_GAP = 16


def preprocess(image: Image.Image) -> NDArray[np.uint8]:
    """Reduce an image to what the network sees, in the way Kaggle's hmnist_28_28_RGB.csv was made.

    Pillow's LANCZOS filter scales the whole image, without keeping its aspect ratio. Above
    `EXACT_PIXELS`, the filter works on the means of blocks. tests/test_real_data.py checks this
    against the CSV.

    Args:
        image: of mode "RGB", any size.

    Returns:
        (28, 28, 3), RGB, 0–255.
    """
    gap = REDUCING_GAP if image.width * image.height > EXACT_PIXELS else None
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=gap))


# --- The network -----------------------------------------------------------------------------

# In the last layer, each class has 32 weights and one bias. With seven classes, this is 504,103.
PARAMETERS = 503_872 + 33 * len(CLASSES)
# The kernels of the five convolutions (height, width, in, out) and the five dense layers (in, out).
KERNEL_SHAPES = (
    (3, 3, 3, 16),
    (3, 3, 16, 32),
    (3, 3, 32, 64),
    (3, 3, 64, 128),
    (3, 3, 128, 256),
    (256, 256),
    (256, 128),
    (128, 64),
    (64, 32),
    (32, len(CLASSES)),
)


def build_model(dropout: float = 0.1) -> "keras.Sequential":
    """Build the network with fresh weights: 504,103 parameters, 502,983 of them trainable.

    Args:
        dropout: share of the units dropped in training, 0 to below 1, by all three Dropout layers.

    Returns:
        The network, not compiled: float32 (N, 28, 28, 3) in, float32 (N, 7) out, with rows that
        sum to 1.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Conv2D(16, 3, activation="relu", padding="same"),  # 28, 28, 16
            layers.MaxPooling2D(2),  # 14, 14, 16
            layers.BatchNormalization(momentum=0.9),
            layers.Conv2D(32, 3, activation="relu"),  # 12, 12, 32
            layers.Conv2D(64, 3, activation="relu"),  # 10, 10, 64
            layers.MaxPooling2D(2),  # 5, 5, 64
            layers.BatchNormalization(momentum=0.9),
            layers.Conv2D(128, 3, activation="relu"),  # 3, 3, 128
            layers.Conv2D(256, 3, activation="relu"),  # 1, 1, 256
            layers.Flatten(),  # 256
            layers.Dropout(dropout),
            layers.Dense(256, activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.Dropout(dropout),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.Dense(64, activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.Dropout(dropout),
            layers.Dense(32, activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.Dense(len(CLASSES), activation="softmax"),
        ],
        name="skin_cancer_detection",
    )
