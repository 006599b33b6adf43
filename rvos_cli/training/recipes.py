"""The recipes: a name enters, every number of a training run leaves.

``lite`` is the run that made the shipped weights; its numbers are explained in docs/training.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.training.rollout import RolloutOptions


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run: until which share of the steps, and what differs in it.

    Args:
        until: share of all steps, 0..1, at which the stage ends.
        teacher: how often the true mask stands in for the network's own, 0..1.
        real: share of clips from real video, 0..1.
        frames: clip length.
        size: (h, w) of the clips, multiples of 32.
    """

    until: float
    teacher: float
    real: float
    frames: int = 3
    size: tuple[int, int] = (128, 224)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All numbers of a run but where it reads and writes.

    Args:
        steps: optimiser steps in all.
        batch: clips per step.
        rate: AdamW learning rate of all but the trunk.
        trunk_rate: that of the trunk; 0 freezes it.
        warmup: steps until the rate is reached.
        cooldown: share of the steps, at the end, in which the rate falls linearly to zero.
        average: decay of the running average of the weights that is kept as the result.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    rollout: RolloutOptions = field(default_factory=RolloutOptions)
    stages: tuple[Stage, ...] = (
        Stage(until=0.1, teacher=1.0, real=0.3),
        Stage(until=0.7, teacher=0.3, real=0.45),
        Stage(until=1.0, teacher=0.15, real=0.45, frames=4, size=(192, 320)),
    )
    steps: int = 5600
    batch: int = 4
    rate: float = 1e-3
    trunk_rate: float = 0.0
    weight_decay: float = 1e-4
    warmup: int = 100
    cooldown: float = 0.3
    clip_norm: float = 1.0
    average: float = 0.998
    seed: int = 1

    def stage(self, step: int) -> Stage:
        """Return the stage that *step* belongs to."""
        share = step / self.steps
        return next((stage for stage in self.stages if share < stage.until), self.stages[-1])

    def rate_factor(self, step: int) -> float:
        """Return what the learning rates are multiplied by at *step*."""
        falling = max(1.0, self.cooldown * self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.0, (self.steps - step) / falling))


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Where a run reads and writes, and what it runs on.

    Args:
        data: the folder that holds ``train/`` (clips, pairs, cutouts, backgrounds).
        output: folder of the run: checkpoint, log, weights.
        recipe: its numbers.
        init: weights (name or path) to start from instead of ImageNet's.
        device: as in ``choose_device``.
        precision: ``float32`` or ``bfloat16`` (autocast).
        workers: processes that make clips.
        checkpoint_minutes: how often the run is saved.
        minutes: stop and save after this time; 0 for no limit.
    """

    data: Path
    output: Path
    recipe: Recipe = field(default_factory=Recipe)
    init: str | None = None
    device: str = "auto"
    precision: str = "bfloat16"
    workers: int = 1
    checkpoint_minutes: float = 5.0
    minutes: float = 0.0


RECIPES: dict[str, Recipe] = {"lite": Recipe()}


def recipe(name: str, **changes: object) -> Recipe:
    """Return the recipe *name* with some numbers changed.

    Raises:
        UsageError: there is no such recipe.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}", cure=f"choose one of {', '.join(sorted(RECIPES))}")
    return replace(RECIPES[name], **changes)  # type: ignore[arg-type]
