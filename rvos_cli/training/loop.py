"""The training run: options enter, a checkpoint, a log and weights leave.

One process on one device. A run that is stopped, by a signal or a crash, goes on from its last checkpoint when it is
started again with the same output folder.
"""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rvos_cli.config import ModelConfig
from rvos_cli.device import choose_device
from rvos_cli.errors import RvosError, WeightsError
from rvos_cli.model import RVOS
from rvos_cli.training.checkpoint import AverageWeights, load_checkpoint, save_checkpoint
from rvos_cli.training.datasets import ClipSample, collate
from rvos_cli.training.recipes import Recipe, Stage, TrainOptions
from rvos_cli.training.rollout import Losses
from rvos_cli.training.trunk import imagenet_trunk, may_start_random, torchvision_trunk
from rvos_cli.weights import build_model, load_weights, save_weights

PARTS = ("track", "discover", "empty", "cue")


@dataclass(frozen=True)
class StepReport:
    """What one step did: its number, all steps, the loss, its parts, seconds of the step."""

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """Where a run stands: the steps done, whether all of them are, and the weights file (running average)."""

    step: int
    finished: bool
    weights: Path


class TrainingDivergedError(RvosError):
    """The loss is no number any more."""


def train(
    options: TrainOptions,
    on_step: Callable[[StepReport], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> TrainResult:
    """Run or resume a training; *on_warning* gets a line if the start is not what it should be.

    Raises:
        DatasetError: the data folder has not the expected layout.
        TrainingDivergedError: the loss became NaN; the clips are saved beside the checkpoint.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    recipe = options.recipe
    device = choose_device(options.device).device
    torch.manual_seed(recipe.seed)
    model = _start(options).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(model, recipe)
    if device.type == "cpu" and recipe.trunk_rate > 0:
        # The gradient of a depthwise convolution takes twice as long in bfloat16 as in float32 there.
        model.encoder.base.forward = torch.autocast("cpu", enabled=False)(model.encoder.base.forward)
    average = AverageWeights(model, recipe.average)
    path = options.output / "checkpoint.pt"
    step = 0
    if not path.exists():
        warning = _doubt_about_start(options)
        if warning and on_warning is not None:
            on_warning(warning)
    else:
        step = load_checkpoint(path, config=recipe.model, model=model, average=average, optimizer=optimizer)

    def save() -> None:
        save_checkpoint(path, step=step, config=recipe.model, model=model, average=average, optimizer=optimizer)
        save_weights(options.output / "weights.safetensors", recipe.model, average.tensors)

    began = saved = time.monotonic()
    with _stop_requests() as stopped, _Log(options.output / "log.csv", step) as log:
        batches = _batches(options, step)
        while step < recipe.steps and not stopped():
            if options.minutes and time.monotonic() - began > 60 * options.minutes:
                break
            report = _train_step(model, optimizer, batches, step, options, device)
            average.update(model, step)
            step += 1
            log.write(report)
            if on_step is not None:
                on_step(report)
            if time.monotonic() - saved > 60 * options.checkpoint_minutes:
                save()
                saved = time.monotonic()
        save()
    return TrainResult(step, step >= recipe.steps, options.output / "weights.safetensors")


def _start(options: TrainOptions) -> RVOS:
    config = options.recipe.model
    if options.init is not None:
        weights = load_weights(options.init)
        # The other two say how a network is used, not which one it is.
        other = asdict(replace(weights.config, size=config.size, slots=config.slots))
        differences = [
            f"{name} is {other[name]}, not {value}" for name, value in asdict(config).items() if other[name] != value
        ]
        if differences:
            raise WeightsError(
                f"the weights {weights.name} are of another network than the recipe's ({', '.join(differences)})",
                cure="start without --init",
            )
        return build_model(replace(weights, config=config), torch.device("cpu"), torch.float32)
    model = RVOS(config)
    if options.trunk_weights is not None:
        torchvision_trunk(model.encoder.base, options.trunk_weights)
    elif not may_start_random(config.trunk):
        model.encoder.base.load_state_dict(imagenet_trunk(config.trunk))
    return model


def _doubt_about_start(options: TrainOptions) -> str:
    trunk = options.recipe.model.trunk
    if options.init is not None or options.trunk_weights is not None or not may_start_random(trunk):
        return ""
    return (
        f"the trunk {trunk} starts from random weights, not from ImageNet's as in the paper; "
        "give torchvision's file of them with --trunk-weights, or trained weights with --init"
    )


def _optimizer(model: RVOS, recipe: Recipe) -> torch.optim.Optimizer:
    trunk = list(model.encoder.base.parameters())
    for name, parameter in model.encoder.base.named_parameters():
        parameter.requires_grad_(recipe.trunk_rate > 0 and not name.startswith(recipe.trunk_frozen))
    ids = {id(parameter) for parameter in trunk}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": recipe.rate, "base": recipe.rate}]
    if recipe.trunk_rate > 0:
        groups.append({"params": trunk, "lr": recipe.trunk_rate, "base": recipe.trunk_rate})
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, weight_decay=recipe.weight_decay)


def _train_step(
    model: RVOS,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[dict[str, Tensor]],
    step: int,
    options: TrainOptions,
    device: torch.device,
) -> StepReport:
    began = time.monotonic()
    recipe = options.recipe
    model.train()
    if not recipe.trunk_norms:
        model.encoder.base.eval()  # the trunk's norms keep their ImageNet statistics
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * recipe.rate_factor(step)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    optimizer.zero_grad(set_to_none=True)
    whole = Losses(torch.zeros(()))
    for _ in range(recipe.accumulate):
        losses = _learn(model, next(batches), step, options, device, generator)
        whole.total = whole.total + losses.total.detach().cpu() / recipe.accumulate
        whole.include(losses)
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    optimizer.step()
    return StepReport(step, recipe.steps, float(whole.total), whole.means(), time.monotonic() - began)


def _learn(
    model: RVOS,
    batch: dict[str, Tensor],
    step: int,
    options: TrainOptions,
    device: torch.device,
    generator: torch.Generator,
) -> Losses:
    """Add the gradient of one batch to what is there."""
    recipe = options.recipe
    frames = normalise(batch["frames"].to(device, non_blocking=True), recipe.model)
    with _precision(options, device):
        losses = recipe.rollout.run(
            model,
            frames,
            batch["labels"].to(device),
            batch["complete"],
            generator,
            teacher=recipe.stage(step).teacher,
        )
    if not torch.isfinite(losses.total):
        torch.save(batch, options.output / "diverged-clips.pt")
        raise TrainingDivergedError(
            f"the loss is no number any more at step {step}",
            cure=f"look at {options.output / 'diverged-clips.pt'}, lower the rate or use precision float32",
        )
    if losses.total.requires_grad:  # clips without a single object have nothing to teach
        torch.autograd.backward(losses.total / recipe.accumulate)
    return losses


def normalise(frames: Tensor, config: ModelConfig) -> Tensor:
    """Turn uint8 frames (..., 3, h, w) into the network's floats."""
    mean = torch.tensor(config.mean, device=frames.device).view(3, 1, 1)
    std = torch.tensor(config.std, device=frames.device).view(3, 1, 1)
    return (frames.float() / 255 - mean) / std


def _precision(options: TrainOptions, device: torch.device) -> AbstractContextManager[Any]:
    if options.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _batches(options: TrainOptions, step: int) -> Iterator[dict[str, Tensor]]:
    """Yield the batches from *step* on; which clips a step sees depends on its number alone."""
    recipe = options.recipe
    while True:
        stage = recipe.stage(step)
        end = step + 1
        while end < recipe.steps and recipe.stage(end) == stage:
            end += 1
        numbers = range(step * recipe.accumulate, end * recipe.accumulate)
        indices = [list(range(n * recipe.batch, (n + 1) * recipe.batch)) for n in numbers]
        yield from DataLoader(
            clip_dataset(options, stage),
            batch_sampler=indices,
            num_workers=options.workers,
            collate_fn=collate,
            worker_init_fn=_leave_signals_to_the_run,
            prefetch_factor=8 if options.workers else None,
        )
        step = end


def _leave_signals_to_the_run(worker: int) -> None:
    # Ctrl-C and kill reach the workers too; were they to die of it, the run could not end its step and save.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def clip_dataset(options: TrainOptions, stage: Stage) -> Dataset[ClipSample]:
    """Return the clips of a stage."""
    return options.recipe.clips(options, stage)


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and Ctrl-C into a wish to stop after the step under way."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Log:
    """log.csv: a line per step; lines of steps that will be done again are dropped first."""

    def __init__(self, path: Path, step: int) -> None:
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        kept = [line for line in lines if line and int(line.split(",")[0]) < step]
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(["step", "loss", *PARTS, "seconds"])
        self._writer.writerows(line.split(",") for line in kept)

    def write(self, report: StepReport) -> None:
        parts = [f"{report.parts[name]:.5f}" if name in report.parts else "" for name in PARTS]
        self._writer.writerow([report.step, f"{report.loss:.5f}", *parts, f"{report.seconds:.3f}"])
        self._file.flush()

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
