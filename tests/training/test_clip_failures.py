"""Clips that cannot be made, in a process of their own as in the run's: one line tells of it, and the run ends."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.training.recipes import Recipe, Stage, TrainOptions
from rvos_cli.weights import save_weights

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
    save_weights(tmp_path / "start.safetensors", CONFIG, RVOS(CONFIG).state_dict())
    return TrainOptions(
        data=data_root,
        output=tmp_path / "run",
        recipe=PLAN,
        init=str(tmp_path / "start.safetensors"),
        device="cpu",
        precision="float32",
        workers=2,
    )


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
