"""Several processes under a real ``torchrun``, on CPUs: they learn what one process learns from all their clips."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trees
from small_training import small_options
from torch import nn

from rvos_cli.cli.app import run as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.training import processes
from rvos_cli.training.batches import draws_of, own_clips
from rvos_cli.training.loop import train
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions
from rvos_cli.training.shared_norm import SharedBatchNorm, share_norms
from rvos_cli.weights import load_weights, save_weights

ROOT = Path(__file__).parent.parent.parent
CONFIG = ModelConfig(hidden_size=16, key_dim=8)
# All that the processes must agree on: with this seed, slots and counts that differ from clip to clip; norms that learn
# statistics, parts without a gradient, the gradients of several batches.
PLAN = Recipe(
    model=CONFIG,
    stages=(Stage(until=1.0, teacher=0.3, real=0.3, frames=3, size=(64, 96)),),
    steps=2,
    batch=2,
    accumulate=2,
    warmup=2,
    trunk_rate=1e-4,
    trunk_frozen=("conv_stem", "bn1", "blocks.0", "blocks.1"),
    average=0.0,
    seed=7,
)
SCRIPT = """
import os, pickle, sys, time
from pathlib import Path
from rvos_cli.errors import RvosError
from rvos_cli.training.loop import train
if __name__ == "__main__":
    options = pickle.loads(Path(sys.argv[1]).read_bytes())
    Path(f"{sys.argv[1]}.{os.environ['RANK']}").write_text(str(os.getpid()))
    try:
        train(options)
    except RvosError:
        time.sleep(1)  # in which torchrun, where one has died, asks the others to stop
        raise
    threads = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
    assert not any("gloo" in name for name in threads), threads
"""


@contextmanager
def torchrun(*words: object) -> Iterator[subprocess.Popen[str]]:
    """Start two processes; they end with the block, however it ends."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*launch, *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def written(options: TrainOptions, folder: Path) -> tuple[Path, Path]:
    """A script that trains, and its argument."""
    (folder / "script.py").write_text(SCRIPT)
    (folder / "options").write_bytes(pickle.dumps(options))
    return folder / "script.py", folder / "options"


@pytest.fixture
def options(data_root: Path, tmp_path: Path) -> TrainOptions:
    return small_options(data_root, tmp_path, PLAN, output=tmp_path / "one")


def apart(one: Path, other: Path, start: dict[str, torch.Tensor]) -> float:
    """How far two runs' weights are apart, as a share of how far the run moved them: the worst of all tensors.

    Left out is what changes nothing: the bias of a convolution before a norm has no gradient but rounding errors, of
    which Adam makes steps, and the norm's mean follows it.
    """
    mine, yours = load_weights(one).tensors, load_weights(other).tensors
    idle = {f"encoder.{name}" for n in "5432" for name in (f"sk{n}.bias", f"bn{n}.running_mean")}
    shares = []
    for name in mine.keys() - idle:
        moved = float((mine[name].double() - start[name].double()).norm())
        distance = float((mine[name].double() - yours[name].double()).norm())
        assert moved or not distance
        shares.append(distance / moved if moved else 0.0)
    return max(shares)


def test_two_processes_learn_what_one_learns_with_twice_the_batch(options: TrainOptions, tmp_path: Path):
    whole = train(options)
    shared = replace(options, output=tmp_path / "two", recipe=replace(PLAN, batch=1))
    with torchrun(*written(shared, tmp_path)) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    start = load_weights(options.init).tensors
    # Where a gradient is near zero, a rounding error turns Adam's step around: starts that differ by 1e-6 end 0.06
    # apart. Norms or losses that are not shared make 0.6 and 0.9.
    assert apart(whole.weights, tmp_path / "two" / "weights.safetensors", start) < 0.2
    one, two = ((tmp_path / run / "log.csv").read_text().splitlines()[1:] for run in ("one", "two"))
    losses = [[float(line.split(",")[1]) for line in lines] for lines in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_the_command_trains_with_torchrun_and_speaks_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    davis = trees.davis2017(tmp_path / "davis", split="train")
    words = ["train", "--recipe", "published-one-shot", "--dataset", "davis2017", "--root", str(davis), "--json"]
    words += ["--trunk", "resnet34", "--clip-size", "64x96", "--max-objects", "2", "--steps", "1"]
    words += ["--device", "cpu", "--workers", "0"]
    with torchrun("-m", "rvos_cli", *words, "-o", tmp_path / "two", "--batch", "1") as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert json.loads(out)["finished"] is True
    assert err.count("starts from random weights") == 1
    assert rvos([*words, "-o", str(tmp_path / "one"), "--batch", "2"]) == 0
    one, two = (load_weights(tmp_path / run / "weights.safetensors").tensors for run in ("one", "two"))
    # The first step of Adam is the rate times the gradient's sign; here it is the norms' statistics that must agree.
    for name in (name for name in one if name.endswith(("running_mean", "running_var"))):
        assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4), name


