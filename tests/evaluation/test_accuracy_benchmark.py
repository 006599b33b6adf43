"""benchmarks/accuracy.py on a small DAVIS tree, with a network whose masks are known."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import rvos_cli as rvos

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy.py"
FRAMES = 14


@pytest.fixture(scope="module")
def accuracy() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("rvos_accuracy_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    sys.path.insert(0, str(SCRIPT.parent))  # where a script finds its neighbours
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
    sys.path.remove(str(SCRIPT.parent))


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A tree with one sequence of one object and one (bmx-trees) of two."""
    for name, objects in (("blob", 1), ("bmx-trees", 2)):
        frames = tmp_path / "davis" / "JPEGImages" / "480p" / name
        masks = tmp_path / "davis" / "Annotations" / "480p" / name
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index in range(FRAMES):
            labels = np.zeros((72, 96), np.uint8)
            for k in range(objects):
                labels[10 + 30 * k : 30 + 30 * k, 10 + index : 40 + index] = k + 1
            Image.fromarray(labels).save(masks / f"{index:05d}.png")
            Image.fromarray(np.stack([labels * 80] * 3, axis=-1)).save(frames / f"{index:05d}.jpg")
    return tmp_path


class Oracle:
    """Tracks perfectly; finds the true objects under other ids, and *extra* objects beside them."""

    name, sha256, device = "oracle", "0" * 64, torch.device("cpu")

    def __init__(self, extra: int) -> None:
        self.extra = extra

    def stream(self, frames: Path, *, first_mask: Path | None = None, **_: Any) -> Iterator[rvos.FrameMasks]:
        masks = frames.parents[2] / "Annotations" / "480p" / frames.name
        for index, path in enumerate(sorted(frames.iterdir())):
            truth = np.asarray(Image.open(masks / f"{path.stem}.png"))
            labels = truth.copy()
            if first_mask is None:
                labels[truth > 0] += 40
                for k in range(self.extra):
                    labels[70, 2 * k] = k + 1
            image = np.asarray(Image.open(path).convert("RGB"))
            yield rvos.FrameMasks(index=index, time=Fraction(index), name=path.stem, image=image, labels=labels)


