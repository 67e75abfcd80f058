"""What a command writes into a page of Markdown, between two marks there.

The marks are comments, `<!-- name -->` and `<!-- end of name -->`, which the rendered page does not
show. Everything outside them stays as it is.
"""

from collections.abc import Mapping
from pathlib import Path

from lesion_lens.model.errors import LesionLensError


class MissingMarks(LesionLensError):
    """A page without the marks of a text that belongs there."""


def filled(page: Path, texts: Mapping[str, str]) -> str:
    """Put each text in the place of the older one between its marks.

    Args:
        page: is only read.
        texts: name of the marks -> Markdown.

    Returns:
        The whole page.

    Raises:
        MissingMarks
    """
    try:
        whole = page.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MissingMarks(f"{page} is not a text file in UTF-8: restore it.") from error
    for name, text in texts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found, rest = whole.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise MissingMarks(
                f"{page} lacks the marks {begin} and {end}, so nothing was written: add them."
            )
        whole = f"{before}{begin}\n{text.strip()}\n{end}{after}"
    return whole


def publish(page: Path, texts: Mapping[str, str]) -> None:
    """Write the texts into the page; see `filled`."""
    page.write_text(filled(page, texts), encoding="utf-8", newline="\n")
