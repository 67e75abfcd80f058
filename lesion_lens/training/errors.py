"""The errors of training, each a sentence that names the thing and the remedy."""

from lesion_lens.model.errors import LesionLensError


class DataError(LesionLensError):
    """A data file that is missing, spoiled or contradicts itself."""


class TrainingError(LesionLensError):
    """A request for training that cannot be carried out."""


class CalibrationError(LesionLensError):
    """Calibration images from which nothing can be fitted."""
