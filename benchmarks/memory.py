"""Peak memory against the number of frames: it must not grow.

    python benchmarks/memory.py [--frames 1000 10000] [--weights lite] [--task segment] [--size 64]

Enters: nothing; the video, with sound, is made by ffmpeg. Leaves: a Markdown table on stdout; exit code 1 if the last
run's peak is more than ``--limit`` percent above the first one's. Each run is a process of its own that writes
everything: overlay, masks, object masks and summary. ``--weights none`` leaves the network out, to look at reading,
painting and writing alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PICTURE = "testsrc2=size={width}x{height}:rate=25,format=yuv420p"  # patterns and squares that move


def make_video(path: Path, frames: int, height: int, width: int) -> None:
    """Write a video of *frames* frames at 25 a second with a tone."""
    import imageio_ffmpeg

    seconds = str(frames / 25)
    sources = ["-f", "lavfi", "-i", PICTURE.format(width=width, height=height), "-f", "lavfi", "-i", "sine=440"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-c:a", "aac"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, "-t", seconds, *codecs, "-y", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def measure(video: Path, output: Path, weights: str, task: str, size: int | None) -> dict[str, Any]:
    """Process *video* in this process and return its frames, seconds and peak memory in MiB."""
    start = time.perf_counter()
    if weights == "none":
        frames = without_network(video, output)
    else:
        import numpy as np

        import rvos_cli as rvos
        from rvos_cli.sources import open_source

        model = rvos.load_model(weights)
        if task == "segment":
            frames = model.segment(video, output=output, size=size).frames
        else:
            with open_source(video) as source:
                mask = np.zeros((source.info.height, source.info.width), np.uint8)
            height, width = mask.shape
            mask[height // 4 : height // 2, width // 4 : width // 2] = 1
            mask[height // 2 : height * 3 // 4, width // 2 : width * 3 // 4] = 2
            frames = model.track(video, first_mask=mask, output=output, size=size).frames
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on a Mac
    return {"frames": frames, "seconds": seconds, "peak": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)}


def report(video: Path, output: Path, options: argparse.Namespace) -> int:
    """Print what ``measure`` finds as JSON, or the one line of what went wrong."""
    from rvos_cli.errors import RvosError

    try:
        print(json.dumps(measure(video, output, options.weights, options.task, options.size)))
    except RvosError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def without_network(video: Path, output: Path) -> int:
    """Send *video* through the pipeline; what is red is object 1, what is blue object 2."""
    from contextlib import ExitStack

    import numpy as np
    from numpy.typing import NDArray

    from rvos_cli.pipeline import run, with_labels
    from rvos_cli.results import FrameMasks
    from rvos_cli.sinks import MaskFolder, ObjectFolders, OverlayVideo, Sink
    from rvos_cli.sources import Frame, open_source

    def follow(frames: Iterator[Frame]) -> Iterator[FrameMasks]:
        for frame in frames:
            yield with_labels(frame, labels_of(frame))
            del frame

    def labels_of(frame: Frame) -> NDArray[np.uint8]:
        red, green, blue = (frame.image[..., channel] >> 7 for channel in range(3))
        labels: NDArray[np.uint8] = np.where(red > green, 1, np.where(blue > green, 2, 0)).astype(np.uint8)
        return labels

    with open_source(video) as source, ExitStack() as stack:
        sinks: list[Sink] = [
            OverlayVideo(output / "overlay.mp4", source.info),
            MaskFolder(output / "masks"),
            ObjectFolders(output / "objects"),
        ]
        for sink in sinks:
            stack.enter_context(sink)
        return run(source, follow, sinks)


def main() -> int:
    """Measure each number of frames in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--weights", default="lite", help="a name or path; none leaves the network out")
    parser.add_argument("--task", choices=["segment", "track"], default="segment")
    parser.add_argument("--size", type=int, default=None, help="network short side in pixels")
    parser.add_argument("--video-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), default=[96, 128])
    parser.add_argument("--limit", type=float, default=5.0, help="percent by which the peak may grow")
    parser.add_argument("--measure", nargs=2, type=Path, metavar=("VIDEO", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        video, output = options.measure
        return report(video, output, options)
    print(f"{datetime.now(timezone.utc):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}")
    print(
        f"`python {shlex.join(sys.argv)}`\n\n| frames | peak MiB | against the first | seconds |\n|---:|---:|---:|---:|"
    )
    passed = ["--weights", options.weights, "--task", options.task]
    passed += ["--size", str(options.size)] if options.size else []
    peaks: list[float] = []
    for frames in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            video, output = Path(folder, "video.mp4"), Path(folder, "out")
            make_video(video, frames, *options.video_size)
            command = [sys.executable, __file__, *passed, "--measure", str(video), str(output)]
            done = subprocess.run(command, stdout=subprocess.PIPE)
            if done.returncode:  # it has told why
                return done.returncode
            result = json.loads(done.stdout)
        peaks.append(result["peak"])
        growth = (peaks[-1] / peaks[0] - 1) * 100
        print(f"| {result['frames']} | {peaks[-1]:.1f} | {growth:+.1f}% | {result['seconds']:.1f} |", flush=True)
    return int(peaks[-1] > peaks[0] * (1 + options.limit / 100))


if __name__ == "__main__":
    sys.exit(main())
