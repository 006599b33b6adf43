"""One model on one video: the network with its frames in memory, and a whole run that writes everything.

Enters: a ``Segmenter`` and a ``Job``. Leaves: seconds per frame as plain values. Nothing is left on the disk.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rvos_cli.config import InferenceOptions
from rvos_cli.given_masks import Mask
from rvos_cli.segmenter import Progress, Segmenter
from rvos_cli.session import FRAMES_MEANWHILE
from rvos_cli.sources import open_source

WARM_UP = FRAMES_MEANWHILE + 2  # the first frames pay for allocations, the choice of kernels, and for compiling
BLOCKS = 5


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is measured.

    Args:
        input: a video, a folder of images or an image.
        mask: the first mask; None lets the network find the objects.
        frames: to measure with, after the warm-up; a shorter input is played again from its start.
        size: network short side in pixels; None takes the weights' own.
        max_objects: most objects to follow where no mask is given.
    """

    input: Path
    mask: Mask | None = None
    frames: int = 30
    size: int | None = None
    max_objects: int = InferenceOptions.max_objects

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Decode the frames one after the other, warm-up included, again from the start where the input is short.

        Raises:
            InputError: the input cannot be read.
        """
        missing = self.frames + WARM_UP
        while missing > 0:
            before = missing
            with open_source(self.input) as source:
                for frame in itertools.islice(source, missing):
                    yield frame.image
                    missing -= 1
            if missing == before:  # a file without a frame, which opening it does not always tell
                return


def some_objects(shape: tuple[int, int], count: int) -> NDArray[np.uint8]:
    """Return a made-up first mask (H, W) uint8: *count* ellipses, 1..254, in rows and columns, numbered from 1."""
    height, width = shape
    columns = math.ceil(math.sqrt(count * width / height))
    rows = math.ceil(count / columns)
    row, y = np.divmod((np.arange(height) + 0.5) * rows / height, 1)
    column, x = np.divmod((np.arange(width) + 0.5) * columns / width, 1)
    inside = (y[:, None] - 0.5) ** 2 + (x[None, :] - 0.5) ** 2 < 0.4**2
    number = row[:, None] * columns + column[None, :] + 1
    return np.where(inside & (number <= count), number, 0).astype(np.uint8)


def measure_network(model: Segmenter, job: Job) -> dict[str, Any]:
    """Measure the way from a frame in memory to its label map.

    Returns:
        ``seconds_per_frame``: the median of the means of five blocks of frames, since frames that are computed
        together also come together; ``slowest``: the longest wait for one frame; ``frames``; ``objects``.
    """
    images = list(job.images())
    times: list[float] = []
    ids: set[int] = set()
    last = time.perf_counter()
    whole = _as_many_as_in(job.input, images)
    stream = model.stream(whole, first_mask=job.mask, size=job.size, max_objects=job.max_objects)
    for result in itertools.islice(stream, len(images)):
        now = time.perf_counter()
        times.append(now - last)
        ids |= set(result.labels[::4, ::4].ravel().tolist()) - {0}
        last = time.perf_counter()
    measured = times[WARM_UP:]
    return {
        "seconds_per_frame": statistics.median(statistics.fmean(block) for block in _blocks(measured)),
        "slowest": max(measured),
        "frames": len(measured),
        "objects": len(ids),
    }


def _as_many_as_in(input: Path, images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Repeat *images* until there are as many as in the input: what pays for the whole of it is done for them, too."""
    with open_source(input) as source:
        frames = source.info.frames or 0
    return images * max(1, math.ceil(frames / max(1, len(images))))


def measure_whole(model: Segmenter, job: Job, progress: Progress) -> dict[str, Any]:
    """Measure a whole run over the input, from opening it until everything is written, in a folder that goes again.

    Returns:
        ``seconds_per_frame``: the mean, with opening and closing; ``frames``; ``objects``.
    """
    with TemporaryDirectory(prefix="rvos-bench-") as folder:
        output = Path(folder) / "out"
        start = time.perf_counter()
        if job.mask is None:
            summary = model.segment(
                job.input, output=output, size=job.size, max_objects=job.max_objects, progress=progress
            )
        else:
            summary = model.track(job.input, first_mask=job.mask, output=output, size=job.size, progress=progress)
        seconds = time.perf_counter() - start
    return {
        "seconds_per_frame": seconds / summary.frames,
        "frames": summary.frames,
        "objects": len(summary.objects),
    }


def synchronise(device: torch.device) -> None:
    """Wait until *device* has done all it was asked to; while a CUDA graph is recorded there is nothing to wait for."""
    if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _blocks(times: list[float]) -> Iterator[list[float]]:
    """Cut *times* into as many as five runs of frames that follow each other."""
    edges = [round(index * len(times) / BLOCKS) for index in range(BLOCKS + 1)]
    return (times[first:last] for first, last in itertools.pairwise(edges) if last > first)
