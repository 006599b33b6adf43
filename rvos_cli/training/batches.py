"""Which clips a step sees, in this process: a step's number enters, batches of clips leave.

The clips of a step are numbered on through all processes, so that N processes with batches of B see together what one
process with batches of N * B sees.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rvos_cli.errors import RvosError
from rvos_cli.threads import cores
from rvos_cli.training import processes
from rvos_cli.training.datasets import ClipBatch, ClipSample, collate
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions

MOST_WORKERS = 16  # each holds up to a gigabyte
BATCHES_AHEAD = 8  # or two a worker; they lie in memory that containers are often short of
DEAD_WORKER = "DataLoader worker "  # how torch begins to tell of one


def own_clips(recipe: Recipe, step: int, part: int = 0) -> list[int]:
    """Return the numbers of this process's clips in *part* (0 .. accumulate - 1) of *step*."""
    batch = step * recipe.accumulate + part
    start = (batch * processes.count() + processes.rank()) * recipe.batch
    return list(range(start, start + recipe.batch))


def draws_of(recipe: Recipe, clips: list[int]) -> list[torch.Generator]:
    """Return a source of random numbers for each clip: they depend on its number, not on which clips are beside it."""
    seeds = [int(np.random.SeedSequence([recipe.seed, clip]).generate_state(1)[0]) for clip in clips]
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def batches_from(options: TrainOptions, step: int, device: torch.device) -> Generator[dict[str, Tensor], None, None]:
    """Yield this process's batches from *step* on, *accumulate* of them a step.

    Its worker processes end with it, so close it: Python waits for them at its own end.
    """
    recipe, workers = options.recipe, clip_workers(options, device)
    while True:
        stage = recipe.stage(step)
        end = step + 1
        while end < recipe.steps and recipe.stage(end) == stage:
            end += 1
        loader = DataLoader(
            _Told(clip_dataset(options, stage)),
            batch_sampler=[own_clips(recipe, s, part) for s in range(step, end) for part in range(recipe.accumulate)],
            num_workers=workers,
            collate_fn=_collate_told,
            worker_init_fn=_leave_signals_to_the_run,
            prefetch_factor=max(2, BATCHES_AHEAD // workers) if workers else None,
            pin_memory=device.type == "cuda",  # so that a batch travels beside what is computed
        )
        try:
            for batch in loader:
                if isinstance(batch, RvosError):
                    raise batch
                yield batch
        except Exception as error:
            # torch's frames hold the workers as long as somebody holds the error, and the error itself, too.
            traceback.clear_frames(error.__traceback__)
            raise
        step = end


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Give the death of a worker a name; torch raises it wherever the run is at that moment, not only in a batch.

    Raises:
        RvosError: a worker died in the block.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(DEAD_WORKER):
            raise
        raise RvosError(
            f"a process that makes clips was killed ({str(error).removeprefix(DEAD_WORKER).strip(' .')})",
            cure="was memory short? give fewer --workers; the same command goes on from the last checkpoint",
        ) from error


def clip_workers(options: TrainOptions, device: torch.device) -> int:
    """Return how many processes make this process's clips: those asked for, or as many as keep *device* busy.

    A network on a CPU learns longer from a clip than a core takes to make it. One on a GPU may not, and it leaves the
    cores alone: there each has a process, but for one that drives the GPU. A run's processes share a machine's cores.
    """
    if options.workers is not None:
        return options.workers
    return max(1, min(MOST_WORKERS, cores() // processes.count_here() - 1)) if device.type == "cuda" else 1


def clip_dataset(options: TrainOptions, stage: Stage) -> Dataset[ClipSample]:
    """Return the clips of a stage."""
    return options.recipe.clips(options, stage)


class _Told(Dataset[ClipSample | RvosError]):
    """Clips, or why there is none: what is raised in a worker arrives as a page with all that led to it."""

    def __init__(self, clips: Dataset[ClipSample]) -> None:
        self._clips = clips

    def __getitem__(self, index: int) -> ClipSample | RvosError:
        try:
            return self._clips[index]
        except RvosError as error:
            return error


def _collate_told(samples: Sequence[ClipSample | RvosError]) -> ClipBatch | RvosError:
    clips = []
    for sample in samples:
        if isinstance(sample, RvosError):
            return sample
        clips.append(sample)
    return collate(clips)


def _leave_signals_to_the_run(worker: int) -> None:
    # Ctrl-C and kill reach the workers too; were they to die of it, the run could not end its step and save.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
