"""Find the objects of a video, with no mask and no click, and say what was found.

python examples/segment_video.py [VIDEO] [-o FOLDER]
"""

import argparse
from pathlib import Path

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", default=DEMO / "demo.mp4")
parser.add_argument("-o", "--output", default="rvos-out/segment_video")
arguments = parser.parse_args()

model = rvos.load_model("lite")
summary = model.segment(arguments.video, output=arguments.output, force=True)

print(f"{summary.frames} frames, {len(summary.objects)} objects, {summary.frames_per_second:.1f} frames per second")
for found in summary.objects:
    print(f"object {found.id}: frames {found.first_frame} to {found.last_frame}, {found.mean_area:.0f} pixels")
print(f"look at {summary.outputs['overlay']}")
