"""Where a line of a page may not break: between a number and what it counts, as in '4 %'.

The API, the CSV and the command line keep their plain spaces, so that programs can read them.
"""

import re

from markupsafe import Markup

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

# A number, or the place of one in a script's text, and its unit; a share such as '13 of 100'.
_TOGETHER = r"""[\d}]\s+(?:%|[kM]B\b|mm\b|cm\b|GB\b|million\b)
    | \d\s+(?:of|in)\s+100\b
    | \d\s+×\s+\d"""
# Code is copied, and the space there has to be that of the keyboard.
_PASSED_OVER = r"<(?P<code>pre|code)\b.*?</(?P=code)>|<[^>]*>"
_PATTERN = re.compile(rf"(?P<kept>{_PASSED_OVER})|{_TOGETHER}", re.DOTALL | re.VERBOSE)


def keep_together(html: str) -> Markup:
    """Put no-break spaces between numbers and their units in the text of HTML.

    Args:
        html: well-formed, with `>` escaped in attributes, as Jinja writes it.

    Returns:
        The same with other spaces; tags, attributes and code stay as they are.
    """
    return Markup(_PATTERN.sub(_with_no_break, html))  # noqa: S704 (only spaces were replaced)


def _with_no_break(match: re.Match[str]) -> str:
    return match[0] if match["kept"] else re.sub(r"\s+", NO_BREAK_SPACE, match[0])
