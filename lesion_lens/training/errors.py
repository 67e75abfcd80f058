"""The errors of training; each message names the fault and the remedy."""

import errno

from lesion_lens.model.errors import LesionLensError


class DataError(LesionLensError):
    """A data file is missing, damaged or contradicts itself."""


class TrainingError(LesionLensError):
    """A training request cannot be carried out."""


def writing_remedy(error: OSError) -> str:
    """How to make a folder writable, for the end of a message."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "allow writing to it"
    return "free some space"


def is_wrong_place(error: OSError) -> bool:
    """Whether files can never be written there, for example because the folder is a file."""
    return error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class CalibrationError(LesionLensError):
    """The calibration images do not allow a fit."""
