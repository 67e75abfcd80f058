"""How much of an image was cut away before it was sent, and whether that is harmless.

The model was trained on whole images. `python -m scripts.measure_crops` measures how cropping
changes its answers; `python -m scripts.measure_remarks` measures the effect of adding black borders
and cutting them away again. docs/experiments.md has the figures and the rule behind the limits.
"""

import math
import re
from dataclasses import dataclass

# The smallest share of each side that a harmless crop keeps, wherever the frame lies.
LEAST_KEPT = 0.96
# The smallest share of each side that black borders may leave. Narrower views were not measured.
LEAST_VIEW = 0.5
# The largest error of a share after a program has rounded it to whole pixels and to decimals.
ROUNDING = 0.002

_SHARE = r"(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?|\.\d{1,9})"
_FOUR_SHARES = re.compile(rf"{_SHARE}(?:,{_SHARE}){{3}}", re.ASCII)


@dataclass(frozen=True)
class Box:
    """A rectangle in an image, as shares of its width and height from its upper left corner.

    Attributes:
        left, top: 0 to below 1.
        right, bottom: above left and top, at most 1.

    Raises:
        ValueError: a share is outside these limits.
    """

    left: float = 0
    top: float = 0
    right: float = 1
    bottom: float = 1

    def __post_init__(self) -> None:
        across, down = (self.left, self.right), (self.top, self.bottom)
        if not all(0 <= low < high <= 1 for low, high in (across, down)):
            raise ValueError("The four numbers do not form a rectangle within the picture.")

    @classmethod
    def from_text(cls, text: str) -> "Box":
        """Read `left,top,right,bottom`, such as `0.1,0.1,0.9,0.85`.

        Raises:
            ValueError: the text is not four decimals from 0 to 1 (at most nine digits after the
                point), or they do not form a rectangle.
        """
        if not _FOUR_SHARES.fullmatch(text):
            raise ValueError("The text is not four decimals from 0 to 1, separated by commas.")
        return cls(*map(float, text.split(",")))

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True)
class Crop:
    """The part of an image that was sent.

    Attributes:
        frame: the part, within the whole image.
        view: the part of the whole image inside its black borders; all of it if there are none.
            Black borders do not count as cut away.

    Raises:
        ValueError: the frame shows only black borders.
    """

    frame: Box
    view: Box = Box()

    def __post_init__(self) -> None:
        if min(self._kept_sides) <= 0:
            raise ValueError("The frame shows only black borders.")

    @property
    def _kept_sides(self) -> tuple[float, float]:
        """The shares of the view's width and height in the frame; below 0 if it lies outside."""
        frame, view = self.frame, self.view
        width = min(frame.right, view.right) - max(frame.left, view.left)
        height = min(frame.bottom, view.bottom) - max(frame.top, view.top)
        return width / view.width, height / view.height

    @property
    def removed(self) -> float:
        """The share of the view's area that was cut away, 0 to below 1."""
        return max(0.0, 1 - math.prod(self._kept_sides))

    @property
    def cut_black(self) -> float:
        """The share of the whole image that is black border and was cut away, 0 to below 1."""
        frame, view = self.frame, self.view
        cut = 1 - frame.width * frame.height - self.removed * view.width * view.height
        return max(0.0, cut)

    @property
    def is_harmless(self) -> bool:
        """Whether the crop is within the limits that measurements found harmless."""
        return (
            min(self._kept_sides) >= LEAST_KEPT - ROUNDING
            and min(self.view.width, self.view.height) >= LEAST_VIEW - ROUNDING
        )
