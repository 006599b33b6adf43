"""How many processes make clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rvos_cli.training import batches
from rvos_cli.training.batches import MOST_WORKERS, clip_workers
from rvos_cli.training.run_options import TrainOptions

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OPTIONS = TrainOptions(data=Path(), output=Path())


@pytest.mark.parametrize(
    ("cores", "here", "workers"), [(16, 1, 15), (2, 1, 1), (1, 1, 1), (128, 1, MOST_WORKERS), (16, 4, 3)]
)
def test_a_gpu_gets_a_worker_for_each_core_but_one(
    monkeypatch: pytest.MonkeyPatch, cores: int, here: int, workers: int
):
    monkeypatch.setattr(batches, "cores", lambda: cores)
    monkeypatch.setattr(batches.processes, "count_here", lambda: here)
    assert clip_workers(OPTIONS, GPU) == workers
    assert clip_workers(OPTIONS, CPU) == 1


@pytest.mark.parametrize("asked", [0, 1, 7])
def test_what_is_asked_for_counts(asked: int):
    assert {clip_workers(replace(OPTIONS, workers=asked), device) for device in (CPU, GPU)} == {asked}
