"""The recipes of published networks, made small: a small network, small clips and few steps."""

from __future__ import annotations

from dataclasses import replace

from rvos_cli.training.ablation import vary
from rvos_cli.training.recipes import recipe
from rvos_cli.training.run_options import Recipe

SIZE = (64, 96)
RECIPES = ("published-one-shot", "published-zero-shot")


def small(name: str, **switches) -> Recipe:
    """A published recipe with a small network, small clips and few steps."""
    plan = vary(recipe(name), dataset="davis2017", trunk="resnet34", size=SIZE, max_objects=3, **switches)
    stages = tuple(replace(stage, frames=3) for stage in plan.stages)
    return replace(plan, model=replace(plan.model, hidden_size=8), stages=stages, steps=2, batch=1)
