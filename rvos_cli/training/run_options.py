"""What a training run is made of: its numbers, its clips and its files; ``recipes.py`` has the ones with a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.evaluation.datasets import load_dataset
from rvos_cli.model import RVOS
from rvos_cli.training.datasets import ClipDataset, ClipMix, ClipSample
from rvos_cli.training.rollout import Losses, RolloutOptions
from rvos_cli.training.sequence_clips import SequenceClips

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
        learns: the one part of the network that learns, by its name, while all else stays as it is; empty for all.
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
    learns: str = ""
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
        if self.validate is not None and self.recipe.learns:
            raise UsageError(
                "validations score how objects are found and followed, of which the recipe changes nothing",
                cure="leave out --validate",
            )
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


def changed(plan: Recipe, **changes: object) -> Recipe:
    """Return *plan* with some of its numbers changed."""
    return replace(plan, **changes)  # type: ignore[arg-type]
