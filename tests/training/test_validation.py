"""Validation during a run: scores that can be trusted, the best weights, pictures, event files, an early end."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trees
from PIL import Image
from small_training import small_options

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from rvos_cli.errors import DatasetError, UsageError
from rvos_cli.model import RVOS
from rvos_cli.training import validation
from rvos_cli.training.loop import train
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions
from rvos_cli.training.validation import Validation, ValidationReport
from rvos_cli.weights import load_weights

CONFIG = ModelConfig(hidden_size=16, key_dim=8, size=64)
PLAN = Recipe(
    model=CONFIG,
    stages=(Stage(until=1.0, teacher=1.0, real=0.3, frames=2, size=(64, 64)),),
    steps=5,
    batch=1,
    average=0.5,
)


@pytest.fixture
def options(data_root: Path, tmp_path: Path) -> TrainOptions:
    return small_options(data_root, tmp_path, PLAN, validate=trees.davis2017(tmp_path / "davis"), validate_every=2)


def make(options: TrainOptions, before: list[tuple[int, float]] | None = None) -> Validation:
    options.output.mkdir(exist_ok=True)
    return Validation(options, torch.device("cpu"), before or [])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "validation.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


class Knowing:
    """In the place of a session: shows what the picture shows, except for the objects of *missed*."""

    missed: tuple[int, ...] = ()

    def __init__(self, network, *, options, device, dtype, first_mask) -> None:
        self.first_mask = first_mask

    def close(self) -> None:
        pass

    def step(self, image):
        shown = np.rint(image[..., 0] / 40).astype(np.uint8)
        return np.where(np.isin(shown, self.missed), 0, shown).astype(np.uint8)


def test_a_run_is_scored_drawn_and_its_best_kept(options: TrainOptions):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen: list[ValidationReport] = []
    result = train(replace(options, tensorboard=True), on_validation=seen.append)
    assert [report.step for report in seen] == [2, 4, 5] == [int(row["step"]) for row in rows(options.output)]
    for report, row in zip(seen, rows(options.output), strict=True):
        both = [float(row["one-shot"]), float(row["zero-shot"])]
        assert min(both) >= 0 and max(both) <= 1
        assert float(row["score"]) == pytest.approx(sum(both) / 2, abs=1e-4) == pytest.approx(report.score, abs=1e-4)
        with Image.open(report.picture) as picture:
            assert picture.size[0] > 200 and np.asarray(picture).std() > 10
    best = max(seen, key=lambda report: (report.score, -report.step))
    assert best.best and result.best == options.output / "best.safetensors"
    assert load_weights(result.best).config == CONFIG
    events = EventAccumulator(str(options.output / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [0, 1, 2, 3, 4]
    assert [event.value for event in events.Scalars("validation/one-shot")] == pytest.approx(
        [report.scores["one-shot"] for report in seen], abs=1e-6
    )
    assert [event.step for event in events.Images("validation")] == [2, 4, 5]


def test_what_is_scored_are_the_averaged_weights(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    seen: list[dict[str, torch.Tensor]] = []

    class Noting(Knowing):
        def __init__(self, network, **rest) -> None:
            super().__init__(network, **rest)
            seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})

    monkeypatch.setattr(validation, "Session", Noting)
    result = train(replace(options, validate_every=99))
    average = load_weights(result.weights).tensors
    for tensors in (load_weights(result.best).tensors, *seen):
        assert all(torch.equal(tensors[name].to(average[name].dtype), average[name]) for name in average)
    trained = torch.load(options.output / "checkpoint.pt", weights_only=True)["model"]
    assert any(not torch.equal(trained[name], average[name]) for name in average)
    assert seen


@pytest.mark.parametrize(("missed", "least", "most"), [((), 1.0, 1.0), ((2,), 0.4, 0.75), ((1, 2), 0.0, 0.0)])
def test_the_score_is_that_of_the_masks(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, missed: tuple[int, ...], least: float, most: float
):
    monkeypatch.setattr(validation, "Session", type("Knows", (Knowing,), {"missed": missed}))
    report = make(options).run(2, RVOS(CONFIG).state_dict(), lambda: False)
    assert report is not None and set(report.scores) == {"one-shot", "zero-shot"}
    assert all(least <= score <= most for score in report.scores.values())


@pytest.mark.parametrize(("one_shot", "mode"), [(True, "one-shot"), (False, "zero-shot")])
def test_a_published_network_is_asked_only_what_it_can_do(options: TrainOptions, one_shot: bool, mode: str):
    config = ModelConfig(
        trunk="resnet34", hidden_size=8, mask_input=one_shot, key_dim=0, mean=IMAGENET_MEAN, std=IMAGENET_STD, size=64
    )
    checked = make(replace(options, validate_frames=3, recipe=replace(PLAN, model=config)))
    report = checked.run(2, RVOS(config).state_dict(), lambda: False)
    assert report is not None and list(report.scores) == [mode]


def test_a_validation_that_is_stopped_is_still_due(options: TrainOptions):
    checked = make(options)
    assert not checked.due(0) and not checked.due(1) and checked.due(2) and checked.due(5)
    assert checked.run(2, RVOS(CONFIG).state_dict(), lambda: True) is None
    assert checked.due(2)
    assert not make(options, [(2, 0.5)]).due(2)


def test_patience_ends_where_nothing_was_better(options: TrainOptions):
    patient = replace(options, patience=2)
    for scores, over in (([0.5], False), ([0.5, 0.4], False), ([0.5, 0.4, 0.5], True), ([0.5, 0.4, 0.6], False)):
        before = [(2 * place, score) for place, score in enumerate(scores, start=1)]
        assert make(patient, before).exhausted is over
        assert not make(options, before).exhausted


def test_a_run_without_progress_ends_early_and_stays_ended(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(validation, "Session", Knowing)
    eager = replace(options, patience=1, validate_every=1)
    result = train(eager)
    assert (result.step, result.finished, result.early) == (2, True, True)
    assert result.weights.exists() and result.best is not None
    steps: list[int] = []
    again = train(eager, on_step=lambda report: steps.append(report.step))
    assert (again.step, again.early, steps) == (2, True, [])
    assert [row["step"] for row in rows(options.output)] == ["1", "2"]


def test_a_run_that_goes_on_repeats_no_validation_and_keeps_none_from_the_future(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(validation, "Session", Knowing)
    train(replace(options, recipe=replace(PLAN, steps=3)))
    with (options.output / "validation.csv").open("a") as stream:
        stream.write("4,0.9,0.9,0.9,1.0\n")  # of a start that crashed before it could save
    train(options)
    assert [(row["step"], row["score"]) for row in rows(options.output)] == [
        (step, "1.0") for step in ("2", "3", "4", "5")
    ]


def test_a_validation_that_fails_costs_no_step(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(validation, "Session", Knowing)
    path = sorted(options.validate.glob("Annotations/480p/*/00003.png"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    with pytest.raises(DatasetError, match=path.name):
        train(options)
    assert torch.load(options.output / "checkpoint.pt", weights_only=True)["step"] == 2
    path.write_bytes(whole)
    steps: list[int] = []
    train(options, on_step=lambda report: steps.append(report.step))
    assert steps == [2, 3, 4] and [row["step"] for row in rows(options.output)] == ["2", "4", "5"]


def test_a_validation_that_is_over_is_not_repeated_after_a_crash(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(validation, "Session", Knowing)
    seen: list[int] = []

    def crash(report: ValidationReport) -> None:
        seen.append(report.step)
        if report.step == 4 and seen.count(4) == 1:
            raise MemoryError

    with pytest.raises(MemoryError):
        train(options, on_validation=crash)
    train(options, on_validation=crash)
    assert seen == [2, 4, 5] and [row["step"] for row in rows(options.output)] == ["2", "4", "5"]


def test_only_the_held_out_sequences_of_a_davis_root_are_looked_at(options: TrainOptions, tmp_path: Path):
    root = trees.davis2017(tmp_path / "both", split="train")
    (root / "ImageSets/2017/val.txt").write_text("cows\n")
    few = make(replace(options, validate=root, validate_frames=3)).sequences
    assert [(sequence.name, len(sequence.frames)) for sequence in few] == [("cows", 3)]


def test_the_lists_of_davis_2016_are_known_too_and_a_root_without_one_is_refused(options: TrainOptions, tmp_path: Path):
    root = trees.davis2017(tmp_path / "both", split="train")
    with pytest.raises(DatasetError, match=r"both lists no held-out sequences; .*ImageSets/2016/val\.txt"):
        (root / "ImageSets/2017/train.txt").rename(root / "ImageSets/2017/trainval.txt")
        make(replace(options, validate=root))
    for year in ("480p", "2016"):
        (root / "ImageSets" / year).mkdir()
        (root / "ImageSets" / year / "val.txt").write_text("cows\n")
        assert [sequence.name for sequence in make(replace(options, validate=root)).sequences] == ["cows"]
        (root / "ImageSets" / year / "val.txt").unlink()


def test_frames_without_a_mask_are_run_but_not_scored(options: TrainOptions, tmp_path: Path, monkeypatch):
    for index in range(9):
        trees.write_frame(tmp_path / "frames" / "ape" / f"{index}.jpg", trees.labels(index))
        if index in (1, 3, 5, 7):
            trees.write_mask(tmp_path / "masks" / "ape" / f"{index}.png", trees.labels(index))
    plain = replace(options, validate=tmp_path, validate_frames=3)
    checked = make(plain)
    assert [path.stem for path in checked.sequences[0].frames] == ["1", "2", "3", "4", "5"]
    monkeypatch.setattr(validation, "Session", Knowing)
    report = checked.run(2, RVOS(CONFIG).state_dict(), lambda: False)
    assert report is not None and report.score == 1.0
    (tmp_path / "masks" / "ape" / "5.png").unlink()
    (tmp_path / "masks" / "ape" / "7.png").unlink()
    with pytest.raises(DatasetError, match="ape has 2 true masks"):
        make(plain)


def test_a_sequence_begins_with_its_first_object(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    given: list[np.ndarray | None] = []

    class Noting(Knowing):
        def __init__(self, network, **rest) -> None:
            super().__init__(network, **rest)
            given.append(self.first_mask)

    monkeypatch.setattr(validation, "Session", Noting)
    for mask in sorted(options.validate.glob("Annotations/480p/*/00000.png")):
        with Image.open(mask) as image:
            empty = image.point(lambda _: 0)
        empty.save(mask)
    report = make(options).run(0, RVOS(CONFIG).state_dict(), lambda: False)
    assert report is not None
    one_shot = given[::2] if len(given) > 1 else given
    assert all(mask is not None and mask.any() for mask in one_shot)


def test_event_files_without_tensorboard_are_one_clear_line(options: TrainOptions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"event files need tensorboard; pip install 'rvos-cli\[train\]'"):
        train(replace(options, tensorboard=True))


def test_patience_needs_validations(options: TrainOptions):
    with pytest.raises(UsageError, match="add --validate DIR"):
        replace(options, validate=None, patience=3)
