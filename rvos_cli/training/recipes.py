"""The recipes: a name enters, every number of a training run leaves, with where its clips come from and how it learns.

``lite``, ``lite-refined``, ``lite-parts``, ``lite-large``, ``lite-full``, ``lite-long``, ``lite-gpu`` and
``lite-finding``, each from what came before, and ``lite-free``, ``lite-free-large``, ``lite-free-long`` and
``lite-free-gpu`` are explained in docs/training.md. The published ones are the paper's, explained in docs/paper.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.evaluation.datasets import load_dataset
from rvos_cli.model import RVOS
from rvos_cli.training.datasets import ClipDataset, ClipMix, ClipSample
from rvos_cli.training.published_rollout import PublishedRollout
from rvos_cli.training.rollout import Losses, RolloutOptions
from rvos_cli.training.sequence_clips import SequenceClips

YOUTUBE_SIZE, DAVIS_SIZE = (256, 448), (240, 427)
# The sources give no length; this is about twenty passes a stage over the 3,471 videos of YouTube-VOS' train.
STEPS_PER_STAGE = 17_000
NEVER_ENDING = 2**40  # clips; the steps decide when a run is over


class Rollout(Protocol):
    """How a batch of clips becomes a loss; see ``RolloutOptions`` and ``PublishedRollout``."""

    @property
    def slots(self) -> int:
        """The largest number of objects of a clip."""

    def run(
        self,
        model: RVOS,
        frames: Tensor,
        labels: Tensor,
        complete: Tensor,
        draws: Sequence[torch.Generator],
        *,
        teacher: float,
        separate: Tensor | None = None,
    ) -> Losses:
        """Run (B, T, 3, h, w) normalised frames with (B, T, h, w) labels and (B,) flags; return the loss.

        *draws* has a source of random numbers for each clip.
        """


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a run: until which share of the steps, and what differs in it.

    Args:
        until: share of all steps, 0..1, at which the stage ends.
        teacher: how often the true mask stands in for the network's own, 0..1.
        real: share of clips from real video, 0..1, where the others are made.
        frames: clip length.
        size: (h, w) of the clips; multiples of 32 where the network has matching.
        photographs: share of photographs set in motion among the made clips, 0..0.9; a tenth are empty scenes, the rest
            composites.
    """

    until: float
    teacher: float
    real: float = 1.0
    frames: int = 3
    size: tuple[int, int] = (128, 224)
    photographs: float = 0.35


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All numbers of a run but where it reads and writes.

    Args:
        steps: optimiser steps in all.
        rollout: how a batch becomes a loss.
        clips: which clips a stage sees.
        batch: clips at a time, in each process.
        accumulate: batches whose gradients are added up for one step.
        optimizer: ``adamw``, or ``adam`` with the weight decay inside the gradient.
        rate: learning rate of all but the trunk.
        trunk_rate: that of the trunk; 0 freezes it.
        trunk_frozen: the parts of the trunk, by the start of their names, that stay as they are all the same.
        trunk_norms: the trunk's batch norms use and learn statistics of the clips, instead of keeping theirs.
        warmup: steps until the rate is reached.
        cooldown: share of the steps, at the end, in which the rate falls linearly to zero.
        clip_norm: largest norm of the gradient.
        average: decay of the running average of the weights that is kept as the result; 0 keeps the weights themselves.
        divided: clips whose things share a label are taken apart first, see ``parts.py``, and then drawn so often,
            against others; 0 leaves them as they are (``made_clips`` only).
        free: only media under a free licence are seen, none of them real video (``made_clips`` only).
        follow_up: name of the recipe that goes on from the result; empty for none.
        name: what it is called; a checkpoint is of one recipe.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    rollout: Rollout = field(default_factory=RolloutOptions)
    clips: Callable[[TrainOptions, Stage], Dataset[ClipSample]] = field(default_factory=lambda: made_clips)
    stages: tuple[Stage, ...] = (
        Stage(until=0.1, teacher=1.0, real=0.3),
        Stage(until=0.7, teacher=0.3, real=0.45),
        Stage(until=1.0, teacher=0.15, real=0.45, frames=4, size=(192, 320)),
    )
    steps: int = 5600
    batch: int = 4
    accumulate: int = 1
    optimizer: Literal["adamw", "adam"] = "adamw"
    rate: float = 1e-3
    trunk_rate: float = 0.0
    trunk_frozen: tuple[str, ...] = ()
    trunk_norms: bool = False
    weight_decay: float = 1e-4
    warmup: int = 100
    cooldown: float = 0.3
    clip_norm: float = 1.0
    average: float = 0.998
    seed: int = 1
    divided: float = 0.0
    free: bool = False
    follow_up: str = ""
    name: str = field(default="", compare=False)

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
        data: the folder that holds ``train/`` (clips, pairs, cutouts, backgrounds); of a published recipe, the root
            of the data set.
        output: folder of the run: checkpoint, log, weights.
        recipe: its numbers.
        init: weights (name or path) to start from instead of ImageNet's.
        dataset: which data set, one of ``DATASETS`` (published recipes only).
        split: of the data set; None takes its own default, for those that have one.
        trunk_weights: torchvision's file with ImageNet weights of the trunk (published recipes only).
        device: as in ``choose_device``.
        precision: ``float32`` or ``bfloat16`` (autocast).
        workers: processes that make clips; None takes as many as suit the device, see ``batches.clip_workers``.
        checkpoint_minutes: how often the run is saved.
        minutes: stop and save after this time; 0 for no limit.
        tensorboard: also write event files, below ``tensorboard`` in the output folder.
        validate: folder of a data set that is scored every so often; see ``validation``.
        validate_every: steps from one validation to the next.
        validate_frames: true masks of each sequence that are looked at, from its first on.
        patience: so many validations without a better score end the run; 0 for never.
    """

    data: Path
    output: Path
    recipe: Recipe = field(default_factory=Recipe)
    init: str | None = None
    dataset: str = "folder"
    split: str | None = None
    trunk_weights: Path | None = None
    device: str = "auto"
    precision: str = "bfloat16"
    workers: int | None = None
    checkpoint_minutes: float = 5.0
    minutes: float = 0.0
    tensorboard: bool = False
    validate: Path | None = None
    validate_every: int = 500
    validate_frames: int = 20
    patience: int = 0

    @property
    def parts(self) -> Path | None:
        """The folder of the divided clips' masks; None without such."""
        return self.output / "parts" if self.recipe.divided else None

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            UsageError: there are such.
        """
        if self.patience and self.validate is None:
            raise UsageError("patience counts validations, of which there are none", cure="add --validate DIR")
        if self.validate_every < 1 or self.validate_frames < 3 or self.patience < 0:
            raise UsageError(
                "validations need at least a step from one to the next, 3 frames, and a patience of 0 or more",
                cure="change --validate-every, --validate-frames or --patience",
            )


def made_clips(options: TrainOptions, stage: Stage) -> Dataset[ClipSample]:
    """Return clips made of the media below ``data/train``."""
    height, width = stage.size
    made = 1 - stage.real
    return ClipDataset(
        options.data / "train",
        parts=options.parts,
        height=height,
        width=width,
        frames=stage.frames,
        max_objects=options.recipe.rollout.slots,
        seed=options.recipe.seed,
        length=NEVER_ENDING,
        mix=ClipMix(
            real=stage.real,
            photograph=made * stage.photographs,
            composite=made * (0.9 - stage.photographs),
            empty=made * 0.1,
            divided=options.recipe.divided,
        ),
        free_only=options.recipe.free,
    )


def sequence_clips(options: TrainOptions, stage: Stage) -> Dataset[ClipSample]:
    """Return clips of the sequences of a data set's split."""
    height, width = stage.size
    return SequenceClips(
        load_dataset(options.dataset, options.data, split=options.split).sequences,
        height=height,
        width=width,
        frames=stage.frames,
        max_objects=options.recipe.rollout.slots,
        seed=options.recipe.seed,
        length=NEVER_ENDING,
    )


