"""Where the time of a frame goes: the same work as a run's, but one stage after the other, each with a stopwatch.

Enters: a ``Segmenter`` and a ``Job``. Leaves: seconds per frame of each stage. The functions of a frame's way are
wrapped while this measures and are as before afterwards; a run of the program carries no trace of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rvos_cli import session, sight, trackers
from rvos_cli.benchmarking.runs import WARM_UP, Job, synchronise
from rvos_cli.model import RVOS
from rvos_cli.model.graphed import GraphedRVOS
from rvos_cli.model.matching import MatchingCue
from rvos_cli.results import FrameMasks
from rvos_cli.segmenter import Segmenter
from rvos_cli.sinks import MaskFolder, ObjectFolders, OverlayVideo, Sink
from rvos_cli.sinks import video as overlay_video
from rvos_cli.sources import NOMINAL_RATE, SourceInfo, open_source

# In the order of a frame's way. 'other' is what the network's part takes beside these: who is who, what is remembered.
STAGES = (
    "decode",
    "preprocess",
    "encode",
    "matching",
    "decode slots",
    "postprocess",
    "other",
    "overlay",
    "write",
)
# What is watched: owner, name, stage. A stage within another is counted for itself alone, unless a GPU's graphs hold
# both: there matching is a part of 'decode slots', and 'preprocess' of 'encode'.
_WATCHED: tuple[tuple[Any, str, str], ...] = (
    (session, "frame_tensor", "preprocess"),
    (trackers, "mask_tensor", "preprocess"),
    (RVOS, "encode", "encode"),
    (GraphedRVOS, "encode_pictures", "encode"),
    (RVOS, "decode", "decode slots"),
    (GraphedRVOS, "decode", "decode slots"),
    (MatchingCue, "keys", "matching"),
    (MatchingCue, "forward", "matching"),
    (sight, "label_map", "postprocess"),
    (sight.LookOnGPU, "__call__", "postprocess"),
    (overlay_video, "blend", "overlay"),
)


class StageClock:
    """Adds up the seconds of stages that follow or enclose each other; an enclosed stage's do not count twice."""

    def __init__(self, device: torch.device) -> None:
        """Start at nothing; *device* is waited for at every change of stage."""
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._device = device
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Count the time of the block for *stage*."""
        self._settle()
        self._open.append(stage)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def _settle(self) -> None:
        """Give the time since the last change to the innermost stage."""
        synchronise(self._device)
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def watching(self, owner: Any, name: str, stage: str) -> Iterator[None]:
        """Count every call of ``owner.name`` for *stage* while the block runs."""
        original: Callable[..., Any] = vars(owner)[name]

        def watched(*arguments: Any, **options: Any) -> Any:
            with self.within(stage):
                return original(*arguments, **options)

        setattr(owner, name, watched)
        try:
            yield
        finally:
            setattr(owner, name, original)


def measure_stages(model: Segmenter, job: Job) -> dict[str, float]:
    """Return the seconds per frame of each of ``STAGES``; what the network lacks, or a job never does, takes 0.

    Nothing runs at the same time here, as it does in ``pipeline``, and frames are encoded one by one: the sum is the
    work, not the time, of a run.
    """
    clock = StageClock(model.device)
    with ExitStack() as stack:
        for owner, name, stage in _WATCHED:
            stack.enter_context(clock.watching(owner, name, stage))
        results = _through_the_network(model, job, clock)
        with open_source(job.input) as source:
            _into_files(results, source.info, clock)
    return {stage: clock.seconds[stage] / len(results) for stage in STAGES}


def _through_the_network(model: Segmenter, job: Job, clock: StageClock) -> list[FrameMasks]:
    def decoded() -> Iterator[NDArray[np.uint8]]:
        images = job.images()
        while True:
            with clock.within("decode"):
                image = next(images, None)
            if image is None:
                return
            yield image

    stream = model.stream(decoded(), first_mask=job.mask, size=job.size, max_objects=job.max_objects)
    results: list[FrameMasks] = []
    for index in range(job.frames + WARM_UP):
        if index == WARM_UP:
            clock.seconds = dict.fromkeys(STAGES, 0.0)
        with clock.within("other"):
            result = next(stream, None)
        if result is None:
            break
        if index >= WARM_UP:
            place = len(results)
            moment = Fraction(place) / NOMINAL_RATE
            results.append(
                FrameMasks(index=place, time=moment, name=f"{place:05d}", image=result.image, labels=result.labels)
            )
    return results


def _into_files(results: list[FrameMasks], info: SourceInfo, clock: StageClock) -> None:
    """Write all *results*, one kind of output after the other, since each has threads of its own."""
    silent = SourceInfo(
        name="frames",
        stem="frames",
        kind="arrays",
        height=info.height,
        width=info.width,
        frames=len(results),
        rate=info.rate,
        audio=False,
        path=None,
    )
    with TemporaryDirectory(prefix="rvos-bench-") as folder, clock.within("write"):
        openers: tuple[Callable[[], Sink], ...] = (
            lambda: OverlayVideo(Path(folder) / "overlay.mp4", silent),
            lambda: MaskFolder(Path(folder) / "masks"),
            lambda: ObjectFolders(Path(folder) / "objects"),
        )
        for opened in openers:
            with opened() as sink:
                for result in results:
                    sink.write(result)
