"""The recipes: a name enters, every number of a training run leaves, with where its clips come from and how it learns.

``lite``, ``lite-refined``, ``lite-parts``, ``lite-large``, ``lite-full``, ``lite-long``, ``lite-gpu`` and
``lite-finding``, each from what came before, ``lite-free``, ``lite-free-large``, ``lite-free-long`` and
``lite-free-gpu``, and for boxes ``lite-boxes`` and ``lite-free-boxes`` are explained in docs/training.md, and what came
of them in docs/training_runs.md. The published ones are the paper's, explained in docs/paper.md.
"""

from __future__ import annotations

import math
from dataclasses import replace

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.training.box_rollout import BoxRollout
from rvos_cli.training.published_rollout import PublishedRollout
from rvos_cli.training.rollout import RolloutOptions
from rvos_cli.training.run_options import Recipe, Stage, changed, sequence_clips

YOUTUBE_SIZE, DAVIS_SIZE = (256, 448), (240, 427)
# The sources give no length; this is about twenty passes a stage over the 3,471 videos of YouTube-VOS' train.
STEPS_PER_STAGE = 17_000


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


def _boxes() -> Recipe:
    # Goes on from finished weights (--init), of which nothing changes: a decoder that outlines the object in a box, or
    # at points, is put beside the others.
    return Recipe(
        model=ModelConfig(boxes=True, points=True),
        rollout=BoxRollout(pointed=0.65),
        stages=(Stage(until=1.0, teacher=0.0, real=0.45, photographs=0.6, frames=1, size=(288, 512)),),
        steps=5000,
        rate=5e-4,
        learns="box_decoder",
        cooldown=0.8,
        seed=31,
        divided=2.0,
    )


def _free_boxes() -> Recipe:
    boxes = _boxes()
    (stage,) = boxes.stages
    return replace(boxes, stages=(replace(stage, real=0.0),), divided=0.0, free=True, seed=32)


RECIPES: dict[str, Recipe] = {
    "lite": Recipe(follow_up="lite-refined"),
    "lite-refined": replace(_refined(), follow_up="lite-parts"),
    "lite-parts": replace(_parts(), follow_up="lite-large"),
    "lite-large": replace(_large(), follow_up="lite-full"),
    "lite-full": replace(_full(), follow_up="lite-long"),
    "lite-long": _long(),
    "lite-gpu": _gpu(),
    "lite-finding": _finding(),
    "lite-boxes": _boxes(),
    "lite-free": replace(_free(), follow_up="lite-free-large"),
    "lite-free-large": _free_large(),
    "lite-free-long": _free_long(),
    "lite-free-gpu": _free_gpu(),
    "lite-free-boxes": _free_boxes(),
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
