"""What a run needs to begin, and what it leaves where it cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_training import small_options

from rvos_cli.config import ModelConfig
from rvos_cli.errors import DatasetError, WeightsError
from rvos_cli.training.loop import train
from rvos_cli.training.recipes import recipe
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions

STAGE = Stage(until=1.0, teacher=0.3, real=0.6, frames=2, size=(64, 96))
TINY = Recipe(model=ModelConfig(hidden_size=16, key_dim=8), stages=(STAGE,), steps=2, batch=2, warmup=2)


@pytest.fixture
def options(data_root: Path, tmp_path: Path) -> TrainOptions:
    return small_options(data_root, tmp_path, TINY)


@pytest.mark.parametrize("lacks", ["data", "init", "validate", "layout"])
def test_a_run_that_cannot_begin_leaves_nothing_and_tells_nothing_else(
    options: TrainOptions, tmp_path: Path, lacks: str
):
    nowhere, warnings = tmp_path / "nowhere", list[str]()
    wrong = {
        "data": replace(options, data=nowhere),
        "init": replace(options, init=str(nowhere / "weights.safetensors")),
        "validate": replace(options, validate=nowhere),
        "layout": replace(options, data=nowhere, recipe=recipe("published-one-shot"), dataset="davis2017"),
    }[lacks]
    with pytest.raises((DatasetError, WeightsError), match="nowhere"):
        train(wrong, on_warning=warnings.append)
    assert not options.output.exists() and not warnings


def test_a_run_that_is_over_needs_no_data_any_more(options: TrainOptions, tmp_path: Path):
    assert train(options).finished
    assert train(replace(options, data=tmp_path / "nowhere")).finished


def test_weights_of_another_network_are_no_start(options: TrainOptions):
    with pytest.raises(WeightsError, match="another network"):
        train(replace(options, recipe=replace(TINY, model=ModelConfig(hidden_size=32, key_dim=8))))
