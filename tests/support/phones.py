"""Using the app on a phone, and recording the requests that its server gets."""

import socket
import threading

from werkzeug.wrappers import Response

from tests.support.browser import classify, drawn
from tests.support.drawings import draw_for

LOW = drawn("low.png", draw_for("low"))
HERE = "Keep my images on this device"
TEXT = """() => [...document.querySelectorAll("#result > *:not(template)")]
    .map((part) => part.innerText.trim()).filter(Boolean)"""


class Log:
    """A WSGI application that records its requests and the lengths of their bodies.

    Attributes:
        application: answers the requests.
        instead: by path, what answers in place of the application.
        arrived: method, path and length of the body of each request.
    """

    def __init__(self, application):
        self.application, self.instead, self.arrived = application, {}, []

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        path = environ["PATH_INFO"]
        self.arrived.append((environ["REQUEST_METHOD"], path, length))
        return self.instead.get(path, self.application)(environ, start_response)

    @property
    def uploads(self):
        return [one for one in self.arrived if one[0] != "GET" or one[2]]

    def change(self, path, old, new):
        """Serve a script with one part of it replaced."""
        program = self.application.test_client().get(path).text
        assert program.count(old) == 1
        self.instead[path] = Response(program.replace(old, new), mimetype="text/javascript")

    def serve_another_model(self):
        """Serve other weights at the model's address than those that the page was made for."""
        file = bytearray(self.application.test_client().get("/model/device").data)
        file[-1] ^= 0x80  # the sign of the last bias
        self.instead["/model/device"] = Response(bytes(file))


def hang_up(environ, start_response):
    """Read the whole body, and close the connection without an answer."""
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


def never_answer(environ, start_response):
    """Accept the request, and keep the browser waiting for longer than a test lasts."""
    threading.Event().wait(60)
    raise ConnectionAbortedError


def open_app(page, address):
    """Open the upload page, and wait until the phone has stored the shell and the model."""
    page.goto(address)
    page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")


def result_of(page, *files):
    classify(page, *files)
    page.locator("#likely").wait_for()
    return page.evaluate(TEXT)


def keep_here(page):
    page.get_by_role("switch", name=HERE).check()


def is_remembered(page):
    """Whether the browser remembers that the switch is on."""
    return page.evaluate("async () => caches.has(document.forms[0].dataset.wish)")
