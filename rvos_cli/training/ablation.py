"""The switches of the paper's ablation: a published recipe enters, the same with other numbers leaves.

S, T, ST and ST+ are ``space``, ``time`` and ``both`` with one stage, and ``both`` with two (docs/paper.md).
"""

from __future__ import annotations

from dataclasses import replace

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, LITE_MEAN, LITE_STD, MAX_OBJECT_ID, ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.training.published_rollout import PublishedRollout
from rvos_cli.training.recipes import DAVIS_SIZE, YOUTUBE_SIZE
from rvos_cli.training.run_options import Recipe
from rvos_cli.training.trunk import PACKAGES, RANDOM_TRUNKS

RECURRENCES = {"space": (True, False), "time": (False, True), "both": (True, True)}
SMALLEST_SIDE = 64  # the trunk leaves a 32nd of it, and a norm over a single value has no variance


def is_published(recipe: Recipe) -> bool:
    """Return whether *recipe* trains a network of the paper."""
    return isinstance(recipe.rollout, PublishedRollout)


def vary(
    recipe: Recipe,
    *,
    dataset: str,
    recurrence: str = "both",
    stages: int | None = None,
    trunk: str | None = None,
    trunk_rate: float | None = None,
    size: tuple[int, int] | None = None,
    max_objects: int | None = None,
) -> Recipe:
    """Return the published *recipe* as it is for a data set, with some of the ablation's switches turned.

    Args:
        recipe: one of the published ones.
        dataset: decides the clips' size, which is the paper's for DAVIS or for YouTube-VOS.
        recurrence: ``space``, ``time`` or ``both``.
        stages: 1 shows the network the true previous masks throughout, 2 its own in the second half; None leaves it.
        trunk: of the paper's trunks or those with ImageNet weights in a package.
        trunk_rate: learning rate of the trunk; 0 freezes it.
        size: (h, w) of the clips instead of the paper's.
        max_objects: of a clip, and slots of a zero-shot network.

    Raises:
        UsageError: a switch has no such position.
    """
    if recurrence not in RECURRENCES:
        raise UsageError(f"there is no recurrence {recurrence!r}", cure=f"choose one of {', '.join(RECURRENCES)}")
    size = size or (DAVIS_SIZE if dataset.startswith("davis") else YOUTUBE_SIZE)
    if min(size) < SMALLEST_SIDE:
        raise UsageError(f"clips of {size[0]}x{size[1]} are too small", cure=f"give {SMALLEST_SIDE} or more a side")
    spatial, temporal = RECURRENCES[recurrence]
    slots = recipe.rollout.slots if max_objects is None else max_objects
    if not 1 <= slots <= MAX_OBJECT_ID:
        raise UsageError(f"max-objects must be between 1 and {MAX_OBJECT_ID}, not {slots}")
    model = replace(recipe.model, spatial=spatial, temporal=temporal, slots=slots)
    varied = replace(
        recipe,
        model=model if trunk is None else _with_trunk(model, trunk),
        rollout=PublishedRollout(slots=slots),
        stages=tuple(replace(stage, size=size) for stage in recipe.stages),
        trunk_rate=recipe.trunk_rate if trunk_rate is None else trunk_rate,
    )
    return varied if stages is None else _with_stages(varied, stages)


def _with_trunk(model: ModelConfig, trunk: str) -> ModelConfig:
    known = (*RANDOM_TRUNKS, *PACKAGES)
    if trunk not in known:
        raise UsageError(f"there is no trunk {trunk!r}", cure=f"choose one of {', '.join(known)}")
    of_paper = trunk in RANDOM_TRUNKS
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if of_paper else (LITE_MEAN, LITE_STD)
    return replace(model, trunk=trunk, mean=mean, std=std)


def _with_stages(recipe: Recipe, stages: int) -> Recipe:
    if stages == len(recipe.stages):
        return recipe
    if stages not in (1, 2):
        raise UsageError(f"there are one or two stages, not {stages}")
    if stages == 2:
        raise UsageError(
            "a zero-shot network sees no masks, so that there is no second stage", cure="leave out --stages"
        )
    return replace(recipe, stages=(replace(recipe.stages[0], until=1.0),), steps=recipe.steps // len(recipe.stages))
