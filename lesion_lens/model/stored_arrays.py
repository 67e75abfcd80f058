"""Named arrays that a model file stores. They are checked when they are read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class StoredArrays:
    """The base class of rules that are fitted to images and stored as arrays of numbers.

    A subclass declares its arrays as fields, and checks them on creation.
    """

    attribute: ClassVar[str]  # the prefix of its attributes in a model file

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Convert a field, of any type, to a float64 array, and check it.

        Raises:
            ValueError: it is not an array of finite numbers of this shape.
        """
        try:
            values = np.asarray(getattr(self, name), np.float64)
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{name}: these are not numbers.") from error
        if values.shape != shape:
            raise ValueError(f"{name}: the shape is {values.shape} instead of {shape}.")
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: not every number is finite.")
        object.__setattr__(self, name, values)
        return values

    def to_attributes(self) -> dict[str, NDArray[np.float64]]:
        """Return the attributes that a model file must store."""
        return {f"{self.attribute}_{name}": values for name, values in asdict(self).items()}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self:
        """Restore an instance from the attributes that `to_attributes` returned.

        Args:
            attributes: arrays by name, such as a model file's HDF5 attributes. Other names are
                ignored.

        Raises:
            ValueError: a name is missing, or its array is invalid.
        """
        try:
            return cls(*(attributes[f"{cls.attribute}_{field.name}"] for field in fields(cls)))
        except KeyError as error:
            raise ValueError(f"An attribute of the {cls.attribute} is missing.") from error


def check_covariance(name: str, covariance: NDArray[np.float64]) -> None:
    """Check that a matrix is a covariance that can be inverted.

    Raises:
        ValueError: it is not symmetric, or not positive definite.
    """
    if not np.allclose(covariance, covariance.T):
        raise ValueError(f"{name}: it is not symmetric.")
    if np.linalg.eigvalsh(covariance)[0] <= 0:
        raise ValueError(f"{name}: it is not positive definite.")
