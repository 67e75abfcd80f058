"""The app's pages: asked for by Flask's test client, and parsed."""

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
    """An app with these settings, and with the model that is loaded in no time."""
    return create_app({"MODEL_PATH": LITERT, **settings})


def client_of(path):
    """A client of an app with this model file."""
    return app_of(path).test_client()


def upload(client, *images, name="lesion.png", **fields):
    """Send images as the upload form does, with these other fields."""
    files = [(io.BytesIO(data), name) for data in images]
    return client.post("/showresult", data={"pic": files, **fields})


def page_of(response):
    """Parse a page, each of whose tags must be closed by its own; templates are left out."""
    text = response.get_data(as_text=True)
    Nesting().feed(text)
    page = BeautifulSoup(text, "html.parser")
    for template in page.select("template"):
        template.decompose()
    return page


class Nesting(HTMLParser):
    """Refuses what a browser, and BeautifulSoup, would mend in silence."""

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
    """The text of the first element that a CSS selector finds, in one line; "" without one."""
    element = page.select_one(selector)
    return " ".join(element.get_text().split()) if element else ""


def probabilities_of(response):
    """The seven numbers of a results page, in the order of the classes."""
    values = {data["id"]: float(data["value"]) for data in page_of(response).select("data")}
    return np.array([values[code] for code in CODES])


def pages_of(app):
    """The addresses of all pages that are there for the asking."""
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
