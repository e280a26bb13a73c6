"""Make blurred, grey versions of photos: pictures that a segmenter forgives and an eye does not.

    python benchmarks/blurred_grey.py PHOTOS OUT --blur 1 --colour 0.25
    limner compare PHOTOS OUT --metrics seg --labels LABELS --segmenter FILE

`limner compare` is to warn of them, however well they score.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

from limner.evaluation.image_sets import listed
from limner.files import replacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--blur", type=float, default=1.0, help="deviation of the Gaussian, pixels")
    parser.add_argument("--colour", type=float, default=0.25, help="share of the colour that stays")
    given = parser.parse_args()
    for path in listed(given.photos):
        with Image.open(path) as image:
            photo = image.convert("RGB")
        soft = photo.filter(ImageFilter.GaussianBlur(given.blur))
        pale = ImageEnhance.Color(soft).enhance(given.colour)
        with replacing(given.out / f"{path.stem}.png") as temporary:
            pale.save(temporary)


if __name__ == "__main__":
    main()
