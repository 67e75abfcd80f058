"""Chromium for the scripts that draw."""

import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def launch(tools):
    """Start Chromium, or end with a sentence where there is none.

    Args:
        tools: from `playwright.sync_api.sync_playwright`.

    Returns:
        playwright.sync_api.Browser.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        sys.exit("Chromium draws this and was not found: apt-get install chromium")
    return tools.chromium.launch(executable_path=path, args=["--no-sandbox"])
