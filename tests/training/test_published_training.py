"""Training of the published network on tiny data sets in the official layouts: clips, rollouts, run, command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trees

from rvos_cli.cli.app import run as rvos
from rvos_cli.errors import DatasetError, UsageError, WeightsError
from rvos_cli.evaluation.datasets import load_dataset
from rvos_cli.model import RVOS
from rvos_cli.training.ablation import vary
from rvos_cli.training.loop import train
from rvos_cli.training.losses import overlap_cost, soft_iou_loss
from rvos_cli.training.published_rollout import PublishedRollout, match
from rvos_cli.training.recipes import DAVIS_SIZE, YOUTUBE_SIZE, Recipe, TrainOptions, recipe
from rvos_cli.training.sequence_clips import SequenceClips, clip_map, number_objects
from rvos_cli.training.trunk import torchvision_trunk
from rvos_cli.weights import load_weights, save_weights

SIZE = (64, 96)
RECIPES = ("published-one-shot", "published-zero-shot")


def small(name: str, **switches) -> Recipe:
    """A published recipe with a small network, small clips and few steps."""
    plan = vary(recipe(name), dataset="davis2017", trunk="resnet34", size=SIZE, max_objects=3, **switches)
    stages = tuple(replace(stage, frames=3) for stage in plan.stages)
    return replace(plan, model=replace(plan.model, hidden_size=8), stages=stages, steps=2, batch=1)


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.davis2017(tmp_path_factory.mktemp("davis"), split="train")


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


def clips(root: Path, **changes) -> SequenceClips:
    sequences = load_dataset("davis2017", root, split="train").sequences
    return SequenceClips(sequences, **{"height": 64, "width": 96, "frames": 3, **changes})


def batch(frames: int = 3, objects: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    images, labels = torch.randn(1, frames, 3, *SIZE) * 0.1, torch.zeros(1, frames, *SIZE, dtype=torch.uint8)
    for t in range(frames):
        for k in range(objects):
            rows, columns = slice(12, 44), slice(4 + 46 * k + 2 * t, 36 + 46 * k + 2 * t)
            labels[0, t, rows, columns] = k + 1
            images[0, t, k, rows, columns] += 2
    return images, labels, torch.tensor([False])


def network(plan: Recipe) -> RVOS:
    torch.manual_seed(0)
    return RVOS(plan.model).train()


# Clips


def test_a_clip_has_the_item_format_and_depends_on_seed_and_index_alone(davis: Path):
    one, again, other = clips(davis)[7], clips(davis)[7], clips(davis, seed=1)[7]
    assert one["frames"].shape == (3, 3, 64, 96) and one["frames"].dtype == torch.uint8
    assert one["labels"].shape == (3, 64, 96) and one["labels"].dtype == torch.uint8
    assert not bool(one["complete"])
    assert torch.equal(one["frames"], again["frames"]) and torch.equal(one["labels"], again["labels"])
    assert not torch.equal(one["frames"], other["frames"])


@pytest.mark.parametrize("augment", [False, True])
def test_labels_lie_where_their_things_are(davis: Path, augment: bool):
    for index in range(6):
        clip = clips(davis, augment=augment)[index]
        shown = torch.round(clip["frames"][:, 0].float() / 40)
        assert float((shown == clip["labels"]).float().mean()) > 0.9
        assert clip["labels"][0].any()


def test_every_sequence_comes_once_a_round(davis: Path):
    dataset = clips(davis)
    rounds = [{dataset._which(2 * k), dataset._which(2 * k + 1)} for k in range(5)]
    assert rounds == [{0, 1}] * 5


def test_without_augmentation_a_clip_is_the_frames_resized(davis: Path):
    mapped = clip_map(np.random.default_rng(0), (48, 64), (96, 128), augment=False)
    assert mapped @ [0, 0, 1] == pytest.approx([0, 0, 1])
    assert mapped @ [128, 96, 1] == pytest.approx([64, 48, 1])


def test_objects_of_the_first_frame_are_numbered_first_and_the_surplus_is_unknown():
    labels = np.zeros((2, 4, 8), np.uint8)
    labels[0, 0, :4], labels[0, 1, :2], labels[0, 2, :1], labels[1, 3, :3] = 9, 5, 7, 2
    labels[0, 3, 7] = 255
    assert number_objects(labels, 4)[0, :3, 0].tolist() == [3, 1, 2]
    assert number_objects(labels, 4)[1, 3, 0] == 4
    few = number_objects(labels, 2)
    assert few[0, :3, 0].tolist() == [2, 1, 255]
    assert few[1, 3, 0] == 255 and few[0, 3, 7] == 255


def test_youtube_clips_take_only_frames_with_masks(tmp_path: Path):
    root = trees.youtube(tmp_path, split="train", full=True)
    sequences = load_dataset("youtube-vos", root, split="train").sequences
    dataset = SequenceClips(sequences, height=64, width=96, frames=5)
    assert [path.stem for path in dataset.sequences[0][1]] == [f"{5 * i:05d}" for i in range(1, 8)]
    assert int(dataset[0]["labels"].max()) == 2


def test_a_split_without_masks_is_named(tmp_path: Path):
    root = trees.youtube(tmp_path)
    with pytest.raises(DatasetError, match="none of 1 sequences has 5 frames with true masks"):
        SequenceClips(load_dataset("youtube-vos", root).sequences)


def test_white_masks_are_one_object(tmp_path: Path):
    for index in range(3):
        shown = trees.labels(index, (1,))
        trees.write_frame(tmp_path / "frames" / "a" / f"{index}.jpg", shown)
        trees.write_mask(tmp_path / "masks" / "a" / f"{index}.png", shown * 255)
    dataset = SequenceClips(load_dataset("folder", tmp_path).sequences, height=64, width=96, frames=2)
    assert dataset[0]["labels"].unique().tolist() == [0, 1]


# Losses and rollouts


def test_the_cost_of_a_pair_is_its_soft_iou_loss():
    torch.manual_seed(0)
    guess, truth, valid = torch.rand(3, 6, 8), (torch.rand(2, 6, 8) > 0.5).float(), (torch.rand(1, 6, 8) > 0.2).float()
    cost = overlap_cost(guess, truth, valid)
    for s in range(3):
        for o in range(2):
            assert cost[s, o] == pytest.approx(float(soft_iou_loss(guess[s], truth[o], valid[0])), abs=1e-5)


def test_matching_gives_every_object_the_slot_that_shows_it():
    truth = torch.zeros(1, 3, 8, 8)
    truth[0, 0, :4], truth[0, 2, 4:] = 1, 1  # object 1 is not in the frame
    slots = torch.stack([torch.full((8, 8), 0.1), truth[0, 2] * 0.9, truth[0, 0] * 0.8, torch.zeros(8, 8)])[None]
    assert match(slots, truth, torch.ones(1, 1, 8, 8)).tolist() == [[-1, 2, 0, -1]]


class Recorder:
    """A network of one-shot configuration that shows given planes and remembers what masks it saw."""

    def __init__(self, plan: Recipe) -> None:
        self.config, self.seen = plan.model, []

    def step(self, frame, state, *, slots, masks=None):
        self.seen.append(masks.clone())
        logits = torch.full((1, slots, *SIZE), float(len(self.seen)))
        return type("Out", (), {"logits": logits, "state": None})()


@pytest.mark.parametrize("teacher", [0.0, 1.0])
def test_the_first_stage_sees_the_true_previous_masks_and_the_second_its_own(teacher: float):
    images, labels, complete = batch(frames=4)
    model = Recorder(small("published-one-shot"))
    PublishedRollout(slots=3).run(model, images, labels, complete, [torch.Generator()], teacher=teacher)
    truth = torch.stack([labels[:, t] == k for t in range(4) for k in (1, 2)]).view(4, 2, *SIZE).float()[:, None]
    assert torch.equal(model.seen[0], truth[0]) and torch.equal(model.seen[1], truth[0])
    for t in (2, 3):
        own = torch.sigmoid(torch.full((1, 2, *SIZE), float(t)))
        assert torch.equal(model.seen[t], truth[t - 1] if teacher else own)


def test_unseen_objects_do_not_count_and_clips_without_any_cost_nothing():
    images, labels, complete = batch()
    labels[0, 2][labels[0, 2] == 2] = 0
    for name, parts in zip(RECIPES, ({"track": 3}, {"discover": 2, "track": 3}), strict=True):
        plan = small(name)
        losses = plan.rollout.run(network(plan), images, labels, complete, [torch.Generator()], teacher=1.0)
        assert losses.counts == parts
        empty = plan.rollout.run(network(plan), images, labels * 0, complete, [torch.Generator()], teacher=1.0)
        assert float(empty.total.detach()) == 0


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_on_one_clip_bring_the_loss_down(name: str):
    plan = small(name)
    plan = replace(plan, model=replace(plan.model, hidden_size=32))
    model, clip, totals = network(plan), batch(frames=2), []
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(12):
        losses = plan.rollout.run(model, *clip, [torch.Generator()], teacher=0.0)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert totals[-1] < 0.8 * totals[0]


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
