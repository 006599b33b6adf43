"""Put the objects of a video before a green screen, ready for any video editor.

python examples/green_screen.py [VIDEO FIRST_MASK] [-o FILE]
"""

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"
GREEN, CLOCK = (0, 177, 64), Fraction(1, 90000)  # the times of usual videos are whole numbers of this clock's ticks

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", default=DEMO / "demo.mp4")
parser.add_argument("first_mask", nargs="?", default=DEMO / "first_mask.png")
parser.add_argument("-o", "--output", type=Path, default=Path("rvos-out/green_screen.mp4"))
arguments = parser.parse_args()
arguments.output.parent.mkdir(parents=True, exist_ok=True)

model = rvos.load_model("lite")
with av.open(str(arguments.output), "w") as out:
    for frame in model.stream(arguments.video, first_mask=arguments.first_mask):
        height, width = (side // 2 * 2 for side in frame.labels.shape)  # H.264 wants even sides
        image = np.where(frame.labels[..., None] > 0, frame.image, np.uint8(GREEN))[:height, :width]
        if frame.index == 0:  # without B-frames (bf) each time stands in the file as it is
            stream = out.add_stream("libx264", rate=1 / (frame.duration or Fraction(1, 25)), options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = CLOCK
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts, picture.time_base = round(frame.time / CLOCK), CLOCK
        out.mux(stream.encode(picture))
    out.mux(stream.encode())

print(f"look at {arguments.output}")
