"""Draw your own overlay: the objects keep their colours, all else turns grey and dark.

python examples/spotlight.py [VIDEO] [-o FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", default=DEMO / "demo.mp4")
parser.add_argument("-o", "--output", type=Path, default=Path("rvos-out/spotlight"))
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

model = rvos.load_model("lite")
for frame in model.stream(arguments.video):
    grey = frame.image.mean(-1, keepdims=True) * 0.45
    lit = np.where(frame.labels[..., None] > 0, frame.image, grey).astype(np.uint8)
    Image.fromarray(lit).save(arguments.output / f"{frame.name}.jpg", quality=90)

print(f"look in {arguments.output}")
