"""Score the pages with Lighthouse, as on a phone with a slow connection; fail below 100.

python -m scripts.check_lighthouse [PATH ...]

Needs Chromium, and Node.js 18.20 or newer with npm, which fetches Lighthouse. The best of up to
three runs counts, because other work on the machine lowers the performance score. The reports are
written to screenshots/.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.servers import CannotMeasure, running, shipped
from lesion_lens import ROOT
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from scripts.chromium import NAMES
from tests.support.drawings import draw_lesion, encode

LIGHTHOUSE = "lighthouse@12.8.2"  # 13 needs Node.js 22
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
PAGES = ("/", "/model", "/privacy", "/api/v1/docs", "/offline")
REPORTS = ROOT / "screenshots"
RUNS = 3
PATIENCE = 300  # seconds for one run


def score(address: str, report: str, environment: Mapping[str, str]) -> dict[str, int]:
    """Score a page once and write its report.

    Returns:
        The score of each category, 0–100.

    Raises:
        CannotMeasure: Lighthouse failed.
    """
    path = REPORTS / report
    command = ["npx", "--yes", LIGHTHOUSE, address, "--quiet", "--output=json", "--output=html"]
    command += [f"--output-path={path}", f"--only-categories={','.join(CATEGORIES)}"]
    command += ["--chrome-flags=--headless=new --no-sandbox --disable-quic"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment
    )
    if done.returncode:
        raise CannotMeasure(f"Lighthouse could not score {address}: {done.stderr.strip()[-500:]}")
    read = json.loads(path.with_name(f"{report}.report.json").read_text(encoding="utf-8"))
    return {name: round(100 * (read["categories"][name]["score"] or 0)) for name in CATEGORIES}


def best(address: str, report: str, environment: Mapping[str, str]) -> dict[str, int]:
    """Score a page up to `RUNS` times or until all scores are 100; return the best of each."""
    found = dict.fromkeys(CATEGORIES, 0)
    for _ in range(RUNS):
        scores = score(address, report, environment)
        found = {name: max(found[name], scores[name]) for name in CATEGORIES}
        if min(found.values()) == 100:
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("pages", nargs="*", metavar="PATH", default=PAGES, help="pages of the app")
    pages = parser.parse_args().pages
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None or shutil.which("npx") is None:
        sys.exit("Lighthouse needs Chromium and npm: apt-get install chromium npm")
    environment = os.environ | {"CHROME_PATH": chromium}
    REPORTS.mkdir(exist_ok=True)
    low = []
    with running(shipped("app", DEFAULT_MODEL_PATH), encode(draw_lesion())) as server:
        for page in pages:
            report = f"lighthouse-{page.strip('/').replace('/', '-') or 'upload'}"
            scores = best(f"http://127.0.0.1:{server.port}{page}", report, environment)
            print(
                page, *(f"{name} {points}" for name, points in scores.items()), sep="  ", flush=True
            )
            low += [page for points in scores.values() if points < 100]
    if low:
        sys.exit(f"Below 100: {', '.join(dict.fromkeys(low))}. The reports are in {REPORTS}.")


if __name__ == "__main__":
    try:
        main()
    except CannotMeasure as error:
        sys.exit(str(error))
