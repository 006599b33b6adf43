"""One step of learning: this process's batches enter, the network is changed, a report of the whole step leaves."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rvos_cli.config import ModelConfig
from rvos_cli.errors import RvosError
from rvos_cli.model import RVOS
from rvos_cli.training import processes
from rvos_cli.training.batches import draws_of, own_clips
from rvos_cli.training.rollout import Losses
from rvos_cli.training.run_options import TrainOptions
from rvos_cli.whole_files import writing_beside


@dataclass(frozen=True)
class StepReport:
    """What one step did in all processes, but for the times, which are this process's.

    Attributes:
        step: its number, from 0 on.
        steps: how many the run has.
        loss: of the whole batch.
        parts: what it is made of.
        rate: the learning rate.
        seconds: how long the step took.
        waited: for how many of these there were no clips yet.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    rate: float
    seconds: float
    waited: float = 0.0


class TrainingDivergedError(RvosError):
    """The loss, or its gradient, is no number any more."""


def train_step(
    model: RVOS,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[dict[str, Tensor]],
    step: int,
    options: TrainOptions,
    device: torch.device,
) -> StepReport:
    """Learn from the next *accumulate* batches.

    Raises:
        OutputError: these clips cannot be saved.
        TrainingDivergedError: the loss or its gradient became infinite or NaN in some process; the network is as it was
            before, and the step's clips are saved in the output folder.
    """
    began = time.monotonic()
    recipe = options.recipe
    model.train(not recipe.learns)  # what stays keeps its norms' statistics, and a decoder has no norms
    if not recipe.trunk_norms:
        model.encoder.base.eval()  # the trunk's norms keep their ImageNet statistics
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * recipe.rate_factor(step)
    optimizer.zero_grad(set_to_none=True)
    whole, waited = Losses(torch.zeros(())), 0.0
    seen: list[dict[str, Tensor]] = []
    for part in range(recipe.accumulate):
        asked = time.monotonic()
        seen.append(next(batches))
        waited += time.monotonic() - asked
        whole.include(_learn(model, seen[-1], step, part, options, device))
    processes.add_gradients(model.parameters())
    norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    if not math.isfinite(norm):  # of a loss that is a number, too; clipped by it, every weight would become NaN
        raise _diverged("the gradient", step, seen, options)
    optimizer.step()
    return StepReport(
        step,
        recipe.steps,
        float(whole.value) / recipe.accumulate,
        whole.means(),
        optimizer.param_groups[0]["lr"],
        time.monotonic() - began,
        waited,
    )


def _learn(
    model: RVOS, batch: dict[str, Tensor], step: int, part: int, options: TrainOptions, device: torch.device
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
            draws_of(recipe, own_clips(recipe, step, part)),
            teacher=recipe.stage(step).teacher,
            separate=batch["separate"],
        )
    if losses.total.requires_grad:  # clips without a single object have nothing to teach
        torch.autograd.backward(losses.total / recipe.accumulate)
    if not losses.finite:  # asked last, since a GPU is waited for
        raise _diverged("the loss", step, [batch], options)
    return losses


def _diverged(
    what: str, step: int, batches: Sequence[dict[str, Tensor]], options: TrainOptions
) -> TrainingDivergedError:
    """Keep the clips of *batches*, of all processes, and return the error that names them."""
    path = options.output / "diverged-clips.pt"
    whole = {name: processes.gather(torch.cat([batch[name] for batch in batches])) for name in batches[0]}
    if processes.is_first():
        file = io.BytesIO()  # of a full disk torch tells in words of its own
        torch.save(whole, file)
        with writing_beside(path) as beside:
            beside.write_bytes(file.getbuffer())
    return TrainingDivergedError(
        f"{what} is no number any more at step {step}",
        cure=f"look at {path}, lower the rate or use precision float32",
    )


def normalise(frames: Tensor, config: ModelConfig) -> Tensor:
    """Turn uint8 frames (..., 3, h, w) into the network's floats."""
    mean = torch.tensor(config.mean, device=frames.device).view(3, 1, 1)
    std = torch.tensor(config.std, device=frames.device).view(3, 1, 1)
    return (frames.float() / 255 - mean) / std


def _precision(options: TrainOptions, device: torch.device) -> AbstractContextManager[Any]:
    if options.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
