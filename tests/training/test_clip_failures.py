"""Clips that cannot be made, in a process of their own as in the run's: one line tells of it, and the run ends."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_training import small_options

from rvos_cli.config import ModelConfig
from rvos_cli.errors import DatasetError, RvosError
from rvos_cli.training.loop import StepReport, train
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions

ROOT = Path(__file__).parent.parent.parent
CONFIG = ModelConfig(hidden_size=16, key_dim=8)
PLAN = Recipe(
    model=CONFIG,
    stages=(Stage(until=1.0, teacher=1.0, real=0.3, frames=2, size=(64, 96)),),
    steps=3,
    batch=2,
    warmup=2,
)
START = """
import pickle, sys
from rvos_cli.training import batches, loop
options = pickle.loads(sys.stdin.buffer.read())
"""


@pytest.fixture
def options(data_root: Path, tmp_path: Path) -> TrainOptions:
    return small_options(data_root, tmp_path, PLAN, workers=2)


def in_python(script: str, options: TrainOptions) -> str:
    """Run *script* and return what its process says as it fails, which it does within a minute or two."""
    process = subprocess.run(
        [sys.executable, "-c", START + script], input=pickle.dumps(options), capture_output=True, cwd=ROOT, timeout=120
    )
    assert process.returncode == 1
    return process.stderr.decode()


# The exceptions are uncaught: Python keeps the last one, and what its frames hold, to its end.
FAULTY = """
class Faulty:
    def __getitem__(self, index):
        raise ArithmeticError(f"clip {index}")
batches.clip_dataset = lambda options, stage: Faulty()
loop.train(options)
"""
IMPATIENT = """
def stop(report):
    raise ArithmeticError("no clip")
loop.train(options, on_step=stop)
"""


@pytest.mark.parametrize("script", [FAULTY, IMPATIENT], ids=["in a worker", "in the run"])
def test_workers_end_with_a_run_that_fails(options: TrainOptions, script: str):
    assert "ArithmeticError: " in in_python(script, options)


def test_a_broken_picture_is_one_line_and_the_run_ends(options: TrainOptions):
    for path in (options.data / "train").rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:500])
    words = ["train", "--data", options.data, "-o", options.output, "--init", "lite", "--device", "cpu"]
    process = subprocess.run(
        [sys.executable, "-m", "rvos_cli", *map(str, words), "--batch", "2", "--steps", "3", "--workers", "1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert process.returncode == 1
    cure = "copy the data set again or remove the file and its partner"
    assert re.fullmatch(rf"error: cannot read \S+\.jpg: [^;]{{,80}}; {cure}\n", process.stderr)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failure_with_a_name_keeps_its_kind(options: TrainOptions, workers: int):
    (options.data / "train/pairs/free/things/one.png").write_bytes(b"no mask")
    stage = replace(PLAN.stages[0], real=0.0, photographs=0.9)
    plan = replace(PLAN, stages=(stage,), batch=8)
    with pytest.raises(DatasetError, match=r"^cannot read \S+one\.png: "):
        train(replace(options, recipe=plan, workers=workers))


def test_the_death_of_a_worker_is_told(options: TrainOptions):
    def kill_one(report: StepReport) -> None:
        multiprocessing.active_children()[0].kill()

    with pytest.raises(RvosError, match=r"makes clips was killed \(.*\); was memory short\? give fewer --workers"):
        train(replace(options, recipe=replace(PLAN, steps=99)), on_step=kill_one)
