"""The training run: options enter; a checkpoint, logs and weights leave.

One process, or as many as ``torchrun`` starts; the first one writes. A run that is stopped, by a signal or a crash,
goes on from its last checkpoint when it is started again with the same output folder.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import torch

from rvos_cli.training import processes
from rvos_cli.training.batches import batches_from, clip_dataset, naming_dead_workers
from rvos_cli.training.checkpoint import AverageWeights, RunState, load_checkpoint, save_checkpoint
from rvos_cli.training.run_options import TrainOptions
from rvos_cli.training.shared_norm import share_norms
from rvos_cli.training.start import (
    all_divided,
    divide_first,
    doubt_about_start,
    first_network,
    make_optimizer,
    network_again,
)
from rvos_cli.training.step import StepReport, TrainingDivergedError, train_step
from rvos_cli.training.training_log import TrainingLog
from rvos_cli.training.validation import BEST, Validation, ValidationReport, held_out_sequences
from rvos_cli.weights import save_weights

__all__ = ["StepReport", "TrainResult", "TrainingDivergedError", "train"]

CHECKPOINT, WEIGHTS = "checkpoint.pt", "weights.safetensors"
_GO_ON, _STOP, _ENOUGH = range(3)


@dataclass(frozen=True)
class TrainResult:
    """Where a run stands.

    Attributes:
        step: steps done.
        finished: whether the run is over: all steps are done, or patience is at its end.
        early: whether it is over because of the latter.
        interrupted: whether Ctrl-C stopped it before its end.
        weights: the weights file (running average).
        best: that of the best validation; None without one.
    """

    step: int
    finished: bool
    early: bool
    interrupted: bool
    weights: Path
    best: Path | None


def _silent(report: object) -> None:
    """Take any report and say nothing."""


def train(
    options: TrainOptions,
    on_step: Callable[[StepReport], None] = _silent,
    on_warning: Callable[[str], None] = _silent,
    on_validation: Callable[[ValidationReport], None] = _silent,
    on_clip: Callable[[str], None] = _silent,
) -> TrainResult:
    """Run or resume a training. The callbacks are called in the first process only.

    Args:
        options: what is trained on what, and where it is written.
        on_step: gets a report after each step.
        on_warning: gets a line if the start is not what it should be.
        on_validation: gets a report after each validation.
        on_clip: gets the name of a clip before it is taken apart, which some recipes do before the first step.

    Raises:
        DatasetError: a data folder has not the expected layout, or not the clips that are to be taken apart.
        DeviceError: the device is not there, or there are more processes than GPUs.
        InputError: a frame of a data set cannot be read.
        OutputError: the output folder or a file in it cannot be written.
        RvosError: a process that makes clips was killed, or the processes of the run have lost each other.
        TrainingDivergedError: the loss or its gradient is no number; the clips are saved beside the checkpoint.
        UsageError: event files are asked for without tensorboard, the processes cannot work together, or the recipe
            wants weights to start from.
        WeightsError: the weights to start from, or the checkpoint, cannot be used.
    """
    _check_data(options)
    with ExitStack() as last, processes.joined(options.device) as device, ExitStack() as stack:
        last.callback(_drop_empty, options.output)
        state, doubt = _begin(options, device, on_clip)
        log = validation = None
        if processes.is_first():
            log = stack.enter_context(TrainingLog(options, state.step))
            if options.validate is not None:
                validation = Validation(options, device, log.scores)
            if doubt:
                on_warning(doubt)
        stopped = last.enter_context(_stop_requests())  # to the very end, for a failure that must still be told
        began = saved = time.monotonic()
        stack.enter_context(naming_dead_workers())
        batches = stack.enter_context(closing(batches_from(options, state.step, device)))
        while True:
            if log is not None and validation is not None and validation.due(state.step):
                _save(options, state)  # or a validation that fails would cost steps, and one that is over be repeated
                saved = time.monotonic()
                outcome = validation.run(state.step, state.average.tensors, stopped)
                if outcome is not None:
                    log.add_validation(outcome)
                    on_validation(outcome)
            late = bool(options.minutes) and time.monotonic() - began > 60 * options.minutes
            enough = validation is not None and validation.exhausted
            verdict = processes.largest(_ENOUGH if enough else _STOP if stopped() or late else _GO_ON)
            if verdict != _GO_ON or state.step >= options.recipe.steps:
                break
            report = train_step(state.model, state.optimizer, batches, state.step, options, device)
            state.average.update(state.model, state.step)
            state.step += 1
            if log is None:
                continue
            log.add_step(report)
            on_step(report)
            if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                _save(options, state)
                saved = time.monotonic()
        if log is not None:
            _save(options, state)
    best = options.output / BEST
    finished = verdict == _ENOUGH or state.step >= options.recipe.steps
    return TrainResult(
        step=state.step,
        finished=finished,
        early=verdict == _ENOUGH,
        interrupted=stopped.by == signal.SIGINT and not finished,
        weights=options.output / WEIGHTS,
        best=best if options.validate is not None and best.exists() else None,
    )


def _check_data(options: TrainOptions) -> None:
    """List what the run will read, so that it leaves nothing behind where that is not there."""
    if not (options.output / CHECKPOINT).exists():
        whole = replace(options, recipe=replace(options.recipe, divided=0.0))  # clips are taken apart later
        clip_dataset(whole, whole.recipe.stage(0))
    held_out_sequences(options)


def _drop_empty(folder: Path) -> None:
    with suppress(OSError):  # there is something in it, or somebody else has removed it
        folder.rmdir()


def _begin(options: TrainOptions, device: torch.device, on_clip: Callable[[str], None]) -> tuple[RunState, str]:
    """Return a new run, or the one whose checkpoint lies in the output folder, and a doubt about its start."""
    recipe = options.recipe
    torch.manual_seed(recipe.seed)
    path = options.output / CHECKPOINT
    again = path.exists()
    ready = again and all_divided(options)  # then the weights to start from are not needed any more
    model, start = network_again(options) if ready else first_network(options)
    options.output.mkdir(parents=True, exist_ok=True)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not ready:
        divide_first(options, model, on_clip)
    if processes.count() > 1:
        share_norms(model)
    optimizer = make_optimizer(model, recipe)
    if device.type == "cpu" and recipe.trunk_rate > 0:
        # The gradient of a depthwise convolution takes twice as long in bfloat16 as in float32 there.
        model.encoder.base.forward = torch.autocast("cpu", enabled=False)(model.encoder.base.forward)
    state = RunState(recipe, model, AverageWeights(model, recipe.average), optimizer, start=start)
    if again:
        load_checkpoint(path, state)
    processes.begin_alike(model, state.step)
    return state, "" if again else doubt_about_start(options)


def _save(options: TrainOptions, state: RunState) -> None:
    save_checkpoint(options.output / CHECKPOINT, state)
    save_weights(options.output / WEIGHTS, state.recipe.model, state.average.tensors)


class _StopRequests:
    """Tells whether a signal has asked to stop, and *by* which."""

    by: int | None = None

    def __call__(self) -> bool:
        return self.by is not None


@contextmanager
def _stop_requests() -> Iterator[_StopRequests]:
    """Turn SIGTERM and Ctrl-C into a wish to stop after the step under way.

    Where one of several processes fails, SIGTERM stays without effect in it: as soon as one has died torchrun sends it
    to all, and the caller must still live to say what happened.
    """
    asked = _StopRequests()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.by = number

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    except Exception:
        if processes.count() > 1:
            before[signal.SIGTERM] = signal.SIG_IGN
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
