"""The model card as a page: its HTML, and the drawings that the facts hold the numbers of."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup

from lesion_lens.web.model_card import ENVIRONMENT, CardError, model_card, other_model_card
from skin_cancer_detection import CODES


@dataclass(frozen=True)
class CardPage:
    """The card as a page shows it.

    Attributes:
        html: markupsafe.Markup, from the first heading of the second level on.
        headings: tuple of (id, text) of these headings.
        is_whole: whether it is the whole card; if not, only what any model file tells.
    """

    html: Markup
    headings: tuple[tuple[str, str], ...]
    is_whole: bool


@functools.lru_cache(maxsize=1)  # a process serves one model
def card_page(classifier):
    """Make the page of the card of a model.

    Args:
        classifier: whatever has `facts`, from `check_model_file`, that do not change.

    Returns:
        CardPage.
    """
    facts = classifier.facts
    try:
        markdown, is_whole = model_card(facts), True
    except CardError:
        markdown, is_whole = other_model_card(facts), False
    scores = facts["test"]["eight_views"] if facts.get("test") else None
    return CardPage(*_to_html(markdown, draw_charts(scores)), is_whole)


def draw_charts(scores):
    """Draw those of figures/ that the facts hold the numbers of, as HTML.

    Args:
        scores: dict, from `scores.evaluate`; None where there are none.

    Returns:
        dict of name -> HTML.
    """
    if scores is None:
        return {}
    draw = ENVIRONMENT.get_template("charts.html").module
    points = reliability_points(scores)
    return {
        "confusion_matrix": draw.confusion_matrix(CODES, scores["confusion_matrix"]),
        "reliability": draw.reliability(points) if points else draw.no_reliability(),
    }


def reliability_points(scores):
    """Give the points of the reliability diagram, or None where they are missing or spoiled."""
    try:
        points = scores["reliability"]
        shares = [
            share
            for point in points
            for share in (
                *(point[name] for name in ("above", "up_to", "confidence")),
                *(point["accuracy"][name] for name in ("value", "low", "high")),
            )
        ]
        is_whole = all(0 <= share <= 1 for share in shares) and all(
            isinstance(point["images"], int) and point["images"] > 0 for point in points
        )
    except (LookupError, TypeError):
        return None
    return points if is_whole else None


def _to_html(markdown, figures):
    """Turn the card into a page's HTML, from its first heading of the second level on.

    A picture and its caption give way to the one of `figures` of its name, or to nothing.

    Args:
        markdown: str.
        figures: dict of name -> HTML.

    Returns:
        markupsafe.Markup, and the headings as in `CardPage`.
    """
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = parser.parse(markdown)
    for opening, text, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opening.type == "paragraph_open" and text.children[0].type == "image":
            name = Path(text.children[0].attrGet("src")).stem
            text.type, text.content = "html_block", figures.get(name, "")
            opening.hidden = closing.hidden = True
    start = next(i for i, token in enumerate(tokens) if token.tag == "h2")
    env = {"headings": []}
    html = parser.renderer.render(tokens[start:], parser.options, env)
    return Markup(html), tuple(env["headings"])


class _Renderer(RendererHTML):
    """Gives headings their ids, tables their scopes and a region to scroll in.

    Links to files of the repository, which the server does not have, leave their words.
    """

    def heading_open(self, tokens, idx, options, env):
        heading = env["heading"] = tokens[idx + 1].content
        tokens[idx].attrSet("id", slug(heading))
        if tokens[idx].tag == "h2":
            env["headings"].append((slug(heading), heading))
        return self.renderToken(tokens, idx, options, env)

    def table_open(self, tokens, idx, options, env):
        head = next(token.content for token in tokens[idx:] if token.type == "inline")
        return Markup(
            '<div class="scroll" role="region" aria-label="{}: {}" tabindex="0"><table>'
        ).format(env["heading"], head)

    def table_close(self, tokens, idx, options, env):
        return "</table></div>"

    def th_open(self, tokens, idx, options, env):
        tokens[idx].attrSet("scope", "col")
        return self.renderToken(tokens, idx, options, env)

    def td_open(self, tokens, idx, options, env):
        if tokens[idx - 1].type == "tr_open":  # a row is named by its first cell
            tokens[idx].tag = tokens[idx + 2].tag = "th"
            tokens[idx].attrSet("scope", "row")
        return self.renderToken(tokens, idx, options, env)

    def text(self, tokens, idx, options, env):
        text = super().text(tokens, idx, options, env)
        return re.sub(r"\([\d.]+–[\d.]+\)", r'<span class="nowrap">\g<0></span>', text)

    def link_open(self, tokens, idx, options, env):
        if not tokens[idx].attrGet("href").startswith(("https://", "#")):
            closing = next(token for token in tokens[idx:] if token.type == "link_close")
            tokens[idx].hidden = closing.hidden = True
        return self.renderToken(tokens, idx, options, env)


def slug(heading):
    """Make a heading's id as GitHub does, so that the card's own links lead to it on both."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
