"""Cut one object out of a video: a PNG with a transparent background for every frame that shows it.

python examples/cut_out.py [VIDEO FIRST_MASK] [--object ID] [-o FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", default=DEMO / "demo.mp4")
parser.add_argument("first_mask", nargs="?", default=DEMO / "first_mask.png")
parser.add_argument("--object", type=int, default=1)
parser.add_argument("-o", "--output", type=Path, default=Path("rvos-out/cut_out"))
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

model = rvos.load_model("lite")
for frame in model.stream(arguments.video, first_mask=arguments.first_mask):
    mask = frame.labels == arguments.object
    if mask.any():
        alpha = Image.fromarray(np.uint8(mask) * 255).filter(ImageFilter.GaussianBlur(1))  # a soft edge looks real
        picture = Image.fromarray(frame.image)
        picture.putalpha(alpha)
        picture.save(arguments.output / f"{frame.name}.png")

print(f"look in {arguments.output}")
