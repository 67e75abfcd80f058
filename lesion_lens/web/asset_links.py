"""Says which Android app this site belongs to, if two settings name one.

Google's Digital Asset Links, version 1: a Trusted Web Activity shows the site without an address
bar only if the site itself names the app and the certificates that sign it (docs/mobile.md).
"""

import json
import re

from flask import Flask
from flask.typing import ResponseReturnValue

from lesion_lens.model.errors import SettingError

ADDRESS = "/.well-known/assetlinks.json"
# At least two names, each beginning with a letter (Android's application id).
_PACKAGE = re.compile(r"[a-z]\w*(?:\.[a-z]\w*)+", re.ASCII | re.IGNORECASE)
_FINGERPRINT = re.compile(r"[\dA-F]{2}(?::[\dA-F]{2}){31}", re.ASCII)


def serve_asset_links(app: Flask) -> None:
    """Serve the statement if `ANDROID_PACKAGE` and `ANDROID_FINGERPRINTS` are set; else 404.

    Raises:
        SettingError: one of them is invalid, or is set without the other.
    """
    package = app.config["ANDROID_PACKAGE"].strip()
    # Android compares only capitals.
    fingerprints = [
        each.strip().upper()
        for each in app.config["ANDROID_FINGERPRINTS"].split(",")
        if each.strip()
    ]
    if not (package or fingerprints):
        return
    check(package, fingerprints)
    target = {
        "namespace": "android_app",
        "package_name": package,
        "sha256_cert_fingerprints": fingerprints,
    }
    statement = {"relation": ["delegate_permission/common.handle_all_urls"], "target": target}
    text = json.dumps([statement])

    def asset_links() -> ResponseReturnValue:
        return text, {"Content-Type": "application/json"}

    app.add_url_rule(ADDRESS, view_func=asset_links)


def check(package: str, fingerprints: list[str]) -> None:
    """Check that both settings are given and valid.

    Raises:
        SettingError: one is missing or invalid.
    """
    if not fingerprints:
        raise SettingError(
            "ANDROID_PACKAGE is set without ANDROID_FINGERPRINTS: set the latter to the SHA-256 "
            "fingerprint of the certificate that signs the app, or remove both."
        )
    if not package:
        raise SettingError(
            "ANDROID_FINGERPRINTS is set without ANDROID_PACKAGE: set the latter to the app's "
            "package name, such as org.example.lesionlens, or remove both."
        )
    if not _PACKAGE.fullmatch(package):
        raise SettingError(
            f"ANDROID_PACKAGE is {package!r}, which is not a package name: set it to one such as "
            "org.example.lesionlens, or remove it."
        )
    for fingerprint in fingerprints:
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise SettingError(
                f"ANDROID_FINGERPRINTS has {fingerprint!r}, which is not a SHA-256 fingerprint: "
                "set it to 32 pairs of hexadecimal digits such as AB:CD:…, as keytool prints them. "
                "Separate several with commas."
            )
