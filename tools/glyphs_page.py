"""What docs/glyphs.md says of the data set: python -m tools.glyphs_page [--measure DATA_DIR] [--check]

`--measure` evaluates a 1-nearest-neighbour classifier on a prepared set (a few minutes), writes
results/pictures/glyphs.json and the picture docs/glyphs.png. Without it the page is written from the stored values.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sosr_timm.data.prepare.glyph_fonts import CHARACTERS
from sosr_timm.data.prepare.glyphs import FONTS, LEFT_OUT, RULES
from sosr_timm.data.prepare.manifest import read_list, read_manifest
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import ArraySource
from sosr_timm.environment import environment
from sosr_timm.files import replacing, write_json
from sosr_timm.text import markdown_table
from tools.checkout import ROOT
from tools.generated import run_writer
from tools.readme_page import updated

RECORD, PICTURE, PAGE = (ROOT / path for path in ("results/pictures/glyphs.json", "docs/glyphs.png", "docs/glyphs.md"))
MARKS = ("<!-- glyphs:begin -->", "<!-- glyphs:end -->")
CONFUSIONS = 24  # pairs of characters that the record and the page list
BLOCK = 500  # test pictures at a time
SHEET_FONTS, SHEET_COLUMNS, GAP = 24, 47, 2


def measure(folder: Path) -> dict[str, Any]:
    """Count a prepared set and classify its test pictures by the nearest training picture (Euclidean, pixels)."""
    train, test = (open_source("glyphs", str(folder), split) for split in ("train", "test"))
    start = time.perf_counter()
    predicted = nearest_labels(train, test)
    seconds = time.perf_counter() - start
    truth = test.read_labels()
    cases = np.array([CHARACTERS.index(character.lower()) for character in CHARACTERS])
    pairs = Counter(
        tuple(sorted((int(label), int(guess)))) for label, guess in zip(truth, predicted, strict=True) if label != guess
    )
    with open(folder / FONTS, newline="", encoding="utf-8", errors="surrogateescape") as file:
        fonts = list(csv.DictReader(file))
    with open(folder / LEFT_OUT, newline="", encoding="utf-8") as file:
        left_out = {row["rule"]: int(row["fonts"]) for row in csv.DictReader(file)}
    manifest = read_manifest(folder)
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        "splits": {
            split: {
                "images": len(source),
                "groups": len({row["group"] for row in fonts if row["split"] == split}),
                "families": len({row["family"] for row in fonts if row["split"] == split}),
                "fonts": sum(row["split"] == split for row in fonts),
            }
            for split, source in (("train", train), ("test", test))
        },
        "families": len({row["family"] for row in fonts}),
        "packages": len(content["archives"]),
        "packages_used": len({row["package"] for row in fonts}),
        "left_out": left_out,
        "licences": dict(Counter(row["licence"] for row in fonts).most_common()),
        "licence_sources": dict(Counter(row["licence_source"] for row in fonts)),
        "mean": round(float(train.images.mean() / 255), 4),
        "std": round(float(train.images.std() / 255), 4),
        "nearest_neighbour": {
            "top1": 100 * float((predicted == truth).mean()),
            "top1_ignoring_case": 100 * float((cases[predicted] == cases[truth]).mean()),
            "errors": int((predicted != truth).sum()),
            "confused": [[CHARACTERS[a] + CHARACTERS[b], count] for (a, b), count in pairs.most_common(CONFUSIONS)],
            "seconds": seconds,
        },
        "sha256": {path: digest for split in ("train", "test") for path, digest in read_list(manifest, split).items()},
        "made_with": content["made_with"],
        "environment": environment(),
    }


def nearest_labels(train: ArraySource, test: ArraySource) -> np.ndarray:
    """The label of the training picture that is nearest to each test picture, (N,) int64."""
    known = train.images.reshape(len(train), -1).astype(np.float32)
    lengths = (known.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    labels = train.read_labels()
    found = []
    for begin in range(0, len(test), BLOCK):
        asked = test.images[begin : begin + BLOCK].reshape(-1, known.shape[1]).astype(np.float32)
        found.append(labels[(lengths - 2 * (asked @ known.T)).argmin(axis=1)])
    return np.concatenate(found)


def draw(folder: Path, path: Path) -> None:
    """All characters of some fonts of the test part, two rows a font, the fonts spread over the part evenly."""
    images = open_source("glyphs", str(folder), "test").images.reshape(-1, len(CHARACTERS), 32, 32)
    chosen = images[np.linspace(0, len(images), SHEET_FONTS, endpoint=False).astype(int)]
    step = images.shape[-1] + GAP
    rows = SHEET_FONTS * len(CHARACTERS) // SHEET_COLUMNS
    sheet = np.full((rows * step + GAP, SHEET_COLUMNS * step + GAP), 70, np.uint8)
    for place, picture in enumerate(chosen.reshape(-1, 32, 32)):
        row, column = divmod(place, SHEET_COLUMNS)
        top, left = GAP + row * step, GAP + column * step
        sheet[top : top + 32, left : left + 32] = picture
    with replacing(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="png", optimize=True)


def block(record: dict[str, Any]) -> str:
    """The generated part of docs/glyphs.md."""
    sizes = [
        (split, *(f"{part[key]:,}" for key in ("images", "fonts", "families", "groups")))
        for split, part in record["splits"].items()
    ]
    left_out = [(f"`{rule}`", f"{record['left_out'][rule]:,}", RULES[rule]) for rule in RULES]
    nearest = record["nearest_neighbour"]
    pairs = ", ".join(f"{code(pair)} {count:,}" for pair, count in nearest["confused"])
    hashes = [(f"`{path}`", f"`{digest}`") for path, digest in record["sha256"].items()]
    made = ", ".join(f"{name} {version}" for name, version in record["made_with"].items())
    licences = ", ".join(f"{name} {count:,}" for name, count in list(record["licences"].items())[:6])
    return "\n\n".join(
        [
            markdown_table(
                ("part", "images", "fonts", "families", "groups"), sizes, ("images", "fonts", "families", "groups")
            ),
            f"{record['families']:,} families in all, from {record['packages_used']:,} of the {record['packages']:,} "
            f"packages. Mean {record['mean']} and standard deviation {record['std']} of the training pixels in [0, 1].",
            "Fonts that are left out, by the first rule that applies:\n\n"
            + markdown_table(("rule", "fonts", "meaning"), left_out, ("fonts",)),
            f"Licences of the fonts: {licences}; the rest are in `{FONTS}`. Those of "
            f"{record['licence_sources']['font']:,} fonts are read from the font's name table, those of "
            f"{record['licence_sources']['debian']:,} from Debian's copyright file.",
            f"A 1-nearest-neighbour classifier on the pixels reaches **{nearest['top1']:.2f} %** top-1, and "
            f"{nearest['top1_ignoring_case']:.2f} % if case is ignored. Of its {nearest['errors']:,} errors, these "
            f"pairs are the most frequent, in both directions together: {pairs}.",
            f"SHA-256 of the files, made with {made}:\n\n" + markdown_table(("file", "SHA-256"), hashes),
        ]
    )


def code(pair: str) -> str:
    """A pair of characters as code that Markdown shows as it is."""
    fence = "``" if "`" in pair else "`"
    pad = " " if "`" in pair else ""
    return f"{fence}{pad}{pair[0]} {pair[1]}{pad}{fence}"


def page() -> str:
    """docs/glyphs.md as it should be now."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return updated(PAGE.read_text(encoding="utf-8"), block(record), *MARKS)


def main() -> int:
    if "--measure" in sys.argv[1:]:
        place = sys.argv.index("--measure")
        folder = Path(sys.argv[place + 1])
        del sys.argv[place : place + 2]
        write_json(RECORD, measure(folder))
        draw(folder, PICTURE)
    return run_writer(PAGE, page, __doc__)


if __name__ == "__main__":
    sys.exit(main())
