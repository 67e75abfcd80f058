"""The model and its contract: what the web app and the training script agree on.

The seven classes, reading an untrusted image, the one preprocessing, the network, one image in and
seven probabilities out. Knows no Flask and no CSV. Keras is imported only where a network is built,
so importing this module is cheap. The model file: model_file.py; what runs it: engines.py.
"""

import ctypes
import io
import os
import re
from dataclasses import dataclass

import _pillow_heif
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms

# Both are read when Keras is first imported. The first silences TensorFlow's remarks on its own
# graphs (not those on the processor, which it prints before it reads anything); the second keeps
# a user's own ~/.keras/keras.json from choosing another backend.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


class SkinCancerDetectionError(Exception):
    """Whatever a user can mend; its text is one sentence that names the thing and the remedy."""


class ImageError(SkinCancerDetectionError):
    """An uploaded file that cannot be used as an image."""


class EmptyImage(ImageError):
    """A file of no bytes."""


class UnsupportedImage(ImageError):
    """Not an image, or not in one of the formats of `FORMATS`."""


class DamagedImage(ImageError):
    """The right format, but truncated or spoiled."""


class ImageTooLarge(ImageError):
    """More than `MAX_PIXELS` pixels, or `MAX_SIDE` on one side."""


class ModelFileError(SkinCancerDetectionError):
    """A model file that is missing, truncated, foreign or reordered."""


# --- The classes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class LesionClass:
    """Everything that is said of one class, anywhere, in plain words."""

    code: str  # as in the `dx` column of HAM10000's metadata
    name: str
    risk: str  # "malignant", "pre-malignant" or "benign"
    description: str
    next_steps: str  # what usually happens with a spot that is one
    sources: tuple[str, ...]  # DermNet's pages that both are drawn from


# In the order of the labels 0–6 in Kaggle's hmnist_28_28_RGB.csv; the model's seven outputs follow
# it. What each class takes in is from Tschandl et al., Sci Data 5:180161 (2018).
CLASSES = (
    LesionClass(
        "akiec",
        "Actinic keratosis or Bowen’s disease",
        "pre-malignant",
        "Rough, scaly patches on skin that has had a lot of sun (actinic keratosis), or a very "
        "early cancer that is only in the top layer of the skin (Bowen’s disease). Most stay as "
        "they are for years, but some turn into a skin cancer that grows deeper.",
        "A doctor looks at it and may take a small piece to have it checked. Most often it is "
        "frozen off, or treated with a cream or with light. This works well.",
        ("actinic-keratosis", "intraepidermal-squamous-cell-carcinoma"),
    ),
    LesionClass(
        "bcc",
        "Basal cell carcinoma",
        "malignant",
        "The most common skin cancer. It grows slowly and hardly ever spreads to other parts of "
        "the body. If it is left, it goes on growing and harms the skin around it.",
        "A doctor looks at it and often takes a small piece to have it checked. Then it is cut "
        "out in most cases, and that nearly always cures it. It is not an emergency, but do not "
        "put it off.",
        ("basal-cell-carcinoma",),
    ),
    LesionClass(
        "bkl",
        "Benign keratosis (seborrhoeic keratosis, solar lentigo)",
        "benign",
        "Harmless thick or dark spots that come with age and sun: warty growths that look stuck "
        "on, flat age spots, or such spots as they fade. Some look like a melanoma, even to a "
        "doctor.",
        "Most need nothing done. If one looks odd, a doctor may take a small piece to make sure. "
        "It can be taken off if it rubs or itches.",
        ("seborrhoeic-keratosis", "solar-lentigo", "lichenoid-keratosis"),
    ),
    LesionClass(
        "df",
        "Dermatofibroma",
        "benign",
        "A small, firm, harmless lump in the skin, most often on the legs. It may come after an "
        "insect bite or a scratch, and can stay for years.",
        "Most need nothing done. A doctor can often tell by the feel of it. If there is any doubt, "
        "it is cut out and checked.",
        ("dermatofibroma",),
    ),
    LesionClass(
        "nv",
        "Melanocytic naevus (mole)",
        "benign",
        "An ordinary mole: a harmless group of the cells that give skin its colour. Almost "
        "everybody has some.",
        "Most need nothing done: just watch them. A mole that is new in later life, or that "
        "changes, should be shown to a doctor. The doctor may compare pictures over some months, "
        "or cut it out to make sure.",
        ("melanocytic-naevus",),
    ),
    LesionClass(
        "vasc",
        "Vascular lesion (angioma, bleeding under the skin)",
        "benign",
        "Red, purple or black spots made of small blood vessels, or of blood under the skin. Most "
        "are harmless, but a melanoma can look the same.",
        "Most need nothing done. One that is new, grows fast or bleeds should be shown to a doctor "
        "soon. It can be taken off if it is in the way.",
        ("cherry-angioma", "angiokeratoma", "pyogenic-granuloma"),
    ),
    LesionClass(
        "mel",
        "Melanoma",
        "malignant",
        "A cancer of the cells that give skin its colour. It is the most dangerous of the common "
        "skin cancers, because it can spread. Found early, it is nearly always cured.",
        "A doctor should look at it soon. If the doctor is worried too, the whole spot is cut out "
        "and checked under a microscope. What comes then depends on how deep it has grown.",
        ("melanoma",),
    ),
)
CODES = tuple(lesion_class.code for lesion_class in CLASSES)


