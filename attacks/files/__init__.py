"""The hostile files: each is small enough to be uploaded and made to take time or memory.

What a file is stands in the docstring of the function that makes it, which the table of
docs/reliability.md shows. Each takes a `size` of more than 0 and at most 1: at 1 it is as bad as a
request can carry it, and below it has as many parts or pixels fewer.
"""

from collections.abc import Callable

from attacks.files import heic, jpeg_and_gif, new_formats, others, png, tiff

Maker = Callable[[float], bytes]

HOSTILE: dict[str, Maker] = {
    name: make
    for module in (tiff, heic, jpeg_and_gif, png, others, new_formats)
    for name, make in vars(module).items()
    if getattr(make, "__module__", None) == module.__name__ and not name.startswith("_")
}


def title_of(name: str) -> str:
    """What a hostile file is, in words."""
    return (HOSTILE[name].__doc__ or name).strip().rstrip(".")
