"""Follow the objects in boxes of the first frame, as a detector returns them.

python examples/track_boxes.py [VIDEO LEFT,TOP,RIGHT,BOTTOM ...] [-o FOLDER]
"""

import argparse
from pathlib import Path

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"
DETECTIONS = ["366,186,606,282", "38,110,130,176", "208,48,307,99"]  # what a detector may say of the demo clip

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", default=DEMO / "demo.mp4")
parser.add_argument("boxes", nargs="*", default=DETECTIONS)
parser.add_argument("-o", "--output", default="rvos-out/track_boxes")
arguments = parser.parse_args()

model = rvos.load_model("lite")
boxes = [[float(side) for side in box.split(",")] for box in arguments.boxes]
summary = model.track(arguments.video, first_boxes=boxes, output=arguments.output, force=True)

for followed in summary.objects:
    print(f"object {followed.id}: seen in {followed.frames_seen} of {summary.frames} frames")
print(f"look at {summary.outputs['overlay']}")
