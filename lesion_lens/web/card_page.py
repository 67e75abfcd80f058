"""The model card as a page: its HTML, and the drawings that the facts hold the numbers of."""

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
    """The card as a page shows it.

    Attributes:
        html: from the first heading of the second level on; what stands below such a heading is
            folded away, and has the heading's id.
        is_whole: whether it is the whole card; if not, only what any model file tells.
    """

    html: Markup
    is_whole: bool


# Held while a page is made: of a hundred visitors just after the start, one has it made, which
# takes a quarter of a second, and the others wait for it.
_making = threading.Lock()


def card_page(classifier: Classifier, repository: str = "") -> CardPage:
    """Make the page of the card of a model, or give the one that was made before.

    The card of the whole facts if they are there, else what any model file tells.

    Args:
        classifier: whose model it is.
        repository: the address of the repository whose files the card names, such as
            https://github.com/OWNER/NAME; without it, their names are no links.
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
    """Draw as HTML those pictures of figures/ that the facts hold the numbers of.

    Args:
        scores: of eight views; None where there are none.

    Returns:
        HTML by the picture's name.
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

    A picture and its caption give way to the one of `charts` of its name, or to nothing.
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


# As markdown-it-py calls the methods of a renderer.
Tokens = Sequence[Token]
Env = MutableMapping[str, Any]


class _Renderer(RendererHTML):
    """Folds sections, gives headings their ids, tables their scopes and a region to scroll in.

    Files of the repository, which the server does not have, are linked there, or leave their words.
    """

    def heading_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        is_first = "heading" not in env
        heading = env["heading"] = tokens[idx + 1].content
        if tokens[idx].tag == "h2":  # the page has one above the card
            return f"{'' if is_first else _FOLD_END}<details><summary><h3>"
        tokens[idx].tag = tokens[idx + 2].tag = "h4"
        tokens[idx].attrSet("id", slug(heading))
        return self.renderToken(tokens, idx, options, env)

    def heading_close(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        if tokens[idx].tag != "h2":
            return self.renderToken(tokens, idx, options, env)
        # A browser that is led into what is folded unfolds it, but not if led to the fold itself.
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
        if tokens[idx - 1].type == "tr_open":  # a row is named by its first cell
            tokens[idx].tag = tokens[idx + 2].tag = "th"
            tokens[idx].attrSet("scope", "row")
        return self.renderToken(tokens, idx, options, env)

    def text(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        text = super().text(tokens, idx, options, env)
        return re.sub(r"\([\d.]+–[\d.]+\)", r'<span class="nowrap">\g<0></span>', text)

    def link_open(self, tokens: Tokens, idx: int, options: Any, env: Env) -> str:
        address = str(tokens[idx].attrGet("href"))
        if not address.startswith(("https://", "#")) and env["repository"]:
            # The card stands in docs/. Every host of repositories takes HEAD for the newest commit.
            path = posixpath.normpath(posixpath.join("docs", address))
            tokens[idx].attrSet("href", f"{env['repository']}/blob/HEAD/{path}")
        elif not address.startswith(("https://", "#")):
            closing = next(token for token in tokens[idx:] if token.type == "link_close")
            tokens[idx].hidden = closing.hidden = True
        return self.renderToken(tokens, idx, options, env)


def slug(heading: str) -> str:
    """Make a heading's id as GitHub does, so that the card's own links lead to it on both."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
