"""The hostile files: small enough to be uploaded, and made to take time or memory.

The docstring of each function describes its file, and is shown in the table of
docs/reliability.md. `size` is above 0 and at most 1. At 1 the file is as bad as a request can
carry; below 1 it has proportionally fewer parts or pixels.
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
    """A hostile file's description."""
    return (HOSTILE[name].__doc__ or name).strip().rstrip(".")
