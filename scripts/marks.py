"""Writing generated text into a page of Markdown, between two marks.

The marks are the comments `<!-- name -->` and `<!-- end of name -->`, which are invisible on the
rendered page. Everything outside them is left unchanged.
"""

from collections.abc import Mapping
from pathlib import Path

from lesion_lens.model.errors import LesionLensError


class MissingMarks(LesionLensError):
    """A page that lacks the marks for a text."""


def filled(page: Path, texts: Mapping[str, str]) -> str:
    """Replace the text between each pair of marks.

    Args:
        page: read, not written.
        texts: name of the marks -> Markdown.

    Returns:
        The whole page with the new texts.

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
    """Write the texts into the page, as `filled` places them."""
    page.write_text(filled(page, texts), encoding="utf-8", newline="\n")