# --- From an untrusted file to the network's pixels ------------------------------------------

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF")  # the last is HEIC's container
# The same as upload forms name them.
MIME_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "image/gif",
    "image/heic",
    "image/heif",
)
# A phone's 24-megapixel photograph passes. Pillow holds 4 bytes a pixel, so the largest image takes
# about 100 MB while it is decoded, and twice that where it must be converted or turned, as does
# a HEIC.
MAX_PIXELS = 25_000_000
MAX_SIDE = 20_000  # pixels; LANCZOS keeps a table of 48 bytes for each pixel of a side
SIDE = 28  # pixels; the network sees SIDE × SIDE × 3
# Up to so many pixels the reduction is exact, and HAM10000's 270,000 are far below. Larger images
# are first reduced by whole factors, to no less than `REDUCING_GAP` times `SIDE`: that moves no
# probability by more than 0.01 (tests/test_large_images.py).
EXACT_PIXELS = 2_000_000
REDUCING_GAP = 16
DRAFT_SIDE = 600  # pixels; what is left at least of each side of a JPEG, enough for a preview

READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC"

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _lower_the_limit_of_libheif():
    """Have libheif refuse a HEIC any part of which is larger than an image may be.

    The parts that a picture is put together from, such as the canvas of an overlay, may be larger
    than the size that the file claims, and libheif's own limit is a thousand million pixels.
    pillow_heif can only switch that off, but libheif gives the address of all its limits: the
    first is their version, the second the pixels of an image (heif_security.h).
    """
    library = ctypes.CDLL(_pillow_heif.__file__)
    try:
        limits_of = library.heif_get_global_security_limits
    except AttributeError:  # Windows looks a name up in that one file, not in what it is linked to
        return
    limits_of.restype = ctypes.POINTER(ctypes.c_uint64)
    if limits_of()[1] == 32768**2:  # its default; with any other value the layout may be another
        limits_of()[1] = MAX_PIXELS * 11 // 10  # HEVC codes whole blocks, of up to 64 pixels a side


_lower_the_limit_of_libheif()


def read_image(data):
    """Decode an untrusted file into an upright RGB image.

    Only the decoders of `FORMATS` are tried, and of several frames the first is taken, or the
    primary one of a HEIC. Alpha is laid over white, more than 8 bits are scaled to 8, and the
    orientation is applied. A JPEG of more than `EXACT_PIXELS` is decoded at a half, a quarter or
    an eighth of its size, which its format allows and which takes a fraction of the time.

    Args:
        data: the file's bytes.

    Returns:
        PIL.Image.Image of mode "RGB", at the file's own size but for large JPEGs.

    Raises:
        EmptyImage, UnsupportedImage, DamagedImage, ImageTooLarge: each with a sentence for the
            person who sent the file.
    """
    if not data:
        raise EmptyImage("The file is empty. Choose another image.")
    # Pillow's decoders raise nearly anything on spoiled bytes (OSError, ValueError, SyntaxError,
    # struct.error, …), so here every exception means the same: not readable.
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except Exception as error:
        if _claims_known_format(data):
            raise _damaged() from error
        raise _unsupported() from error
    if image.format == "HEIF" and b"avif" in data[:64]:  # AVIF in the container that HEIC is in
        raise _unsupported()
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise _too_large()
    if _takes_too_long(image, data):
        raise _damaged()
    try:
        if image.format in _JPEGS and image.width * image.height > EXACT_PIXELS:
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
        image.load()
        return _upright(_to_rgb(image), _orientation(image))
    except Exception as error:
        raise _damaged() from error


