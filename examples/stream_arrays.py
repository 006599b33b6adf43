"""Segment frames that come from your own code as arrays, one at a time, and count the objects of each.

Here the frames come out of PyAV; a camera, a renderer or a simulator does as well, and the stream may be endless:
memory does not grow.

python examples/stream_arrays.py [VIDEO]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

import rvos_cli as rvos

DEMO = Path(__file__).parent / "demo"


def frames(path: str) -> Iterator[np.ndarray]:
    """Yield every second frame as an (H, W, 3) uint8 RGB array."""
    with av.open(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % 2 == 0:
                yield frame.to_ndarray(format="rgb24")


video = sys.argv[1] if len(sys.argv) > 1 else str(DEMO / "demo.mp4")
model = rvos.load_model("lite")

for frame in model.stream(frames(video), max_objects=5):
    ids = np.setdiff1d(frame.labels, 0)
    share = np.mean(frame.labels > 0)
    print(f"frame {frame.index}: {len(ids)} objects {ids.tolist()}, {share:.0%} of the picture")
