"""What was cut away from a picture before it was sent, and how much of that is harmless.

The model learned from whole pictures. `python -m scripts.measure_crops` measures what cuts do to
its answers, `python -m scripts.measure_remarks` what it does to add black borders and cut them away
again. docs/experiments.md has the figures and the rule that chose the limits.
"""

import math
import re
from dataclasses import dataclass

# The smallest share of each side of the picture that a harmless cut keeps, wherever the frame lies.
LEAST_KEPT = 0.96
# The smallest share of each side that black borders may leave; narrower views were not measured.
LEAST_VIEW = 0.5
# What shares may be wrong by once a program has rounded them to whole pixels and to decimals.
ROUNDING = 0.002

_SHARE = r"(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?|\.\d{1,9})"
_FOUR_SHARES = re.compile(rf"{_SHARE}(?:,{_SHARE}){{3}}", re.ASCII)


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture, as shares of its width and height from its upper left corner.

    Attributes:
        left, top: 0 to below 1.
        right, bottom: above left and top, at most 1.

    Raises:
        ValueError: they are not that.
    """

    left: float = 0
    top: float = 0
    right: float = 1
    bottom: float = 1

    def __post_init__(self) -> None:
        across, down = (self.left, self.right), (self.top, self.bottom)
        if not all(0 <= low < high <= 1 for low, high in (across, down)):
            raise ValueError("The four shares are no rectangle within the picture.")

    @classmethod
    def from_text(cls, text: str) -> "Box":
        """Read `left,top,right,bottom`, such as `0.1,0.1,0.9,0.85`.

        Raises:
            ValueError: it is not four decimals from 0 to 1 (at most nine digits after the point),
                or what the class itself raises.
        """
        if not _FOUR_SHARES.fullmatch(text):
            raise ValueError("There are not four decimals from 0 to 1 with commas between them.")
        return cls(*map(float, text.split(",")))

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True)
class Crop:
    """A cut: the frame that was sent of a picture.

    Attributes:
        frame: of the whole picture.
        view: what black borders leave of the whole picture; all of it where there are none. Black
            is not counted as cut away.

    Raises:
        ValueError: the frame shows nothing but black borders.
    """

    frame: Box
    view: Box = Box()

    def __post_init__(self) -> None:
        if min(self._kept_sides) <= 0:
            raise ValueError("The frame shows nothing but black borders.")

    @property
    def _kept_sides(self) -> tuple[float, float]:
        """The shares of the view's width and height that the frame keeps; below 0 beside it."""
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
        """The share of the whole picture that is black border and was cut away, 0 to below 1."""
        frame, view = self.frame, self.view
        cut = 1 - frame.width * frame.height - self.removed * view.width * view.height
        return max(0.0, cut)

    @property
    def is_harmless(self) -> bool:
        """Whether no more was removed than what was measured harmless."""
        return (
            min(self._kept_sides) >= LEAST_KEPT - ROUNDING
            and min(self.view.width, self.view.height) >= LEAST_VIEW - ROUNDING
        )
