"""Requesting the app's pages with Flask's test client, and parsing them."""

import io
from html.parser import HTMLParser

import numpy as np
from bs4 import BeautifulSoup

from app import create_app
from skin_cancer_detection import CODES
from tests.support.models import LITERT


def app_of(path):
    return create_app({"MODEL_PATH": path})


def app_with(**settings):
    """Make an app with these settings, and with the model that loads fastest."""
    return create_app({"MODEL_PATH": LITERT, **settings})


def client_of(path):
    """Return a client of an app with this model file."""
    return app_of(path).test_client()


def upload(client, *images, name="lesion.png", **fields):
    """Send images like the upload form does, with these other fields."""
    files = [(io.BytesIO(data), name) for data in images]
    return client.post("/showresult", data={"pic": files, **fields})


def page_of(response):
    """Parse a page and check that its tags are nested correctly; remove its templates."""
    text = response.get_data(as_text=True)
    Nesting().feed(text)
    page = BeautifulSoup(text, "html.parser")
    for template in page.select("template"):
        template.decompose()
    return page


class Nesting(HTMLParser):
    """Rejects wrong nesting, which browsers and BeautifulSoup silently repair."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self):
        super().__init__()
        self._open = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes something else"


def text_of(page, selector="html"):
    """Return the text of the first element for a CSS selector, on one line; "" if there is none."""
    element = page.select_one(selector)
    return " ".join(element.get_text().split()) if element else ""


def probabilities_of(response):
    """Return the seven probabilities on a results page, in the order of the classes."""
    values = {data["id"]: float(data["value"]) for data in page_of(response).select("data")}
    return np.array([values[code] for code in CODES])


def pages_of(app):
    """Return the addresses of all pages that a plain GET returns."""
    client = app.test_client()
    answers = {
        rule.rule: client.get(rule.rule)
        for rule in app.url_map.iter_rules()
        if "GET" in rule.methods and not rule.arguments
    }
    return {
        path
        for path, answer in answers.items()
        if answer.status_code == 200 and answer.mimetype == "text/html"
    }
