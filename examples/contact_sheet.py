"""Lay frames of any video out on one picture, to see at a glance how an overlay went.

python examples/contact_sheet.py [VIDEO [SHEET]] [--frames 6] [--columns 3]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from rvos_cli.sources import open_source

DEMO = Path(__file__).parent / "demo"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", type=Path, default=DEMO / "demo.mp4")
parser.add_argument("sheet", nargs="?", type=Path, default=Path("rvos-out/sheet.jpg"))
parser.add_argument("--frames", type=int, default=6)
parser.add_argument("--columns", type=int, default=3)
parser.add_argument("--width", type=int, default=400)
arguments = parser.parse_args()

with open_source(arguments.video) as source:
    height = round(source.info.height * arguments.width / source.info.width)
    tiles = [Image.fromarray(frame.image).resize((arguments.width, height)) for frame in source]
chosen = [tiles[index] for index in np.linspace(0, len(tiles) - 1, arguments.frames).round().astype(int)]

rows = -(-len(chosen) // arguments.columns)
sheet = Image.new("RGB", (arguments.columns * arguments.width, rows * height))
for place, tile in enumerate(chosen):
    sheet.paste(tile, (place % arguments.columns * arguments.width, place // arguments.columns * height))
arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
sheet.save(arguments.sheet, quality=88)
print(arguments.sheet)
