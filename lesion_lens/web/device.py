"""The file with which a browser classifies on its own: its address and its checksum.

It is made from the served model file on the first request. Only the gzipped form is kept: almost
all clients accept gzip, and both forms would take 4 MB of memory.
"""

import base64
import functools
import gzip
import hashlib
import threading
from dataclasses import dataclass
from typing import Any, cast

from flask import Blueprint, Response, abort, current_app, request, url_for
from flask.blueprints import BlueprintSetupState

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.device_file import device_file
from lesion_lens.model.device_rules import rules_of
from lesion_lens.model.errors import ModelFileError
from lesion_lens.web.compression import KEPT, is_compressing, wants_gzip
from lesion_lens.web.current import get_classifier
from lesion_lens.web.device_images import image_limits
from lesion_lens.web.device_page import page_of

device = Blueprint("device", __name__)


def facts_of(classifier: Classifier) -> dict[str, Any]:
    """Return what a browser needs apart from the weights, as a JSON-serialisable dict."""
    return {
        "model_sha256": classifier.sha256,
        "rules": rules_of(classifier),
        "page": page_of(classifier),
        "images": image_limits(),
    }


@device.get("/model/device")
def send() -> Response:
    """Send the file, in safetensors (see `device_file`); 404 if the model file allows none."""
    made = _made()
    if made is None:
        abort(404)
    response = Response(mimetype="application/octet-stream")
    etag = made.sha256.hex()
    if is_compressing(current_app):
        response.vary.add("Accept-Encoding")
    if is_compressing(current_app) and wants_gzip():
        response.set_data(made.gzipped)
        response.headers["Content-Encoding"] = "gzip"
        response.set_etag(f"{etag}-gzip", weak=True)  # as `compress` does it
    else:
        response.set_data(gzip.decompress(made.gzipped))
        response.set_etag(etag)
    return cast(Response, response.make_conditional(request))


def device_address() -> str | None:
    """Return the file's address, which changes with its content; None if there is no file."""
    made = _made()
    return None if made is None else url_for("device.send", sha256=made.sha256.hex()[:16])


def device_integrity() -> str | None:
    """Return the `integrity` for `fetch` (W3C Subresource Integrity); None if there is no file.

    It is the hash of the unpacked file, because the browser checks it after unpacking.
    """
    made = _made()
    return None if made is None else f"sha256-{base64.b64encode(made.sha256).decode()}"


@dataclass(frozen=True)
class _DeviceFile:
    gzipped: bytes
    sha256: bytes  # of the file itself


@device.record_once
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions["device_file"] = functools.cache(_make)
    state.app.extensions["device_file_lock"] = threading.Lock()


def _made() -> _DeviceFile | None:
    """Return the file, made on the first call; other threads wait meanwhile."""
    with current_app.extensions["device_file_lock"]:
        try:
            made: _DeviceFile | None = current_app.extensions["device_file"]()
        except OSError as error:  # perhaps temporary: the next request tries again
            _log(error)
            return None
        return made


def _make() -> _DeviceFile | None:
    classifier = get_classifier()
    try:
        classifier.check_unchanged()  # raises OSError if the file cannot be read now
        file = device_file(classifier.path, facts_of(classifier))
        classifier.check_unchanged()  # while it was read
    except ModelFileError as error:  # the server can still classify
        _log(error)
        return None
    return _DeviceFile(gzip.compress(file, KEPT, mtime=0), hashlib.sha256(file).digest())


def _log(error: Exception) -> None:
    current_app.logger.error("Browsers cannot classify on their own: %s", error)
