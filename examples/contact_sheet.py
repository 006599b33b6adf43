"""Lay frames of any video out on one picture, to see at a glance how an overlay went.

python examples/contact_sheet.py rvos-out/demo/track/overlay.mp4 sheet.jpg [--frames 6] [--columns 3]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from rvos_cli.sources import open_source

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", type=Path)
parser.add_argument("sheet", type=Path)
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
sheet.save(arguments.sheet, quality=88)
print(arguments.sheet)
