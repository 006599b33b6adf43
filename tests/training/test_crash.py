"""A run that is killed without warning loses one interval between checkpoints at most, and ends as if nothing was."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from small_training import small_options

from rvos_cli.config import ModelConfig
from rvos_cli.training.loop import train
from rvos_cli.training.run_options import Recipe, Stage
from rvos_cli.weights import load_weights

ROOT = Path(__file__).parent.parent.parent
INTERVAL = 1.0  # seconds
CONFIG = ModelConfig(hidden_size=16, key_dim=8)
PLAN = Recipe(
    model=CONFIG,
    stages=(
        Stage(until=0.5, teacher=1.0, real=0.3, frames=2, size=(64, 96)),
        Stage(until=1.0, teacher=0.3, real=0.6, frames=2, size=(64, 96)),
    ),
    steps=14,
    batch=2,
    warmup=2,
)
SCRIPT = """
import pickle, sys, time
import torch
torch.set_num_threads(1)
from rvos_cli.training.loop import train
train(pickle.loads(sys.stdin.buffer.read()), on_step=lambda report: time.sleep(0.3))
"""


@pytest.fixture
def one_thread():
    """Sums in one order: with several threads two processes need not agree to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_kill_minus_nine_costs_at_most_one_interval_and_changes_nothing(one_thread, data_root: Path, tmp_path: Path):
    options = small_options(data_root, tmp_path, PLAN, output=tmp_path / "killed", checkpoint_minutes=INTERVAL / 60)
    log, checkpoint = options.output / "log.csv", options.output / "checkpoint.pt"
    script = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(script, stdin=subprocess.PIPE, cwd=ROOT) as process:
        process.stdin.write(pickle.dumps(options))
        process.stdin.close()
        when: list[float] = []  # each line of the log was first seen
        while process.poll() is None and len(when) < 9:
            time.sleep(0.02)
            lines = log.read_text().count("\n") - 1 if log.exists() else 0
            when += [time.monotonic()] * (lines - len(when))
        os.kill(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert process.returncode == -signal.SIGKILL
    saved = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < saved <= len(when) < PLAN.steps
    longest = max(after - before for before, after in pairwise(when))
    assert killed - when[saved - 1] < INTERVAL + 2 * longest  # a step under way, and writing, come on top
    again = train(options)
    whole = train(replace(options, output=tmp_path / "whole"))
    one, other = load_weights(whole.weights).tensors, load_weights(again.weights).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("killed", "whole")]
    one_log, other_log = ([line.rsplit(",", 2)[0] for line in lines] for lines in logs)  # all but the times
    assert one_log == other_log
