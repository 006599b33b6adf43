"""Follow the objects that are painted in a mask of the first frame.

python examples/track_video.py [VIDEO FIRST_MASK] [-o FOLDER]
"""

import argparse
from pathlib import Path

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("video", nargs="?", default=DEMO / "demo.mp4")
parser.add_argument("first_mask", nargs="?", default=DEMO / "first_mask.png")
parser.add_argument("-o", "--output", default="rvos-out/track_video")
arguments = parser.parse_args()


def show(done: int, total: int | None) -> None:
    """Print the progress on one line."""
    print(f"\rframe {done} of {total or '?'}", end="", flush=True)


model = rvos.load_model("lite")
summary = model.track(
    arguments.video, first_mask=arguments.first_mask, output=arguments.output, force=True, progress=show
)

print()
for followed in summary.objects:
    print(f"object {followed.id}: seen in {followed.frames_seen} of {summary.frames} frames")
print(f"look at {summary.outputs['overlay']}")