def test_a_loss_that_is_no_number_stops_all_and_keeps_the_clips_of_all(options: TrainOptions, tmp_path: Path):
    broken = load_weights(options.init).tensors
    broken["decoder.conv_out.bias"] = broken["decoder.conv_out.bias"] * float("nan")
    save_weights(tmp_path / "broken.safetensors", CONFIG, broken)
    shared = replace(options, init=str(tmp_path / "broken.safetensors"), recipe=replace(PLAN, batch=1))
    with torchrun(*written(shared, tmp_path)) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "the loss is no number any more at step 0" in said
    kept = torch.load(options.output / "diverged-clips.pt", weights_only=True)
    assert kept["frames"].shape[0] == kept["labels"].shape[0] == len(kept["complete"]) == 2
    assert not (options.output / "checkpoint.pt").exists()


def test_a_signal_to_one_process_stops_all_after_the_same_step(options: TrainOptions, tmp_path: Path):
    shared = replace(options, recipe=replace(PLAN, batch=1, accumulate=1, steps=9999))
    with torchrun(*written(shared, tmp_path)) as process:
        log = options.output / "log.csv"
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 2):
            time.sleep(0.1)
        os.kill(int((tmp_path / "options.1").read_text()), signal.SIGTERM)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    step = torch.load(options.output / "checkpoint.pt", weights_only=True)["step"]
    assert 1 <= step == len(log.read_text().splitlines()) - 1


def test_where_one_process_dies_the_others_say_so(options: TrainOptions, tmp_path: Path):
    shared = replace(options, recipe=replace(PLAN, batch=1, accumulate=1, steps=9999), checkpoint_minutes=0)
    with torchrun(*written(shared, tmp_path)) as process:
        while process.poll() is None and not (options.output / "checkpoint.pt").exists():
            time.sleep(0.1)
        os.kill(int((tmp_path / "options.1").read_text()), signal.SIGKILL)
        _, said = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "the processes of the run have lost each other" in said
    assert torch.load(options.output / "checkpoint.pt", weights_only=True)["step"] >= 1


def test_the_clips_of_a_step_are_dealt_out(monkeypatch: pytest.MonkeyPatch):
    whole = [own_clips(replace(PLAN, batch=4), step, part) for step in range(2) for part in range(2)]
    monkeypatch.setenv("WORLD_SIZE", "2")
    dealt = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        dealt.append([own_clips(PLAN, step, part) for step in range(2) for part in range(2)])
    assert [mine + yours for mine, yours in zip(*dealt, strict=True)] == whole
    assert [clip for clips in whole for clip in clips] == list(range(16))


def test_what_is_drawn_for_a_clip_does_not_depend_on_the_clips_beside_it():
    together = [float(torch.rand((), generator=draw)) for draw in draws_of(PLAN, [4, 5, 6])]
    alone = [float(torch.rand((), generator=draws_of(PLAN, [clip])[0])) for clip in (4, 5, 6)]
    assert together == alone and len(set(alone)) == 3


def test_a_shared_norm_in_one_process_is_torchs_own():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    nn.init.uniform_(plain[1].weight)
    shared = pickle.loads(pickle.dumps(plain))
    share_norms(shared)
    assert isinstance(shared[1], SharedBatchNorm) and shared.state_dict().keys() == plain.state_dict().keys()
    for _ in range(2):
        images = torch.randn(2, 3, 9, 11) * 3 + 5
        results = []
        for network in (plain, shared):
            network.zero_grad()
            out = network(images)
            out.square().mul(torch.arange(4.0).view(4, 1, 1)).sum().backward()
            results.append([out, *(parameter.grad for parameter in network.parameters()), *network.buffers()])
        for mine, yours in zip(*results, strict=True):
            assert torch.allclose(mine, yours, rtol=1e-4, atol=1e-3)
    assert torch.allclose(plain.eval()(images), shared.eval()(images), atol=1e-5)


def test_a_gpu_is_not_shared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    chosen = type("Choice", (), {"device": torch.device("cuda:1")})
    monkeypatch.setattr(processes, "choose_device", lambda name: chosen)
    joining = processes.joined("cuda:1")
    with pytest.raises(UsageError, match="2 processes cannot share cuda:1; use --device cuda or"), joining:
        pass
