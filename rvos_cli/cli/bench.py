"""``rvos bench``: how fast this machine is, network alone and from file to files."""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rvos_cli.segmenter import Segmenter

WARM_UP = 3  # the first frames pay for allocations and for the choice of kernels


def bench(
    input: Annotated[
        Path | None,
        typer.Argument(metavar="[INPUT]", help="A video, frame folder or image.", show_default="the demo clip"),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames to measure with the network alone.")] = 30,
    weights: options.Weights = DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    size: options.Size = None,
    max_objects: options.MaxObjects = InferenceOptions.max_objects,
    half: options.Half = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure seconds per frame: network alone (frames in memory), and end to end (file in, all outputs written)."""
    from rvos_cli.cli.demo import demo_files

    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    model = talk.load(weights, device=device, half=half)
    path, mask = demo_files() if input is None else (input, None)
    if not model.config.can_track or mask is None:
        mask = None
    result: dict[str, Any] = {
        "input": str(path),
        "mode": "segment" if mask is None else "track",
        "device": model.device_reason,
        "weights": {"name": model.name, "sha256": model.sha256},
        "network": measure_network(model, path, mask, frames=frames, size=size, max_objects=max_objects),
        "end_to_end": measure_whole(model, path, mask, size=size, max_objects=max_objects, talk=talk),
    }
    for name in ("network", "end_to_end"):
        values = result[name]
        talk.data(
            f"{name.replace('_', ' ')}: {values['seconds_per_frame'] * 1000:.1f} ms a frame, "
            f"{1 / values['seconds_per_frame']:.1f} frames/s ({values['frames']} frames, {values['objects']} objects)"
        )
    talk.document(result)


def measure_network(
    model: Segmenter, path: Path, mask: Path | None, *, frames: int, size: int | None, max_objects: int
) -> dict[str, Any]:
    """Return the median time between two results, the frames being in memory already; the first few do not count."""
    from rvos_cli.sources import open_source

    with open_source(path) as source:
        images: list[NDArray[np.uint8]] = [frame.image for frame in itertools.islice(source, frames + WARM_UP)]
    images = list(itertools.islice(itertools.cycle(images), frames + WARM_UP))
    times, ids, last = [], set(), time.perf_counter()
    for result in model.stream(images, first_mask=mask, size=size, max_objects=max_objects):
        now = time.perf_counter()
        times.append(now - last)
        ids |= set(result.labels[::4, ::4].ravel().tolist()) - {0}
        last = time.perf_counter()
    measured = times[WARM_UP:]
    return {
        "seconds_per_frame": statistics.median(measured),
        "slowest": max(measured),
        "frames": len(measured),
        "objects": len(ids),
    }


def measure_whole(
    model: Segmenter, path: Path, mask: Path | None, *, size: int | None, max_objects: int, talk: Talk
) -> dict[str, Any]:
    """Return the mean time per frame of a whole run that writes every output to a folder that is removed again."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="rvos-bench-") as folder, talk.progress(path.name) as report:
        if mask is None:
            summary = model.segment(
                path, output=Path(folder) / "out", size=size, max_objects=max_objects, progress=report
            )
        else:
            summary = model.track(path, first_mask=mask, output=Path(folder) / "out", size=size, progress=report)
    return {
        "seconds_per_frame": summary.seconds / summary.frames,
        "frames": summary.frames,
        "objects": len(summary.objects),
    }
