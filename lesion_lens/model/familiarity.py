"""What is said of a picture, whatever it shows: whether the model knows its kind, or why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.other_pictures import OtherPictureDetector
from lesion_lens.model.outliers import OutlierDetector
from lesion_lens.model.picture_groups import PictureGroups


@dataclass(frozen=True)
class PictureRules:
    """The rules that a model file has for pictures; None for one that it lacks.

    Attributes:
        outliers: tells unfamiliar pictures.
        others: tells pictures that are not dermatoscopic.
        groups: tells where 'low risk' has proved right.
    """

    outliers: OutlierDetector | None
    others: OtherPictureDetector | None
    groups: PictureGroups | None

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "PictureRules":
        """Read all three from a model file's attributes.

        Raises:
            ValueError: one of them is missing or spoiled.
        """
        return cls(
            OutlierDetector.from_attributes(attributes),
            OtherPictureDetector.from_attributes(attributes),
            PictureGroups.from_attributes(attributes),
        )

    @property
    def lack_one(self) -> bool:
        """Whether one of the rules is missing."""
        return None in (self.outliers, self.others, self.groups)

    def to_attributes(self) -> dict[str, NDArray[np.float64]]:
        """Give what a model file must keep of those that there are."""
        attributes: dict[str, NDArray[np.float64]] = {}
        for rule in (self.outliers, self.others, self.groups):
            if rule is not None:
                attributes |= rule.to_attributes()
        return attributes

    def distances(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Say of each picture, (N, 28, 28, 3), how far it is from the training images.

        Returns:
            (N,), 0 or more, from `OutlierDetector.distance`; None where that rule is missing.
        """
        return None if self.outliers is None else self.outliers.distance(pixels)

    def familiarities(
        self, pixels: NDArray[np.uint8], distances: NDArray[np.float64] | None = None
    ) -> list[str | None]:
        """Say of each picture how far the model knows its kind.

        Args:
            pixels: (N, 28, 28, 3), RGB, 0–255.
            distances: of these pictures, from `distances`, where they are known already.

        Returns:
            N of `decisions.FAMILIARITIES`; None where the file does not say how to tell.
        """
        found: list[str | None] = [None] * len(pixels)
        if self.outliers is not None:
            if distances is None:
                distances = self.outliers.distance(pixels)
            unfamiliar = self.outliers.is_too_far(distances)
            found = ["unfamiliar" if far else "familiar" for far in unfamiliar]
        if self.others is not None:
            for i in np.flatnonzero(self.others.is_other(pixels)):
                found[i] = "not dermatoscopic"
        return found

    def proven(self, pixels: NDArray[np.uint8]) -> list[bool | None]:
        """Say of each picture, (N, 28, 28, 3), whether 'low risk' has proved right for its kind."""
        if self.groups is None:
            return [None] * len(pixels)
        return self.groups.is_proven(pixels).tolist()

    def reason(self, pixels: NDArray[np.uint8]) -> str | None:
        """Say why one picture, (28, 28, 3), is unfamiliar: a key of `outliers.REASONS`."""
        return None if self.outliers is None else self.outliers.reason(pixels)
