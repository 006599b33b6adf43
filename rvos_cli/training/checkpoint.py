"""A training run's memory: everything that the next step depends on, saved so that a stopped run goes on exactly.

What is random in a step is drawn from the seed and the step's number, so no generator's state needs saving.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rvos_cli.errors import WeightsError
from rvos_cli.model import RVOS
from rvos_cli.training.run_options import Recipe
from rvos_cli.whole_files import unwritable


class AverageWeights:
    """An exponential running average of a network's floating-point tensors; the result of a run."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the network as it is."""
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the network after *step*; early steps count more, so that the start is soon forgotten."""
        decay = min(self.decay, (step + 1) / (step + 10))
        newest = model.state_dict()
        floating = [name for name, tensor in newest.items() if tensor.is_floating_point()]
        # All at once, as torch's own averages do it: one by one, a GPU would wait for the asking.
        torch._foreach_lerp_([self.tensors[name] for name in floating], [newest[name] for name in floating], 1 - decay)
        for name in newest.keys() - set(floating):
            self.tensors[name].copy_(newest[name])


@dataclass
class RunState:
    """A run of *recipe* after *step* steps; *start* is the sha256 of the weights it began with, as far as is known."""

    recipe: Recipe
    model: RVOS
    average: AverageWeights
    optimizer: torch.optim.Optimizer
    step: int = 0
    start: str | None = None


def save_checkpoint(path: Path, state: RunState) -> None:
    """Write a checkpoint; the one before stays until the new one is whole.

    Raises:
        OutputError: it cannot be written.
    """
    entry = {
        "step": state.step,
        "config": state.recipe.model.to_json(),
        "start": state.start,
        "recipe": [state.recipe.name, state.recipe.seed],
        "model": state.model.state_dict(),
        "average": state.average.tensors,
        "optimizer": state.optimizer.state_dict(),
    }
    # One name for all drafts, so that runs which are killed in here leave one file at most, however often.
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(entry, file)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        # Of a full disk torch tells in its own words; the system's stand behind them.
        raise unwritable(path, error.__context__ if isinstance(error.__context__, OSError) else error) from error
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: Path, state: RunState) -> None:
    """Make *state* what ``save_checkpoint`` wrote, but for the rates and weight decay, which are those of its recipe.

    Raises:
        WeightsError: the checkpoint is damaged, or of another network, recipe, seed or start.
    """
    try:
        entry: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _check_origin(path, entry, state)
        state.model.load_state_dict(entry["model"])
        _load_optimizer(state.optimizer, entry["optimizer"])
        for name, tensor in state.average.tensors.items():
            tensor.copy_(entry["average"][name])
        state.step, state.start = int(entry["step"]), entry.get("start")
    except (WeightsError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file leads torch, and what is done with its answer, to almost any exception
        raise WeightsError(f"the checkpoint {path} cannot be read", cure="remove it to start anew") from error


def _check_origin(path: Path, entry: dict[str, Any], state: RunState) -> None:
    elsewhere = "choose another output folder"
    if entry["config"] != state.recipe.model.to_json():
        raise WeightsError(f"{path} is of a run with another network", cure=elsewhere)
    name, seed = entry.get("recipe", (state.recipe.name, state.recipe.seed))
    if (name, seed) != (state.recipe.name, state.recipe.seed):
        raise WeightsError(f"{path} is of a run of {name}, seed {seed}", cure=elsewhere)
    start = entry.get("start")  # older ones do not say
    if None not in (start, state.start) and start != state.start:
        raise WeightsError(
            f"{path} is of a run that began with other weights than these",
            cure="leave out --init to go on with it, or choose another output folder",
        )
    then, now = len(entry["optimizer"]["param_groups"]), len(state.optimizer.param_groups)
    if then != now:  # the trunk is a group of its own where it learns
        learned = "learned" if then > now else "did not learn"
        raise WeightsError(f"{path} is of a run in which the trunk {learned}", cure=elsewhere)


def _load_optimizer(optimizer: torch.optim.Optimizer, stored: dict[str, Any]) -> None:
    """Load what the optimiser has gathered; its rates and weight decay may have been changed since, and stay."""
    kept = [{name: group[name] for name in ("base", "weight_decay")} for group in optimizer.param_groups]
    optimizer.load_state_dict(stored)
    for group, own in zip(optimizer.param_groups, kept, strict=True):
        group.update(own)
