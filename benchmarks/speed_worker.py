"""One process of ``speed.py`` that runs programs frame by frame, as it is told.

Each program that is compared lives in such a process of its own and rests while another is measured, so that none
inherits another's threads, settings or memory.

Enters: JSON commands, a line each, on stdin. Leaves: JSON answers, a line each, on what was stdout; whatever else a
program prints goes to stderr.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 480, 854
MOST_FRAMES, MOST_OBJECTS, COMMAND_OBJECTS = 125, 10, 3
FRAMES, MASKS, VIDEO, FIRST_MASK, PUBLISHED = (
    "frames.npy",
    "masks.npy",
    "video.mp4",
    "first_mask.png",
    "published.safetensors",
)
ENOUGH = 2000  # frames, more than any run takes; no copies are made of them
SETTLED = 18  # frames after which lite's memory is as large as it gets
PEERS = {"cutie": "rf-cutie", "sam2": "rf-sam-2"}


class Worker:
    """Answers the commands; a program that was opened is a stream of label maps, one a frame."""

    def __init__(self, folder: Path, device: str) -> None:
        """Work with the frames and masks of *folder*."""
        import torch

        self.folder = folder
        self.device = torch.device(device)
        self.streams: dict[str, Iterator[Any]] = {}
        self._models: dict[str, Any] = {}

    def prepare(self, frames: str | None, length: int) -> dict[str, Any]:
        """Write frames, masks, a video of *length* frames with its first mask, and random published weights."""
        images, mask = _read(frames)
        order = itertools.islice(_to_and_fro(len(images)), length)
        _write_video(self.folder / VIDEO, (images[index] for index in order), length)
        np.save(self.folder / FRAMES, images)
        masks = np.stack([_with_objects(mask, count) for count in range(1, MOST_OBJECTS + 1)])
        np.save(self.folder / MASKS, masks)
        from rvos_cli.masks import write_indexed_png

        write_indexed_png(self.folder / FIRST_MASK, masks[COMMAND_OBJECTS - 1])
        _write_published(self.folder / PUBLISHED)
        return {"frames": len(images)}

    def open(
        self, key: str, program: str, objects: int, size: int | None = None, length: int | None = None
    ) -> dict[str, Any]:
        """Start a program on the frames with a first mask of *objects* objects, and run its first frame."""
        frames = np.load(self.folder / FRAMES)
        mask = np.load(self.folder / MASKS)[objects - 1]
        moving = (frames[index] for index in _to_and_fro(len(frames)))
        if program in PEERS:
            import peers

            part = np.stack(list(itertools.islice(moving, length)))
            stream = getattr(peers, program)(part, mask, self.device)
        elif program == "schedule":
            import published_schedule

            network = published_schedule.PublishedSchedule().to(self.device).eval()
            stream = published_schedule.stream(moving, mask, self.device, network)
        else:
            # A list is all there, like a file: each frame may be read before the one before it is done.
            stream = self._model(program).stream(list(itertools.islice(moving, ENOUGH)), first_mask=mask, size=size)
        try:
            next(stream)
        except ImportError as error:
            return {"absent": f"{PEERS.get(program, program)} is not installed ({error})"}
        self.streams[key] = stream
        return {"version": _version(PEERS[program])} if program in PEERS else {}

    def take(self, key: str, frames: int) -> dict[str, Any]:
        """Run *frames* frames of a program and return the seconds of each; all but the last may be short or long."""
        times = []
        self._wait()
        for last in range(1, frames + 1):
            start = time.perf_counter()
            next(self.streams[key])
            if last == frames:
                self._wait()
            times.append(time.perf_counter() - start)
        return {"seconds": times}

    def close(self, key: str) -> dict[str, Any]:
        """Forget a program's stream."""
        self.streams.pop(key).close()  # type: ignore[attr-defined]
        return {}

    def floor(self, objects: int) -> dict[str, Any]:
        """Count the operations and bytes of lite's step when its memory is full, and measure the machine's rates."""
        import floor

        from rvos_cli.device import choose_dtype
        from rvos_cli.session import Session
        from rvos_cli.weights import build_model, load_weights

        frames, masks = np.load(self.folder / FRAMES), np.load(self.folder / MASKS)
        dtype = choose_dtype(self.device, None)
        network = build_model(load_weights("lite"), self.device)
        session = Session(network, device=self.device, dtype=dtype, first_mask=masks[objects - 1])
        order = _to_and_fro(len(frames))
        for index in itertools.islice(order, SETTLED):
            session.step(frames[index])
        last = frames[next(order)]
        return floor.floor(lambda: session.step(last), self.device, dtype)

    def memory(self) -> dict[str, Any]:
        """Return the most bytes that were held on a GPU so far."""
        import torch

        return {"bytes": torch.cuda.max_memory_reserved(self.device)}

    def machine(self) -> dict[str, Any]:
        """Return what the figures depend on: versions, threads, precision, the device's name."""
        import torch

        from rvos_cli.device import choose_dtype

        names = ("torch", "torchvision", "av", "numpy")
        cuda = self.device.type == "cuda"
        return {
            "python": sys.version.split()[0],
            "versions": {name: _version(name) for name in names},
            "rvos": __import__("rvos_cli").__version__,
            "precision": str(choose_dtype(self.device, None)).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(self.device) if cuda else None,
            "cuda": torch.version.cuda if cuda else None,
            "weights": self._model("lite").sha256[:8],
        }

    def _model(self, program: str) -> Any:
        import rvos_cli

        if program not in self._models:
            name = "lite" if program == "lite" else self.folder / PUBLISHED
            # Compiled from the first frame on, as a video is after a while: a turn measures how it goes on.
            self._models[program] = rvos_cli.load_model(name, device=str(self.device), compiled=True)
        return self._models[program]

    def _wait(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _to_and_fro(count: int) -> Iterator[int]:
    """Yield 0, 1, ..., count - 1, count - 2, ..., 1, 0, 1, ... without end: a film without a cut."""
    return itertools.cycle([*range(count), *range(count - 2, 0, -1)])


def _read(folder: str | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return at most 125 frames (N, 480, 854, 3) and a first mask, of the demo clip or of a folder or video."""
    from PIL import Image

    from rvos_cli.benchmarking import some_objects
    from rvos_cli.cli.demo import demo_files
    from rvos_cli.masks import read_labels
    from rvos_cli.sources import open_source

    clip, mask = demo_files() if folder is None else (Path(folder), None)
    with open_source(clip) as source:
        pictures = [Image.fromarray(frame.image) for frame in itertools.islice(source, MOST_FRAMES)]
    images = np.stack([np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) for picture in pictures])
    if mask is None:
        return images, some_objects((HEIGHT, WIDTH), COMMAND_OBJECTS)
    labels = Image.fromarray(read_labels(mask)).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
    return images, np.asarray(labels)


def _with_objects(mask: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return *mask* with *count* objects: its own first ones, made-up ones beneath them if it has too few."""
    from rvos_cli.benchmarking import some_objects

    own = np.where(mask <= count, mask, 0).astype(np.uint8)
    beneath = some_objects((HEIGHT, WIDTH), count)
    return np.where(own > 0, own, np.where(beneath > mask.max(), beneath, 0)).astype(np.uint8)


def _write_video(path: Path, images: Iterator[NDArray[np.uint8]], length: int) -> None:
    from fractions import Fraction

    from rvos_cli.results import FrameMasks
    from rvos_cli.sinks import OverlayVideo
    from rvos_cli.sources import SourceInfo

    info = SourceInfo(
        name="frames",
        stem="frames",
        kind="arrays",
        height=HEIGHT,
        width=WIDTH,
        frames=length,
        rate=Fraction(25),
        audio=False,
        path=None,
    )
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
    with OverlayVideo(path, info) as video:
        for index, image in enumerate(images):
            video.write(FrameMasks(index=index, time=Fraction(index, 25), name="", image=image, labels=nothing))


def _write_published(path: Path) -> None:
    import published_schedule
    import torch

    from rvos_cli.published import Checkpoint, convert
    from rvos_cli.weights import save_weights

    torch.manual_seed(0)
    network = published_schedule.PublishedSchedule()
    states = (network.encoder.state_dict(), network.decoder.state_dict())
    save_weights(path, *convert(Checkpoint(*states, dict(published_schedule.ARGUMENTS))))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def serve(worker: Worker, answers: Callable[[Mapping[str, Any]], None]) -> None:
    """Carry out the commands of stdin until it ends; a failure is an answer, too."""
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("do"))(**command)
        except Exception as error:
            if os.environ.get("RVOS_DEBUG") == "1":
                raise
            answer = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        answers(answer)


def main() -> None:
    """Serve; stdout is kept for the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("device")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as out:
        os.dup2(2, 1)
        serve(Worker(options.folder, options.device), lambda answer: print(json.dumps(answer), file=out, flush=True))


if __name__ == "__main__":
    main()
