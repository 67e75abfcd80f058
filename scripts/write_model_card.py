"""Write docs/model_card.md from metrics.json.

    python -m scripts.write_model_card

lesion_lens/web/model_card.py says how, and templates/model_card.md.jinja has the text.
"""

import sys
from pathlib import Path

from lesion_lens import ROOT
from lesion_lens.web.model_card import CardError, model_card, read_metrics

METRICS = ROOT / "metrics.json"
CARD = ROOT / "docs" / "model_card.md"


def main(source: Path = METRICS, target: Path = CARD) -> int:
    """Write the card; returns the exit code."""
    try:
        card = model_card(read_metrics(source), source)
    except CardError as error:
        print(error, file=sys.stderr)
        return 2
    target.write_text(card, encoding="utf-8", newline="\n")
    print(f"Wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
