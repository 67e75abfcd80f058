"""Chromium for the scripts that draw."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def launch(tools: Playwright) -> Browser:
    """Start Chromium, or end with a sentence where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        sys.exit("Chromium draws this and was not found: apt-get install chromium")
    return tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