def _published(*, one_shot: bool) -> Recipe:
    stages = [Stage(until=0.5 if one_shot else 1.0, teacher=1.0, frames=5, size=YOUTUBE_SIZE)]
    if one_shot:  # a zero-shot network sees no masks, so that it has no second stage
        stages.append(Stage(until=1.0, teacher=0.0, frames=5, size=YOUTUBE_SIZE))
    return Recipe(
        model=ModelConfig(
            trunk="resnet101", hidden_size=128, mask_input=one_shot, key_dim=0, mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
        rollout=PublishedRollout(),
        clips=sequence_clips,
        stages=tuple(stages),
        steps=STEPS_PER_STAGE * len(stages),
        optimizer="adam",
        trunk_rate=1e-6,
        trunk_norms=True,
        weight_decay=1e-6,
        warmup=0,
        cooldown=0.0,
        clip_norm=math.inf,
        average=0.0,
    )


def _refined() -> Recipe:
    # Goes on from the result of "lite" (--init): the trunk learns too, but for its early parts, where a step would cost
    # most and change least.
    return Recipe(
        rollout=RolloutOptions(slots=4),
        stages=(
            Stage(until=0.63, teacher=0.2, real=0.45),
            Stage(until=1.0, teacher=0.1, real=0.5, frames=4, size=(192, 320)),
        ),
        steps=4700,
        rate=7e-4,
        trunk_rate=1e-4,
        trunk_frozen=("conv_stem", "bn1", "blocks.0", "blocks.1"),
        cooldown=0.5,
        seed=2,
    )


def _parts() -> Recipe:
    # Goes on from the result of "lite-refined" (--init), which also says which part of a divided clip is whose.
    refined = _refined()
    stages = (Stage(until=0.53, teacher=0.15, real=0.45), refined.stages[-1])
    return replace(refined, stages=stages, steps=3500, rate=6e-4, cooldown=0.5, seed=3, divided=1.5)


def _large() -> Recipe:
    # Goes on from the result of "lite-parts" (--init), in clips near the size of what the network is used on, and looks
    # for objects more often: thin and touching ones are lost in smaller clips.
    stage = Stage(until=1.0, teacher=0.1, real=0.55, frames=4, size=(192, 320))
    rollout = RolloutOptions(slots=4, discover=0.5)
    return replace(_parts(), rollout=rollout, stages=(stage,), steps=2600, cooldown=0.6, seed=4, divided=2.0)


def _full() -> Recipe:
    # Goes on from the result of "lite-large" (--init), in clips of nearly the size that the network is used on.
    large = _large()
    (stage,) = large.stages
    stages = (
        replace(stage, until=0.64, real=0.6, size=(224, 384)),
        replace(stage, until=1.0, real=0.6, size=(256, 448)),
    )
    return replace(large, stages=stages, steps=1720, rate=5e-4, cooldown=0.7, seed=5)


def _long() -> Recipe:
    # Goes on from the result of "lite-full" (--init): in longer clips the network lives longer with its own errors.
    full = _full()
    stage = replace(full.stages[0], until=1.0, frames=6)
    return replace(full, stages=(stage,), steps=850, rate=4e-4, cooldown=0.8, seed=6)


def _gpu() -> Recipe:
    # Goes on from the mean of what "lite-full" and "lite-long" made (--init), in larger and longer clips, sixteen at a
    # time, which takes ten minutes on a GPU.
    full = _full()
    stage = Stage(until=1.0, teacher=0.1, real=0.55, photographs=0.45, frames=6, size=(288, 512))
    return replace(full, stages=(stage,), steps=1493, batch=16, rate=4e-4, average=0.998, seed=21)


def _finding() -> Recipe:
    # Goes on from the mean of what "lite-full" and "lite-long" made (--init), to find better: clips of two frames show
    # twice as many scenes in the same time, photographs more different ones than the few real clips.
    stage = Stage(until=1.0, teacher=0.1, real=0.35, photographs=0.5, frames=2, size=(256, 448))
    rollout = RolloutOptions(slots=4, discover=0.7, partial=0.1, partly_labelled=True)
    return replace(_full(), rollout=rollout, stages=(stage,), steps=2150, rate=4e-4, seed=8)


def _free() -> Recipe:
    # From ImageNet's weights on free media alone, what "lite" and "lite-refined" do in two runs.
    stages = (
        Stage(until=0.08, teacher=1.0, real=0.0),
        Stage(until=0.6, teacher=0.25, real=0.0),
        Stage(until=1.0, teacher=0.15, real=0.0, frames=4, size=(192, 320)),
    )
    refined = _refined()
    return Recipe(
        rollout=refined.rollout,
        stages=stages,
        steps=3700,
        trunk_rate=refined.trunk_rate,
        trunk_frozen=refined.trunk_frozen,
        cooldown=0.4,
        free=True,
    )


def _free_large() -> Recipe:
    # Goes on from the result of "lite-free" (--init), in larger clips, as "lite-large" and "lite-full" do.
    free = _free()
    stage = replace(free.stages[-1], teacher=0.1)
    stages = (replace(stage, until=0.55), replace(stage, until=1.0, size=(224, 384)))
    rollout = RolloutOptions(slots=4, discover=0.5)
    return replace(free, rollout=rollout, stages=stages, steps=1900, rate=6e-4, cooldown=0.7, seed=11)


def _free_long() -> Recipe:
    # Goes on from the mean of what "lite-free" and "lite-free-large" made (--init), as "lite-long" does.
    large, long = _free_large(), _long()
    stage = replace(large.stages[-1], frames=long.stages[-1].frames)
    return replace(large, stages=(stage,), steps=800, rate=long.rate, cooldown=long.cooldown, seed=12)


def _free_gpu() -> Recipe:
    # Goes on from the mean that "lite-free-long" began with and what it made (--init), as "lite-gpu" does.
    large, gpu = _free_large(), _gpu()
    stage = replace(large.stages[-1], photographs=0.5, frames=5, size=gpu.stages[0].size)
    return replace(large, stages=(stage,), steps=1291, batch=gpu.batch, trunk_rate=1.5e-4, average=gpu.average, seed=22)


RECIPES: dict[str, Recipe] = {
    "lite": Recipe(follow_up="lite-refined"),
    "lite-refined": replace(_refined(), follow_up="lite-parts"),
    "lite-parts": replace(_parts(), follow_up="lite-large"),
    "lite-large": replace(_large(), follow_up="lite-full"),
    "lite-full": replace(_full(), follow_up="lite-long"),
    "lite-long": _long(),
    "lite-gpu": _gpu(),
    "lite-finding": _finding(),
    "lite-free": replace(_free(), follow_up="lite-free-large"),
    "lite-free-large": _free_large(),
    "lite-free-long": _free_long(),
    "lite-free-gpu": _free_gpu(),
    "published-one-shot": _published(one_shot=True),
    "published-zero-shot": _published(one_shot=False),
}


def recipe(name: str, **changes: object) -> Recipe:
    """Return the recipe *name* with some numbers changed.

    Raises:
        UsageError: there is no such recipe.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no recipe {name!r}", cure=f"choose one of {', '.join(sorted(RECIPES))}")
    return changed(RECIPES[name], name=name, **changes)


def changed(plan: Recipe, **changes: object) -> Recipe:
    """Return *plan* with some of its numbers changed."""
    return replace(plan, **changes)  # type: ignore[arg-type]
