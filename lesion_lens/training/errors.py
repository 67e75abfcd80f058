"""The errors of training, each a sentence that names the thing and the remedy."""

from lesion_lens.model.errors import SkinCancerDetectionError


class DataError(SkinCancerDetectionError):
    """A data file that is missing, spoiled or contradicts itself."""


class TrainingError(SkinCancerDetectionError):
    """A request for training that cannot be carried out."""


class CalibrationError(SkinCancerDetectionError):
    """Calibration images from which nothing can be fitted."""
