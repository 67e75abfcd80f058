"""Whether an image is of a kind that the model knows, and if not, why.

Does not say which lesion it shows.
"""

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
    """The rules that a model file has for images; None for each rule that it lacks.

    Attributes:
        outliers: finds unfamiliar images.
        others: finds images that are not dermatoscopic.
        groups: says for which images 'low risk' has proved right.
    """

    outliers: OutlierDetector | None
    others: OtherPictureDetector | None
    groups: PictureGroups | None

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "PictureRules":
        """Read all three from a model file's attributes.

        Raises:
            ValueError: a rule is missing or damaged.
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
        """Return the attributes that a model file must store for the rules that are present."""
        attributes: dict[str, NDArray[np.float64]] = {}
        for rule in (self.outliers, self.others, self.groups):
            if rule is not None:
                attributes |= rule.to_attributes()
        return attributes

    def distances(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Return each image's distance from the training images.

        Args:
            pixels: (N, 28, 28, 3), RGB, 0–255.

        Returns:
            (N,), 0 or more, from `OutlierDetector.distance`; None if that rule is missing.
        """
        return None if self.outliers is None else self.outliers.distance(pixels)

    def familiarities(
        self, pixels: NDArray[np.uint8], distances: NDArray[np.float64] | None = None
    ) -> list[str | None]:
        """Return each image's familiarity.

        Args:
            pixels: (N, 28, 28, 3), RGB, 0–255.
            distances: of these images, from `distances`, if already known.

        Returns:
            For each of N images, one of `decisions.FAMILIARITIES`, or None if the file has no rule
            that tells.
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
        """Return for each image, (N, 28, 28, 3), whether 'low risk' has proved right in its group.

        None for each image if that rule is missing.
        """
        if self.groups is None:
            return [None] * len(pixels)
        return self.groups.is_proven(pixels).tolist()

    def reason(self, pixels: NDArray[np.uint8]) -> str | None:
        """Return why one image, (28, 28, 3), is unfamiliar: a key of `outliers.REASONS`.

        None if the rule for unfamiliar images is missing.
        """
        return None if self.outliers is None else self.outliers.reason(pixels)
