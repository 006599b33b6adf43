"""How a run begins: options enter, the network with its first weights and its optimiser leave."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import torch

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError, WeightsError
from rvos_cli.model import RVOS
from rvos_cli.training import processes
from rvos_cli.training.box_rollout import begin_box_decoder
from rvos_cli.training.library import open_library
from rvos_cli.training.outlines import read_outlines
from rvos_cli.training.parts import divide_clips
from rvos_cli.training.run_options import Recipe, TrainOptions
from rvos_cli.training.trunk import imagenet_trunk, may_start_random, torchvision_trunk
from rvos_cli.weights import build_model, load_weights


def first_network(options: TrainOptions) -> tuple[RVOS, str]:
    """Return the recipe's network, on the CPU, and the sha256 of its weights; that is empty where they are new ones.

    These are trained weights, or new ones on a trunk with ImageNet's.

    Raises:
        WeightsError: the weights to start from cannot be had or are of another network.
        UsageError: there are none, and the recipe teaches a part of a network alone.
    """
    config = options.recipe.model
    if options.recipe.learns and options.init is None:
        raise UsageError(
            "the recipe teaches a part of a network whose rest has to be trained",
            cure="add --init with finished weights, such as --init lite",
        )
    if options.init is not None:
        weights = load_weights(options.init)
        differences = network_differences(weights.config, config)
        if differences:
            raise WeightsError(
                f"the weights {weights.name} are of another network than the recipe's ({', '.join(differences)})",
                cure="give others" if options.recipe.learns else "start without --init",
            )
        own = replace(config, boxes=weights.config.boxes, points=weights.config.points)
        return with_boxes(build_model(replace(weights, config=own), torch.device("cpu")), config), weights.sha256
    model = RVOS(config)
    if options.trunk_weights is not None:
        torchvision_trunk(model.encoder.base, options.trunk_weights)
    elif not may_start_random(config.trunk):
        model.encoder.base.load_state_dict(imagenet_trunk(config.trunk))
    return model, ""


def with_boxes(model: RVOS, config: ModelConfig) -> RVOS:
    """Return the network of *config*, which may differ in what the box decoder is told, with the weights of *model*."""
    if model.config == config:
        return model
    other = RVOS(config)
    rest = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("box_decoder.")}
    other.load_state_dict({**other.state_dict(), **rest})
    if config.boxes:
        begin_box_decoder(other, like=model.box_decoder if model.config.boxes else model.decoder)
    return other


def network_again(options: TrainOptions) -> tuple[RVOS, str | None]:
    """Return the recipe's network for a checkpoint to be loaded into, and the sha256 of the weights that are given.

    A run that goes on does not need these, so it may be None: they are not given any more, or cannot be read.
    """
    given = None
    if options.init is not None:
        with suppress(WeightsError):
            given = load_weights(options.init).sha256
    return RVOS(options.recipe.model), given


def network_differences(other: ModelConfig, wanted: ModelConfig) -> list[str]:
    """Say what makes *other* another network than the *wanted* one.

    Size and slots only say how one is used, and a box decoder stands beside the rest.
    """
    used = replace(other, size=wanted.size, slots=wanted.slots, boxes=wanted.boxes, points=wanted.points)
    values = asdict(used)
    return [f"{name} is {values[name]}, not {value}" for name, value in asdict(wanted).items() if values[name] != value]


def divide_first(options: TrainOptions, model: RVOS, on_clip: Callable[[str], None]) -> None:
    """Take the clips apart that the recipe wants so, with the first network; what is there already stays.

    The first process does it. The others meet it in ``processes.begin_alike``, before anybody looks for clips.

    Raises:
        DatasetError: the clips are not those that the outlines were drawn for.
        OutputError: the output folder cannot be written.
        UsageError: the network has learned nothing yet.
    """
    if options.parts is None:
        return
    if options.init is None:
        raise UsageError(
            "the recipe takes clips apart with the network that it begins with, which has to be trained",
            cure="add --init with the weights of the recipe before it, or --init lite",
        )
    if processes.is_first():
        divide_clips(open_library(options.data / "train"), options.parts, model, on_clip=on_clip)


def all_divided(options: TrainOptions) -> bool:
    """Return whether there is nothing for ``divide_first`` to do."""
    if options.parts is None:
        return True
    outlines = read_outlines()
    clips = [clip for clip in open_library(options.data / "train").sequences if clip.name in outlines.clips]
    masks = [options.parts / clip.name / f"{image.stem}.png" for clip in clips for image in clip.images]
    return all(mask.is_file() for mask in masks)


def doubt_about_start(options: TrainOptions) -> str:
    """Return a line about a start that is not what it should be; empty if it is."""
    trunk = options.recipe.model.trunk
    if options.init is not None or options.trunk_weights is not None or not may_start_random(trunk):
        return ""
    return (
        f"the trunk {trunk} starts from random weights, not from ImageNet's as in the paper; "
        "give torchvision's file of them with --trunk-weights, or trained weights with --init"
    )


def make_optimizer(model: RVOS, recipe: Recipe) -> torch.optim.Optimizer:
    """Freeze what does not learn and return the optimiser; ``base`` of a group is its rate at its height."""
    if recipe.learns:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(f"{recipe.learns}."))
        part = model.get_submodule(recipe.learns)
        return _optimizer(recipe, [{"params": list(part.parameters()), "lr": recipe.rate, "base": recipe.rate}])
    trunk = list(model.encoder.base.parameters())
    for name, parameter in model.encoder.base.named_parameters():
        parameter.requires_grad_(recipe.trunk_rate > 0 and not name.startswith(recipe.trunk_frozen))
    ids = {id(parameter) for parameter in trunk}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": recipe.rate, "base": recipe.rate}]
    if recipe.trunk_rate > 0:
        groups.append({"params": trunk, "lr": recipe.trunk_rate, "base": recipe.trunk_rate})
    return _optimizer(recipe, groups)


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, weight_decay=recipe.weight_decay)
