"""Chromium for the scripts that need a browser."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def launch(tools: Playwright) -> Browser:
    """Start Chromium, or exit with a message if there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        sys.exit("This needs Chromium, which was not found: apt-get install chromium")
    return tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