def preprocess(image):
    """Reduce an image to what the network sees, as Kaggle's hmnist_28_28_RGB.csv was made.

    The whole image, its aspect ratio not kept, by Pillow's LANCZOS filter. Checked against the
    CSV: tests/test_real_data.py. Of more than `EXACT_PIXELS` the filter sees means of blocks.

    Args:
        image: PIL.Image.Image of mode "RGB", any size.

    Returns:
        uint8 (28, 28, 3), RGB, 0–255.
    """
    gap = REDUCING_GAP if image.width * image.height > EXACT_PIXELS else None
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=gap))


def _to_rgb(image):
    if image.mode.startswith("I;16"):
        return _sixteen_bits_to_rgb(image)
    if image.mode in ("I", "F"):
        # 32-bit TIFFs have no agreed full scale, so their own range is stretched to 0–255.
        finite = (rows[np.isfinite(rows)] for _, rows in _strips(image))
        ranges = [(float(rows.min()), float(rows.max())) for rows in finite if rows.size]
        low = min((low for low, _ in ranges), default=0)
        high = max((high for _, high in ranges), default=0)
        scale = 255 / (high - low) if high > low else 0
        return _grey_to_rgb(
            image, lambda rows: (np.nan_to_num(np.clip(rows, low, high), nan=low) - low) * scale
        )
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if image.has_transparency_data:
        rgba = _as_mode(image, "RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return _as_mode(image, "RGB")


def _as_mode(image, mode):
    # `convert` copies even where there is nothing to convert, and a copy may be 100 MB.
    return image if image.mode == mode else image.convert(mode)


def _sixteen_bits_to_rgb(image):
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    transparent = image.info.get("transparency")  # a PNG's grey value that stands for nothing

    def to_levels(rows):
        levels = np.minimum(rows.astype(np.float32) * (255 / (2**bits - 1)), 255)
        if white_is_zero:
            levels = 255 - levels
        return levels if transparent is None else np.where(rows == transparent, 255, levels)

    return _grey_to_rgb(image, to_levels)


def _strips(image):
    """Yield (top, rows) of a grey image, about a million pixels at a time, to save memory."""
    height = max(1, 1_000_000 // image.width)
    for top in range(0, image.height, height):
        box = (0, top, image.width, min(top + height, image.height))
        yield top, np.asarray(image.crop(box))


def _grey_to_rgb(image, to_levels):
    """Make an RGB image of a grey one; `to_levels` turns its values into 0–255."""
    grey = Image.new("L", image.size)
    for top, rows in _strips(image):
        grey.paste(Image.fromarray(np.rint(to_levels(rows)).astype(np.uint8)), (0, top))
    return grey.convert("RGB")


# What undoes each EXIF orientation but the upright 1; EXIF 2.32, table 4.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_JPEGS = ("JPEG", "MPO")  # the second holds several
MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten


def _takes_too_long(image, data):
    """Whether a file has its pixels decoded over and over: seconds for each kilobyte of it."""
    if image.format in _JPEGS:
        # Every scan begins with these two bytes, and to count them takes next to no time.
        return data.count(b"\xff\xda") > MAX_SCANS and _scans(data) > MAX_SCANS
    area = sum(
        (right - left) * (lower - upper) for _, (left, upper, right, lower), *_ in image.tile
    )
    return area > 2 * image.width * image.height * len(image.getbands())


def _scans(data):
    """Count the scans of a JPEG up to its end, by its markers (ITU-T T.81, annex B)."""
    scans, place = 0, 2
    while (marker := _MARKER.search(data, place)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return scans


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those that have a length, and the end


def _orientation(image):
    if image.format == "HEIF":  # whose decoder has turned it, by what the container says
        return None
    # Not ImageOps.exif_transpose: it writes all the EXIF anew, and so refuses a sound photograph
    # for the sake of any other tag that is wrong.
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF that cannot be read turns nothing
        return None


def _upright(image, orientation):
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _claims_known_format(data):
    """Whether the first bytes are the signature of one of `FORMATS`."""
    Image.init()
    return any(Image.OPEN[name][1](data[:16]) for name in FORMATS)


def _unsupported():
    return UnsupportedImage(
        f"The file is not an image that can be read here. Save it as {READABLE} and send it again."
    )


def _damaged():
    return DamagedImage("The image is damaged or incomplete. Save or copy it again and retry.")


def _too_large():
    return ImageTooLarge(
        f"The image has more than {MAX_PIXELS // 1_000_000} million pixels, or more than "
        f"{MAX_SIDE:,} on one side. Make it smaller and send it again."
    )


# --- The network -----------------------------------------------------------------------------

PATCHES = 7  # a side of the occlusion map: each of its 49 patches is 4 × 4 pixels
PARAMETERS = 504_103
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
    (32, 7),
)


def build_model(dropout=0.3):
    """Build the network with fresh weights: 504,103 parameters, 502,983 of them trainable.

    Args:
        dropout: share of the units dropped in training, 0 to below 1, in all three places.

    Returns:
        keras.Sequential, not compiled: float32 (N, 28, 28, 3) in, float32 (N, 7) out, each row
        summing to 1.
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


# --- One image in ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """What the network makes of one image.

    Attributes:
        views: float32 (8, 7), the probabilities of its `eight_views`, each row summing to 1.
        occlusion: float32 (7, 7), −1 to 1: by how much the probability of the most likely class
            falls when that patch of the upright image is covered. None without a map.
    """

    views: np.ndarray
    occlusion: np.ndarray | None


def predict(engine, pixels, with_map=True):
    """Classify one image, and ask again with each patch of it covered, all in one batch.

    Covering is the explanation of Zeiler & Fergus, ECCV 2014; the last convolution of this network
    gives a single pixel, so that methods which look at its activations have nothing to show. Safe
    to call from several threads.

    Args:
        engine: from `engines.load_engine`: uint8 (N, 28, 28, 3) in, float32 (N, 7) out.
        pixels: uint8 (28, 28, 3), RGB, 0–255, as `preprocess` returns them.
        with_map: whether to cover the patches, 49 images more.

    Returns:
        Prediction.
    """
    images = eight_views(pixels[np.newaxis])[:, 0]
    if with_map:
        images = np.concatenate([images, occluded(pixels)])
    probabilities = engine(images)
    views, covered = probabilities[:8], probabilities[8:]
    if not with_map:
        return Prediction(views, None)
    likely = views.mean(axis=0).argmax()  # as decided, since no temperature changes the order
    return Prediction(views, (views[0, likely] - covered[:, likely]).reshape(PATCHES, PATCHES))


def eight_views(pixels):
    """Turn images by quarters and mirror them: the eight ways in which a square can lie.

    Args:
        pixels: any dtype (N, 28, 28, 3).

    Returns:
        The same dtype (8, N, 28, 28, 3); the first is the image as it came.
    """
    flat = pixels.reshape(len(pixels), SIDE * SIDE, 3)
    return flat.take(_PLACES, axis=1).swapaxes(0, 1)


# For each view and each of its pixels, which pixel of the image it is, counted row by row. Gathered
# by it, the views are one call of NumPy, which gives up Python's lock once and not eight times.
_PLACES = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
_PLACES = np.stack([np.rot90(x, k) for x in (_PLACES, _PLACES[:, ::-1]) for k in range(4)])


def occluded(pixels):
    """Cover each patch of an image in turn, with the colour of the skin around the lesion.

    Args:
        pixels: uint8 (28, 28, 3), RGB, 0–255.

    Returns:
        uint8 (49, 28, 28, 3), row by row; each has one patch in the median colour of the image's
        rim, which is skin in most images.
    """
    rim = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    skin = np.median(rim, axis=0)
    copies = np.repeat(pixels[np.newaxis], PATCHES**2, axis=0)
    side = SIDE // PATCHES
    for patch, copy in enumerate(copies):
        top, left = side * (patch // PATCHES), side * (patch % PATCHES)
        copy[top : top + side, left : left + side] = skin
    return copies
