"""The model card as a page: its HTML, and charts drawn from the facts."""

import functools
import posixpath
import re
import threading
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.facts import has_reliability
from lesion_lens.web.model_card import ENVIRONMENT, CardError, model_card, other_model_card
from skin_cancer_detection import CODES


@dataclass(frozen=True)
class CardPage:
    """The card as shown on the page.

    Attributes:
        html: starts at the first second-level heading. The text below each of these headings is
            folded away and has the heading's id.
        is_whole: whether it is the whole card, rather than the shorter one for other models.
    """

    html: Markup
    is_whole: bool


# Held while the page is made, which takes a quarter of a second. If a hundred visitors come just
# after the start, one makes the page and the others wait for it.
_making = threading.Lock()


def card_page(classifier: Classifier, repository: str = "") -> CardPage:
    """Make the page with a model's card, or return the one made before.

    It is the whole card if the facts are complete, else the shorter card for other models.

    Args:
        classifier: of the model.
        repository: the address of the repository, such as https://github.com/OWNER/NAME, for links
            to files. Without it, the names of files are not links.
    """
    with _making:
        return _made(classifier, repository.rstrip("/"))


@functools.lru_cache(maxsize=1)  # a process serves one model
def _made(classifier: Classifier, repository: str) -> CardPage:
    facts = classifier.facts
    try:
        markdown, is_whole = model_card(facts), True
    except CardError:
        markdown, is_whole = other_model_card(facts), False
    return CardPage(_to_html(markdown, draw_charts(classifier.scores), repository), is_whole)


def draw_charts(scores: dict[str, Any] | None) -> dict[str, str]:
    """Draw the plots of figures/ as HTML, if the facts have the numbers for them.

    Args:
        scores: of eight views; None if there are none.

    Returns:
        HTML by the plot's name.
    """
    if scores is None:
        return {}
    draw: Any = ENVIRONMENT.get_template("charts.html").module  # whose macros are attributes
    if has_reliability(scores):
        reliability = draw.reliability(scores["reliability"])
    else:
        reliability = draw.no_reliability()
    return {
        "confusion_matrix": draw.confusion_matrix(CODES, scores["confusion_matrix"]),
        "reliability": reliability,
    }


def _to_html(markdown: str, charts: dict[str, str], repository: str) -> Markup:
    """Turn the card into a page's HTML, as in `CardPage`.

    Each plot, with its caption, is replaced by the chart of the same name, or removed if there is
    none.
    """
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = parser.parse(markdown)
    for opening, text, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        children = text.children or []
        if opening.type == "paragraph_open" and children[0].type == "image":
            name = Path(str(children[0].attrGet("src"))).stem
            text.type, text.content = "html_block", charts.get(name, "")
            opening.hidden = closing.hidden = True
    start = next(i for i, token in enumerate(tokens) if token.tag == "h2")
    html = parser.renderer.render(tokens[start:], parser.options, {"repository": repository})
    return Markup(html + _FOLD_END)  # noqa: S704 (escaped, except for our charts)


_FOLD_END = "</div></details>"


# The types of the arguments that markdown-it-py passes to a renderer.
Tokens = Sequence[Token]
Env = MutableMapping[str, Any]


class _Renderer(RendererHTML):
    """Folds sections, adds ids to headings, and scopes and a scrollable region to tables.

    Links to files lead to the repository, because the server does not have them. If its address is
    not known, only the text of the link remains.
    """

    def heading_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        is_first = "heading" not in env
        heading = env["heading"] = tokens[idx + 1].content
        if tokens[idx].tag == "h2":  # the page has an h2 above the card
            return f"{'' if is_first else _FOLD_END}<details><summary><h3>"
        tokens[idx].tag = tokens[idx + 2].tag = "h4"
        tokens[idx].attrSet("id", slug(heading))
        return self.renderToken(tokens, idx, options, env)

    def heading_close(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        if tokens[idx].tag != "h2":
            return self.renderToken(tokens, idx, options, env)
        # A link unfolds a section only if its target is inside, so the id is on the content.
        return f'</h3></summary><div id="{slug(tokens[idx - 1].content)}">'

    def table_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        head = next(token.content for token in tokens[idx:] if token.type == "inline")
        return Markup(
            '<div class="scroll" role="region" aria-label="{}: {}" tabindex="0"><table>'
        ).format(env["heading"], head)

    def table_close(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        return "</table></div>"

    def th_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        tokens[idx].attrSet("scope", "col")
        return self.renderToken(tokens, idx, options, env)

    def td_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        if tokens[idx - 1].type == "tr_open":  # the first cell is the row's header
            tokens[idx].tag = tokens[idx + 2].tag = "th"
            tokens[idx].attrSet("scope", "row")
        return self.renderToken(tokens, idx, options, env)

    def text(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        text = super().text(tokens, idx, options, env)
        return re.sub(r"\([\d.]+–[\d.]+\)", r'<span class="nowrap">\g<0></span>', text)

    def link_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        address = str(tokens[idx].attrGet("href"))
        if not address.startswith(("https://", "#")) and env["repository"]:
            # The card is in docs/. On GitHub and GitLab, HEAD stands for the newest commit.
            path = posixpath.normpath(posixpath.join("docs", address))
            tokens[idx].attrSet("href", f"{env['repository']}/blob/HEAD/{path}")
        elif not address.startswith(("https://", "#")):
            closing = next(token for token in tokens[idx:] if token.type == "link_close")
            tokens[idx].hidden = closing.hidden = True
        return self.renderToken(tokens, idx, options, env)


def slug(heading: str) -> str:
    """Make a heading's id as GitHub does, so that the card's own links work on both."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