def test_a_perfect_network_scores_one_and_surplus_objects_are_counted(
    accuracy: ModuleType,
    davis: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(rvos, "load_model", lambda *_, **__: Oracle(extra=25))
    words = ["--data", str(davis), "--json", str(tmp_path / "a.json"), "--contact-sheet", str(tmp_path / "sheets")]
    words += ["--mask-sheet", str(tmp_path / "masks")]
    assert accuracy.main(words) == 0

    document = json.loads((tmp_path / "a.json").read_text())
    rows = document["rows"]
    assert rows["one-shot J&F, union"] == 1.0
    assert rows["bmx-trees, one-shot J&F, unmerged"] == 1.0
    assert rows["zero-shot J&F, unsupervised protocol"] == 1.0
    assert 0.3 < rows["zero-shot J&F, union"] < 1.0
    assert rows["objects found that are not there"] == 25.0
    assert rows["steadiness, one-shot"] == 1.0
    assert [entry["name"] for entry in document["sequences"]] == ["blob", "bmx-trees"]

    printed = capsys.readouterr().out
    assert "| bmx-trees, one-shot J&F, unmerged | 1.000 | 0.50 | 0.65 |" in printed
    assert "oracle" in printed
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == ["blob_segment.png", "blob_track.png", "bmx-trees_segment.png", "bmx-trees_track.png"]
    with Image.open(tmp_path / "sheets" / "blob_track.png") as sheet:
        assert sheet.size == (4 * 96, 3 * 72)
    with Image.open(tmp_path / "masks" / "blob_segment.png") as sheet:
        assert sheet.size == (6 * 96, 72)


def test_masks_against_the_truth_show_what_is_right_missing_and_too_much(accuracy: ModuleType) -> None:
    truth, labels = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    truth[0, :2], labels[0, 1:3] = 1, 7
    frame = rvos.FrameMasks(index=0, time=Fraction(0), name="0", image=np.zeros((2, 4, 3), np.uint8), labels=labels)
    drawn = accuracy.against_truth(frame, truth)
    colours = [tuple(drawn[0, x].tolist()) for x in range(4)]
    assert colours[0] == (70, 70, 70) and colours[3] == (244, 244, 244) and len(set(colours)) == 4
    assert max(colours[1]) == 255 and min(colours[2]) > 150


def test_a_mask_that_flickers_is_not_steady_and_one_that_moves_with_its_object_is(accuracy: ModuleType) -> None:
    truth = np.zeros((3, 8, 8), np.uint8)
    for index in range(3):
        truth[index, 2:6, index : index + 4] = 1
    moving, flickering = accuracy.Steadiness(), accuracy.Steadiness()
    for index, mask in enumerate(truth):
        moving.feed(mask, mask)
        flickering.feed(mask if index != 1 else mask * 0, mask)
    assert moving.mean == 1.0 and flickering.mean == 0.0


def test_a_quick_look_takes_some_sequences(
    accuracy: ModuleType, davis: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rvos, "load_model", lambda *_, **__: Oracle(extra=0))
    assert accuracy.main(["--data", str(davis), "--stride-sequences", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| bmx-trees, one-shot J&F, unmerged | - |" in printed
    assert "| objects found that are not there | 0.000 |" in printed


def test_wrong_folders_and_names_are_said_in_one_line(
    accuracy: ModuleType, davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main(["--data", str(tmp_path / "nowhere")]) == 1
    assert accuracy.main(["--data", str(davis), "--sequences", "blob,swan"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "JPEGImages/480p" in lines[0]
    assert "no sequence swan" in lines[1]


class Counter:
    """Finds one object in all of a frame; notes which frames it was given."""

    name, sha256, device = "counter", "0" * 64, torch.device("cpu")

    def __init__(self) -> None:
        self.clips: list[list[int]] = []

    def stream(self, frames: Iterator[np.ndarray], **_: Any) -> Iterator[rvos.FrameMasks]:
        self.clips.append([])
        for index, image in enumerate(frames):
            self.clips[-1].append(int(np.flatnonzero(image[20, :, 0] > 40)[0]))
            labels = np.ones(image.shape[:2], np.uint8)
            yield rvos.FrameMasks(index=index, time=Fraction(index), name=str(index), image=image, labels=labels)


def test_excerpts_begin_anywhere_and_are_scored_by_themselves(
    accuracy: ModuleType,
    davis: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = Counter()
    monkeypatch.setattr(rvos, "load_model", lambda *_, **__: network)
    Image.new("L", (96, 72)).save(tmp_path / "davis/Annotations/480p/blob/00004.png")
    words = ["--data", str(davis), "--cut", "4", "--json", str(tmp_path / "a.json")]
    assert accuracy.main(words) == 0

    document = json.loads((tmp_path / "a.json").read_text())
    names = [entry["name"] for entry in document["sequences"]]
    assert names == ["blob@0", "blob@8", "bmx-trees@0", "bmx-trees@4", "bmx-trees@8"]  # nothing to follow at blob@4
    assert all(entry["frames"] == 4 for entry in document["sequences"])
    starts = [clip[0] for clip in network.clips]  # the square's left edge is at 10 + the frame's number
    assert starts[:4] == pytest.approx([10, 10, 18, 18], abs=1) and all(len(clip) == 4 for clip in network.clips)
    assert 0 < document["rows"]["bmx-trees, one-shot J&F, unmerged"] < 1
    assert "| one-shot J&F, union | 0." in (printed := capsys.readouterr().out) and "0.88" not in printed


def test_excerpts_too_short_or_too_long_are_one_clear_line(
    accuracy: ModuleType, davis: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main(["--data", str(davis), "--cut", "3"]) == 2
    assert accuracy.main(["--data", str(davis), "--cut", "15"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "--cut is 3; excerpts need 4 frames or more",
        "no sequence has 15 frames; cut them shorter",
    ]
