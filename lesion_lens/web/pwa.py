"""The app on a phone's home screen, the app without a connection, and the privacy page.

A phone keeps the files of static/ (except those that only the system asks for), the offline page,
the upload page, and the model with which that page classifies without the server. It also
remembers whether images must stay on the device, and keeps nothing else:
`templates/service-worker.js` and `static/wish.js`.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, cast

from flask import Blueprint, Flask, current_app, render_template, url_for
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from lesion_lens.model.decisions import CLASS_COUNTS
from lesion_lens.model.limits import MIME_TYPES, SUFFIXES
from lesion_lens.model.publication import NAME
from lesion_lens.web import language
from lesion_lens.web.current import get_classifier
from lesion_lens.web.device import device_address, device_integrity

ACCENT, GROUND = "#0f766e", "#fbfcfc"  # --accent and --page of static/style.css

# The prefix of pictures that are for the system and not for the pages. No phone keeps them.
NOT_KEPT = "install-"


@dataclass(frozen=True)
class Screenshot:
    """A picture of the app for the dialog in which a browser offers to install it.

    Attributes:
        name: of the PNG in static/, which `make screenshots` takes.
        width, height: pixels. Chromium shows pictures of 320 to 3840 pixels a side whose longer
            side is at most 2.3 times the shorter. All of one form factor must have the same ratio
            (https://web.dev/patterns/web-apps/richer-install-ui).
        form_factor: "narrow" for phones, "wide" for desktops.
        label: a description for readers who cannot see it.
    """

    name: str
    width: int
    height: int
    form_factor: Literal["narrow", "wide"]
    label: str


SCREENSHOTS = (
    Screenshot(
        "install-result.png", 750, 1334, "narrow",
        "The result of a drawn picture: its risk level and what to do next",
    ),
    Screenshot(
        "install-upload.png", 750, 1334, "narrow",
        "The upload page with a drawn picture chosen",
    ),
    Screenshot(
        "install-signs.png", 750, 1334, "narrow",
        "Warning signs that need a doctor, whatever a program says",
    ),
    Screenshot(
        "install-desktop.png", 1280, 800, "wide",
        "The result of a drawn picture on a desktop",
    ),
)  # fmt: skip

FIELD = "pic"  # of the upload page's form

pwa = Blueprint("pwa", __name__)


@pwa.record_once
def compute_version(state: BlueprintSetupState) -> None:
    """Compute the SHA-256 of the files of the shell and of the text of its footer."""
    app = cast(Flask, state.app)  # not one of Flask's other kinds
    templates = Path(app.root_path, str(app.template_folder))
    names = ("base.html", "offline.html", "parts.html", "service-worker.js")
    files = [*static_files(app), *(templates / name for name in names)]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    # The footer names the model's data and links to the source code.
    digest.update(get_classifier(app).sha256.encode())
    digest.update(app.config.get("REPOSITORY_URL", "").encode())
    digest.update(f"{language.LANGUAGE} {language.DIRECTION}".encode())
    app.extensions["shell_version"] = digest.hexdigest()[:16]


@pwa.app_context_processor
def device_context() -> dict[str, Callable[[], str | None]]:
    """Functions about classifying on the device, for the templates that need them."""
    return {
        "device_address": device_address,
        "device_integrity": device_integrity,
        "wish_name": wish_name,
    }


@pwa.get("/manifest.webmanifest")
def manifest() -> ResponseReturnValue:
    """Tell a phone how to show the app on its home screen, and what other apps may share with it.

    W3C Web Application Manifest.
    """
    icons = [
        ("icon.svg", "any", "image/svg+xml", "any"),
        ("icon-192.png", "192x192", "image/png", "any"),
        ("icon-512.png", "512x512", "image/png", "any"),
        ("icon-maskable-512.png", "512x512", "image/png", "maskable"),
    ]
    start = url_for("pages.index")
    shortcuts = [
        ("Classify an image", "Classify", start, "icon-192.png"),
        ("Warning signs", "Signs", f"{start}#warning-signs", "install-signs-icon.png"),
    ]
    content = {
        "name": NAME,
        "short_name": NAME,
        "description": f"Says which of {CLASS_COUNTS['all']} classes of pigmented skin lesions a "
        "dermatoscope image most likely shows. A study tool: it does not diagnose.",
        "lang": language.LANGUAGE,
        "dir": language.DIRECTION,
        "id": start,
        "start_url": start,
        "scope": start,
        "display": "standalone",
        "theme_color": ACCENT,
        "background_color": GROUND,
        "categories": ["medical", "education"],
        "icons": [
            {"src": static_address(name), "sizes": sizes, "type": kind, "purpose": purpose}
            for name, sizes, kind, purpose in icons
        ],
        # An image shared by another app arrives as if sent by the form of the upload page (W3C Web
        # Share Target, level 2), with Sec-Fetch-Site: none.
        "share_target": {
            "action": url_for("pages.show_result"),
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {"files": [{"name": FIELD, "accept": [*MIME_TYPES, *SUFFIXES]}]},
        },
        # Each launch opens a new window, where the system has windows, so an unsaved result stays
        # open in its own. The other modes lose something: "navigate-existing" leaves the result,
        # and "focus-existing" passes on an address only, without the shared image
        # (https://wicg.github.io/web-app-launch/).
        "launch_handler": {"client_mode": "navigate-new"},
        "shortcuts": [
            {
                "name": name,
                "short_name": short,
                "url": address,
                "icons": [{"src": static_address(icon), "sizes": "192x192", "type": "image/png"}],
            }
            for name, short, address, icon in shortcuts
        ],
        "screenshots": [
            {
                "src": static_address(shot.name),
                "sizes": f"{shot.width}x{shot.height}",
                "type": "image/png",
                "form_factor": shot.form_factor,
                "label": shot.label,
            }
            for shot in SCREENSHOTS
        ],
    }
    return json.dumps(content), {"Content-Type": "application/manifest+json"}


@pwa.get("/service-worker.js")
def service_worker() -> ResponseReturnValue:
    """Serve the program that keeps the shell. In static/, its scope would be static/ alone."""
    addresses = [static_address(file.name) for file in static_files(current_app)]
    program = render_template(
        "service-worker.js",
        offline=url_for("pwa.offline"),
        home=url_for("pages.index"),
        field=FIELD,
        files=addresses,
        model=device_address(),
        integrity=device_integrity(),
        wish=wish_name(),
        version=kept_version(),
    )
    return program, {"Content-Type": "text/javascript", "Cache-Control": "no-cache"}


def kept_version() -> str:
    """A version of all that a phone keeps, from its SHA-256; a new one replaces the old shell.

    The pages are rendered with a fixed date, so that the date alone changes nothing. The upload
    page names the model's file by its checksum.
    """
    pages = [render_template(name, today=date.min) for name in ("index.html", "offline.html")]
    parts = [current_app.extensions["shell_version"], *pages]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def wish_name() -> str:
    """The name under which a phone remembers, for this app alone, that no image may leave it.

    It must not begin like the names of the shells, which a new version deletes.
    """
    return f"images stay here: {url_for('pages.index')}"


@pwa.get("/offline")
def offline() -> str:
    """Show what you can do without the server; a phone keeps this page."""
    return render_template("offline.html")


@pwa.get("/privacy")
def privacy() -> str:
    """Say what happens to an image, and what is known about its sender."""
    return render_template("privacy.html")


def static_files(app: Flask) -> list[Path]:
    """The paths of the files in static/ that a phone keeps, sorted by name."""
    return sorted(
        path
        for path in Path(str(app.static_folder)).iterdir()
        if path.is_file() and not path.name.startswith(NOT_KEPT)
    )


def static_address(name: str) -> str:
    return url_for("static", filename=name)
