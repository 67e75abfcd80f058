"""Draw static/sample.jpg, for visitors who try the app without an image of their own.

python -m scripts.draw_sample

A corner of it says 'drawing', so that copies are not mistaken for skin.
"""

from PIL import ImageDraw, ImageFont

from lesion_lens import ROOT
from tests.support.drawings import draw_grainy_lesion

SAMPLE = ROOT / "static" / "sample.jpg"
SEED = 3  # the committed model calls it `raised`, which neither frightens nor reassures
SIZE = (400, 300)  # pixels


def main() -> None:
    image = draw_grainy_lesion(SEED, SIZE)
    place = (SIZE[0] - 8, SIZE[1] - 6)
    font = ImageFont.load_default(size=13)
    ImageDraw.Draw(image).text(place, "drawing", fill=(90, 50, 40), font=font, anchor="rs")
    image.save(SAMPLE, quality=80, optimize=True)
    print(f"{SAMPLE.stat().st_size:,} bytes  static/{SAMPLE.name}")


if __name__ == "__main__":
    main()
