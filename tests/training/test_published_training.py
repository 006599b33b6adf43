"""Training of the published network on a tiny data set in the official layout: run, recipes, command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_published import RECIPES, small

from rvos_cli.cli.app import run as rvos
from rvos_cli.errors import UsageError, WeightsError
from rvos_cli.model import RVOS
from rvos_cli.training.ablation import vary
from rvos_cli.training.loop import train
from rvos_cli.training.recipes import DAVIS_SIZE, YOUTUBE_SIZE, recipe
from rvos_cli.training.run_options import Recipe, TrainOptions
from rvos_cli.training.trunk import torchvision_trunk
from rvos_cli.weights import load_weights, save_weights


def options(root: Path, output: Path, plan: Recipe) -> TrainOptions:
    return TrainOptions(
        data=root,
        output=output,
        recipe=plan,
        dataset="davis2017",
        split="train",
        device="cpu",
        precision="float32",
        workers=0,
    )


# The run


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("recurrence", ["space", "time", "both"])
def test_both_recipes_train_with_every_recurrence(name: str, recurrence: str, davis: Path, tmp_path: Path):
    plan = replace(small(name, recurrence=recurrence), steps=1)
    result = train(options(davis, tmp_path / "run", plan))
    weights = load_weights(result.weights)
    assert result.finished
    assert weights.config == plan.model
    assert (weights.config.spatial, weights.config.temporal) == (recurrence != "time", recurrence != "space")


def test_the_result_is_the_network_itself_and_its_trunk_moves_slowly(davis: Path, tmp_path: Path):
    result = train(options(davis, tmp_path / "run", small("published-one-shot")))
    entry = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    tensors = load_weights(result.weights).tensors
    assert all(torch.equal(tensors[name], value) for name, value in entry["model"].items())
    assert [(group["lr"], group["weight_decay"]) for group in entry["optimizer"]["param_groups"]] == [
        (1e-3, 1e-6),
        (1e-6, 1e-6),
    ]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_stopped_run_goes_on_with_the_same_steps(davis: Path, tmp_path: Path, accumulate: int):
    plan = replace(small("published-one-shot"), steps=4, accumulate=accumulate)
    whole = train(options(davis, tmp_path / "whole", plan))
    parts = replace(options(davis, tmp_path / "parts", plan), checkpoint_minutes=0)

    def stop(report) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(parts, on_step=stop)
    assert torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["step"] == 2
    result = train(parts)
    one, other = load_weights(whole.weights).tensors, load_weights(result.weights).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_random_trunk_is_said_once_and_a_given_one_not(davis: Path, tmp_path: Path):
    said: list[str] = []
    plan = replace(small("published-zero-shot"), steps=1)
    start = options(davis, tmp_path / "run", plan)
    train(start, on_warning=said.append)
    train(start, on_warning=said.append)
    assert len(said) == 1 and "resnet34 starts from random weights" in said[0] and "\n" not in said[0]
    train(
        replace(start, output=tmp_path / "next", init=str(tmp_path / "run/weights.safetensors")), on_warning=said.append
    )
    assert len(said) == 1


def test_weights_of_another_size_are_a_start_and_of_another_recurrence_none(davis: Path, tmp_path: Path):
    plan = replace(small("published-zero-shot"), steps=1)
    other = replace(plan.model, size=128, slots=7)
    save_weights(tmp_path / "start.safetensors", other, RVOS(other).state_dict())
    begin = replace(options(davis, tmp_path / "run", plan), init=str(tmp_path / "start.safetensors"))
    assert train(begin).finished
    changed = replace(plan, model=replace(plan.model, spatial=False))
    with pytest.raises(WeightsError, match=r"another network .*\(spatial is True, not False\)"):
        train(replace(begin, recipe=changed, output=tmp_path / "other"))


def test_torchvision_weights_become_the_trunk(tmp_path: Path):
    import torchvision

    torch.manual_seed(0)
    state = torchvision.models.resnet34(weights=None).state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "resnet34.pth")
    trunk = RVOS(small("published-one-shot").model).encoder.base
    torchvision_trunk(trunk, tmp_path / "resnet34.pth")
    assert torch.equal(trunk.state_dict()["layer4.2.conv2.weight"], state["layer4.2.conv2.weight"])
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "bad.pth").write_bytes(b"no tensors")
    for name, line in (("other", "not of the recipe's trunk"), ("bad", "can be read"), ("none", "cannot read")):
        with pytest.raises(WeightsError, match=line):
            torchvision_trunk(trunk, tmp_path / f"{name}.pth")


# The recipes and the command


def test_the_recipes_are_the_papers():
    one, zero = (vary(recipe(name), dataset="youtube-vos") for name in RECIPES)
    assert [(s.teacher, s.frames, s.size) for s in one.stages] == [(1.0, 5, YOUTUBE_SIZE), (0.0, 5, YOUTUBE_SIZE)]
    assert one.stage(one.steps // 2 - 1) is one.stages[0] and one.stage(one.steps // 2) is one.stages[1]
    assert len(zero.stages) == 1
    for plan in (one, zero):
        assert (plan.batch, plan.rate, plan.trunk_rate, plan.weight_decay, plan.optimizer) == (
            4,
            1e-3,
            1e-6,
            1e-6,
            "adam",
        )
        assert (plan.model.trunk, plan.rollout.slots, plan.model.matching) == ("resnet101", 10, False)
        assert {plan.rate_factor(step) for step in (0, 1, plan.steps - 1)} == {1.0}
    assert one.model.can_track and zero.model.can_segment
    assert vary(recipe(RECIPES[0]), dataset="davis2017").stages[0].size == DAVIS_SIZE
    single = vary(recipe(RECIPES[0]), dataset="davis2017", stages=1)
    assert [stage.teacher for stage in single.stages] == [1.0] and 2 * single.steps == one.steps


@pytest.mark.parametrize(
    ("name", "switch", "line"),
    [
        (RECIPES[0], {"recurrence": "none"}, "space, time, both"),
        (RECIPES[0], {"trunk": "resnet18"}, "resnet34"),
        (RECIPES[0], {"size": (8, 96)}, "too small"),
        (RECIPES[0], {"size": (96, 32)}, "give 64 or more a side"),
        (RECIPES[0], {"max_objects": 0}, "between 1 and 254"),
        (RECIPES[1], {"stages": 2}, "no second stage"),
    ],
)
def test_switches_without_such_a_position_are_refused(name: str, switch: dict, line: str):
    with pytest.raises(UsageError, match=line):
        vary(recipe(name), dataset="folder", **switch)


def test_the_command_trains_and_warns(davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = [
        "train",
        "--recipe",
        RECIPES[1],
        "--dataset",
        "davis2017",
        "--root",
        str(davis),
        "-o",
        str(tmp_path / "run"),
    ]
    words += ["--trunk", "resnet34", "--clip-size", "64x96", "--max-objects", "2", "--steps", "1", "--batch", "1"]
    assert rvos([*words, "--device", "cpu", "--workers", "0", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["finished"] is True
    assert err.count("warning: the trunk resnet34 starts from random weights") == 1
    assert rvos([*words, "--preview", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--recipe", "lite"], "needs --data"),
        (["--recipe", "lite", "--data", ".", "--stages", "1"], "--stages is of no use"),
        (["--recipe", RECIPES[0], "--data", "."], "takes no --data"),
        (["--recipe", RECIPES[0], "--dataset", "davis2017"], "needs --dataset and --root"),
        (["--recipe", RECIPES[0], "--dataset", "x", "--root", ".", "--clip-size", "large"], "HEIGHTxWIDTH"),
        (["--recipe", RECIPES[0], "--dataset", "kitti", "--root", "."], "no such data set: kitti"),
    ],
)
def test_options_that_do_not_belong_together_are_wrong_usage(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert rvos(["train", *words, "--workers", "0", "--device", "cpu"]) == 2
    assert line in capsys.readouterr().err
