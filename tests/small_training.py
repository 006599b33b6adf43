"""A training that takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rvos_cli.model import RVOS
from rvos_cli.training.run_options import Recipe, TrainOptions
from rvos_cli.weights import save_weights


def small_options(data: Path, folder: Path, recipe: Recipe, **others: Any) -> TrainOptions:
    """Return options of a run in ``folder/run``, from random weights that are always the same, in this process."""
    torch.manual_seed(0)
    save_weights(folder / "start.safetensors", recipe.model, RVOS(recipe.model).state_dict())
    init = str(folder / "start.safetensors")
    given = {"output": folder / "run", "workers": 0, **others}
    return TrainOptions(data=data, recipe=recipe, init=init, device="cpu", precision="float32", **given)
