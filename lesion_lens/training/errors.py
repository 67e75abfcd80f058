"""The errors of training; each message names the fault and the remedy."""

from lesion_lens.model.errors import LesionLensError


class DataError(LesionLensError):
    """A data file is missing, damaged or contradicts itself."""


class TrainingError(LesionLensError):
    """A training request cannot be carried out."""


class CalibrationError(LesionLensError):
    """The calibration images do not allow a fit."""
