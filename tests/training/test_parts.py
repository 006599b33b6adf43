"""Clips whose things share one label are taken apart, and a run learns from the parts."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rvos_cli.cli.app import run as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.errors import DatasetError, OutputError, UsageError, WeightsError
from rvos_cli.masks import read_labels, write_indexed_png
from rvos_cli.model import RVOS
from rvos_cli.session import Session
from rvos_cli.training.batches import clip_dataset
from rvos_cli.training.datasets import ClipDataset
from rvos_cli.training.library import DIVIDED_FAVOUR, MERGED_CLIPS, MERGED_FAVOUR, Library, open_library
from rvos_cli.training.loop import train
from rvos_cli.training.outlines import Outline, Outlines, divide_mask, read_outlines
from rvos_cli.training.parts import divide_clips
from rvos_cli.training.recipes import Recipe, Stage, TrainOptions, made_clips
from rvos_cli.training.start import divide_first
from rvos_cli.weights import build_model, load_weights, save_weights

NAME = "davis2016/bmx-bumps"
SIZE = WIDTH, HEIGHT = 160, 96
FRAMES, KEYS = 7, (1, 5)
CONFIG = ModelConfig(hidden_size=16, key_dim=8)


def left(index: int) -> int:
    return 20 + 8 * index


def truth(index: int) -> np.ndarray:
    """Object 2, a blue box, touches object 1, an orange one; both move to the right."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[30:70, left(index) : left(index) + 30] = 2
    labels[30:70, left(index) + 30 : left(index) + 60] = 1
    return labels


def stem(index: int) -> str:
    return f"{2 * index:05d}"


def outline(identity: int, index: int, start: int = 0, end: int = 29) -> Outline:
    x = left(index)
    return Outline(identity, ((x + start, 25), (x + end, 25), (x + end, 75), (x + start, 75)))


def outlines(*given: tuple[int, int], ignored: bool = False) -> Outlines:
    """Outlines of the blue box: of which object on which frame; perhaps the left end of it is to be ignored."""
    first = {index: (outline(255, index, 0, 7),) if ignored else () for index, _ in given}
    return Outlines(SIZE, {NAME: {stem(index): (*first[index], outline(ident, index)) for index, ident in given}})


BOTH = outlines((KEYS[0], 2), (KEYS[1], 2))


def add_clip(root: Path, name: str = NAME) -> None:
    folder = root / "train/clips" / name
    folder.mkdir(parents=True)
    noise = np.random.default_rng(1).integers(90, 140, (HEIGHT, WIDTH, 1)).repeat(3, axis=2).astype(np.uint8)
    for index in range(FRAMES):
        labels, image = truth(index), noise.copy()
        image[labels == 1], image[labels == 2] = (230, 120, 20), (20, 60, 220)
        Image.fromarray(image).save(folder / f"{stem(index)}.jpg", quality=95)
        write_indexed_png(folder / f"{stem(index)}.png", (labels > 0).astype(np.uint8))


def mask_path(root: Path, index: int) -> Path:
    return root / "train/clips" / NAME / f"{stem(index)}.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add_clip(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def shipped() -> RVOS:
    return build_model(load_weights("lite"))


@pytest.fixture
def small() -> RVOS:
    torch.manual_seed(0)
    return RVOS(CONFIG)


def masks(folder: Path) -> list[np.ndarray]:
    return [read_labels(path) for path in sorted((folder / NAME).glob("*.png"))]


def test_each_thing_keeps_its_id_and_all_of_them_stay_the_mask(root: Path, tmp_path: Path, shipped: RVOS):
    assert divide_clips(open_library(root), tmp_path / "parts", shipped, outlines=BOTH) == (NAME,)
    found = masks(tmp_path / "parts")
    assert len(found) == FRAMES
    for index, labels in enumerate(found):
        true = truth(index)
        assert np.array_equal(labels > 0, true > 0)
        for identity in (1, 2):
            assert np.mean(labels[true == identity] == identity) > 0.9, (index, identity)


def test_a_gap_is_filled_from_both_sides(root: Path, tmp_path: Path, shipped: RVOS):
    divide_clips(open_library(root), tmp_path / "parts", shipped, outlines=outlines((KEYS[0], 2), (KEYS[1], 3)))
    ids = [set(np.unique(labels)) - {0} for labels in masks(tmp_path / "parts")]
    assert ids == [{1, 2}] * 4 + [{1, 3}] * 3


def test_what_nobody_can_tell_is_ignored_on_every_frame(root: Path, tmp_path: Path, shipped: RVOS):
    corner = read_labels(mask_path(root, 3))
    corner[:5, :5] = 255
    write_indexed_png(mask_path(root, 3), corner)
    ignored = outlines((KEYS[0], 2), (KEYS[1], 2), ignored=True)
    divide_clips(open_library(root), tmp_path / "parts", shipped, outlines=ignored)
    for index, labels in enumerate(masks(tmp_path / "parts")):
        assert set(np.unique(labels)) == {0, 1, 2, 255}
        given = read_labels(mask_path(root, index))
        assert np.array_equal(labels > 0, given > 0) and (labels[given == 255] == 255).all()
        assert np.mean(labels[35:65, left(index) : left(index) + 4] == 255) > 0.8


def test_without_any_trace_of_the_things_all_is_object_1(root: Path, tmp_path: Path, small: RVOS, monkeypatch):
    monkeypatch.setattr(Session, "step", lambda self, image: np.zeros(image.shape[:2], np.uint8))
    divide_clips(open_library(root), tmp_path / "parts", small, outlines=BOTH)
    found = masks(tmp_path / "parts")
    assert set(np.unique(found[KEYS[0]])) == {0, 1, 2}
    assert np.array_equal(found[0], (truth(0) > 0).astype(np.uint8))


def test_outlines_fit_frames_of_another_size():
    union = truth(1) > 0
    drawn = outline(2, 1)
    large = union.repeat(2, axis=0).repeat(2, axis=1)
    one, other = (divide_mask(mask, (drawn,), SIZE, "mask") for mask in (union, large))
    assert np.array_equal(one, truth(1))
    assert np.mean(other != one.repeat(2, axis=0).repeat(2, axis=1)) < 0.01


def test_the_first_outline_of_a_pixel_gets_it():
    found = divide_mask(truth(1) > 0, (outline(255, 1, 0, 9), outline(3, 1, 5, 19), outline(2, 1)), SIZE, "mask")
    row = found[50, left(1) : left(1) + 31]
    assert row.tolist() == [255] * 10 + [3] * 10 + [2] * 10 + [1]


def test_the_network_and_all_randomness_stay_as_they_are(root: Path, tmp_path: Path, small: RVOS):
    small.train()
    small.encoder.base.eval()
    before, modes = copy.deepcopy(small.state_dict()), [module.training for module in small.modules()]
    torch_state, numpy_state = torch.get_rng_state(), json.dumps(np.random.get_state()[1].tolist())
    divide_clips(open_library(root), tmp_path / "parts", small, outlines=BOTH)
    assert all(torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())
    assert [module.training for module in small.modules()] == modes
    assert torch.equal(torch_state, torch.get_rng_state())
    assert numpy_state == json.dumps(np.random.get_state()[1].tolist())
    assert all(not tensor.is_inference() for tensor in small.state_dict().values())


def test_a_whole_clip_is_left_alone_and_a_killed_call_leaves_no_half_one(
    root: Path, tmp_path: Path, small: RVOS, monkeypatch
):
    second = "davis2016/kite-walk"
    add_clip(root, second)
    two, output = Outlines(SIZE, {NAME: BOTH.clips[NAME], second: BOTH.clips[NAME]}), tmp_path / "parts"
    worked: list[str] = []
    step = Session.step

    def killed(self: Session, image: np.ndarray) -> np.ndarray:
        if worked[-1] == second and list(output.rglob(".kite-walk.part/*.png")):
            raise KeyboardInterrupt
        return step(self, image)

    monkeypatch.setattr(Session, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        divide_clips(open_library(root), output, small, outlines=two, on_clip=worked.append)
    assert worked == [NAME, second]
    assert [path.name for path in (output / "davis2016").iterdir()] == ["bmx-bumps"]
    monkeypatch.setattr(Session, "step", step)

    (output / "davis2016/.kite-walk.part").mkdir()  # left where not even the clearing up came to its end
    (output / "davis2016/.kite-walk.part/00099.png").write_text("half a mask")
    first = {path: path.stat().st_mtime_ns for path in (output / NAME).iterdir()}
    worked.clear()
    assert divide_clips(open_library(root), output, small, outlines=two, on_clip=worked.append) == (NAME, second)
    assert worked == [second]
    assert {path: path.stat().st_mtime_ns for path in (output / NAME).iterdir()} == first
    assert sorted(path.name for path in (output / "davis2016").iterdir()) == ["bmx-bumps", "kite-walk"]
    assert len(list((output / second).iterdir())) == FRAMES

    (output / NAME / f"{stem(2)}.png").unlink()
    worked.clear()
    divide_clips(open_library(root), output, small, outlines=two, on_clip=worked.append)
    assert worked == [NAME] and len(masks(output)) == FRAMES


def test_clips_that_are_not_there_are_no_matter(data_root: Path, tmp_path: Path, small: RVOS):
    assert divide_clips(open_library(data_root), tmp_path / "parts", small) == ()
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Outlines(SIZE, {NAME: {"00099": (outline(2, 1),)}}), "outlines for frame 00099, and no such frame"),
        (Outlines(SIZE, {NAME: {stem(6): (outline(2, 0, 0, 10),)}}), "object 2 has no pixel of the mask .*00012.png"),
        (Outlines(SIZE, {NAME: {stem(1): (outline(2, 1), outline(3, 1))}}), "object 3 has no pixel"),
        (Outlines((160, 160), BOTH.clips), "is 160x96, and its outlines were drawn at 160x160; use the clips of DAVIS"),
    ],
)
def test_outlines_that_do_not_fit_are_named(root: Path, tmp_path: Path, small: RVOS, given: Outlines, told: str):
    library = open_library(root)
    with pytest.raises(DatasetError, match=told):
        divide_clips(library, tmp_path / "parts", small, outlines=given)
    assert not (tmp_path / "parts" / NAME).exists()


def test_a_clip_that_tells_its_things_apart_already_is_refused(root: Path, tmp_path: Path, small: RVOS):
    write_indexed_png(mask_path(root, KEYS[0]), truth(KEYS[0]))
    with pytest.raises(DatasetError, match="several labels already"):
        divide_clips(open_library(root), tmp_path / "parts", small, outlines=BOTH)


def test_a_network_that_cannot_follow_is_refused(root: Path, tmp_path: Path, zero_shot_weights: Path):
    network = build_model(load_weights(zero_shot_weights))
    with pytest.raises(WeightsError, match="cannot follow"):
        divide_clips(open_library(root), tmp_path / "parts", network, outlines=BOTH)


def test_a_folder_that_cannot_be_written_is_named(root: Path, tmp_path: Path, small: RVOS):
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        divide_clips(open_library(root), tmp_path / "parts", small, outlines=BOTH)


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '{"size": [160, 96]}',
        '{"size": [160, 96], "clips": {"a/b": {"0": [{"object": 0, "polygon": [[1, 1], [2, 2], [3, 1]]}]}}}',
        '{"size": [160, 96], "clips": {"a/b": {"0": [{"object": 2, "polygon": [[1, 1], [2, 2]]}]}}}',
        '{"size": [160, 96], "clips": {"a/b": {"0": [{"object": 2, "polygon": [[1, 1], [2, 2], [161, 1]]}]}}}',
        '{"size": [160, 96], "clips": {"a/b": {"0": []}}}',
    ],
)
def test_a_file_of_outlines_that_is_none_is_named(tmp_path: Path, text: str):
    (tmp_path / "outlines.json").write_text(text)
    with pytest.raises(DatasetError, match=r"outlines"):
        read_outlines(tmp_path / "outlines.json")


def test_the_outlines_of_the_package_are_of_merged_clips_and_within_their_frames():
    shipped = read_outlines()
    assert shipped.size == (480, 270)
    assert len(shipped.clips) == 9 and shipped.clips.keys() <= MERGED_CLIPS
    for frames in shipped.clips.values():
        assert len(frames) >= 2
        drawn = [one for outlines in frames.values() for one in outlines]
        assert {one.object for one in drawn} <= {1, 2, 3, 4, 255}
        assert all(0 <= x <= 480 and 0 <= y <= 270 for one in drawn for x, y in one.polygon)


def divided(data_root: Path, folder: Path) -> Library:
    """The small data folder with one merged clip, which is divided."""
    add_clip(data_root)
    for index in range(FRAMES):
        (folder / NAME).mkdir(parents=True, exist_ok=True)
        write_indexed_png(folder / NAME / f"{stem(index)}.png", truth(index))
    return open_library(data_root, parts=folder)


def test_a_divided_clip_comes_a_second_time_with_its_parts(data_root: Path, tmp_path: Path):
    found = divided(data_root, tmp_path / "parts")
    names = ["davis2016/bmx-bumps", "davis2016/box", "davis2016/bmx-bumps, divided", "ytvos_ffvi/three"]
    assert [clip.name for clip in found.sequences] == names
    merged, _, parts, _ = found.sequences
    assert merged.merged and not merged.complete and not merged.divided
    assert parts.complete and parts.divided and not parts.merged
    assert parts.images == merged.images and len(parts.masks) == FRAMES
    assert np.array_equal(found.labels(parts.masks[2]), truth(2))


@pytest.mark.parametrize("favour", [DIVIDED_FAVOUR, 0.8])
def test_merged_clips_are_drawn_less_often_once_there_are_divided_ones(favour: float, data_root: Path, tmp_path: Path):
    found = replace(divided(data_root, tmp_path / "parts"), divided_favour=favour)
    rng = np.random.default_rng(0)
    drawn = [found.draw_sequence(rng).name for _ in range(4000)]
    counts = {clip.name: drawn.count(clip.name) for clip in found.sequences}
    assert counts[NAME] / counts["davis2016/box"] == pytest.approx(MERGED_FAVOUR, rel=0.15)
    assert counts[f"{NAME}, divided"] / counts["davis2016/box"] == pytest.approx(favour, rel=0.15)
    assert counts["ytvos_ffvi/three"] / counts["davis2016/box"] == pytest.approx(1, rel=0.15)


def test_without_divided_clips_all_is_as_it_was(data_root: Path, tmp_path: Path):
    divided(data_root, tmp_path / "parts")
    found = open_library(data_root)
    lengths = np.array([min(2.0, len(clip.images) / 20) for clip in found.sequences])
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(200):
        place = int(other.choice(len(lengths), p=lengths / lengths.sum()))
        assert found.draw_sequence(one) is found.sequences[place]
    empty = open_library(data_root, parts=tmp_path / "nothing")
    assert empty.sequences == found.sequences
    clips, again = (ClipDataset(data_root, height=48, width=80, parts=p) for p in (None, tmp_path / "nothing"))
    assert all(torch.equal(clips[index]["frames"], again[index]["frames"]) for index in range(8))


def test_a_divided_clip_without_all_its_masks_is_named(data_root: Path, tmp_path: Path):
    divided(data_root, tmp_path / "parts")
    (tmp_path / "parts" / NAME / f"{stem(3)}.png").unlink()
    with pytest.raises(DatasetError, match=r"lacks .*00006\.png; remove .*bmx-bumps"):
        open_library(data_root, parts=tmp_path / "parts")


def add_flight(root: Path) -> str:
    """A clip under a name that the package has outlines for, with a mask that they fit."""
    name, folder = "davis2016/paragliding", root / "train/clips/davis2016/paragliding"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    for key in ("00000", "00022", "00044"):
        Image.fromarray(rng.integers(0, 255, (108, 192, 3), np.uint8)).save(folder / f"{key}.jpg")
        mask = np.zeros((108, 192), np.uint8)
        mask[40:100, 60:180] = 1
        write_indexed_png(folder / f"{key}.png", mask)
    return name


@pytest.fixture
def options(data_root: Path, tmp_path: Path, small: RVOS) -> TrainOptions:
    save_weights(tmp_path / "start.safetensors", CONFIG, small.state_dict())
    add_flight(data_root)
    stage = Stage(until=1.0, teacher=0.3, real=1.0, frames=2, size=(64, 96))
    return TrainOptions(
        data=data_root,
        output=tmp_path / "run",
        recipe=Recipe(model=CONFIG, stages=(stage,), steps=2, batch=2, warmup=2, divided=1.5),
        init=str(tmp_path / "start.safetensors"),
        device="cpu",
        precision="float32",
        workers=0,
    )


def test_a_run_takes_clips_apart_once_and_learns_from_them(options: TrainOptions, tmp_path: Path):
    worked: list[str] = []
    whole = train(options, on_clip=worked.append)
    assert whole.finished and worked == ["davis2016/paragliding"]
    assert len(list((options.output / "parts/davis2016/paragliding").iterdir())) == 3
    clips = clip_dataset(options, options.recipe.stages[0])
    assert isinstance(clips, ClipDataset)
    assert "davis2016/paragliding, divided" in [clip.name for clip in clips._maker.library.sequences]

    stopped = replace(options, output=tmp_path / "stopped", minutes=1e-9)
    assert train(stopped, on_clip=worked.append).step == 0
    result = train(replace(stopped, minutes=0), on_clip=worked.append)
    assert len(worked) == 2
    one, other = load_weights(whole.weights).tensors, load_weights(result.weights).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_first_steps_of_a_run_do_not_depend_on_when_its_clips_were_taken_apart(options: TrainOptions, small: RVOS):
    first = load_weights(train(options).weights).tensors
    again = replace(options, output=options.output.with_name("again"))
    (options.output / "parts").rename(options.output.with_name("kept"))
    again.output.mkdir()
    options.output.with_name("kept").rename(again.output / "parts")
    second = load_weights(train(again).weights).tensors
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_the_first_process_takes_clips_apart(options: TrainOptions, small: RVOS, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    divide_first(options, small, lambda name: pytest.fail(f"took apart {name}"))
    assert not options.output.exists()
    monkeypatch.setenv("RANK", "0")
    divide_first(options, small, lambda name: None)
    assert (options.output / "parts/davis2016/paragliding").is_dir()


SCRIPT = """
import os, pickle, sys, time
from pathlib import Path
from rvos_cli.training import batches, loop

if __name__ == "__main__":
    folder, rank, look = Path(sys.argv[1]), os.environ["RANK"], batches.clip_dataset

    def note(name):
        (folder / f"divides-{rank}").write_text(name)
        time.sleep(2)  # so that one who does not wait is early

    def opened(options, stage):
        clips = look(options, stage)
        names = [clip.name for clip in clips._maker.library.sequences if clip.divided]
        (folder / f"sees-{rank}").write_text(" ".join(names))
        return clips

    batches.clip_dataset = opened
    loop.train(pickle.loads((folder / "options").read_bytes()), on_clip=note)
"""


def test_the_other_processes_wait_for_the_divided_clips(options: TrainOptions, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "options").write_bytes(pickle.dumps(replace(options, recipe=replace(options.recipe, steps=1))))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seen = [(tmp_path / f"sees-{rank}").read_text() for rank in (0, 1)]
    assert seen == ["davis2016/paragliding, divided"] * 2
    assert [path.name for path in tmp_path.glob("divides-*")] == ["divides-0"]


def test_a_recipe_that_divides_nothing_makes_no_folder(options: TrainOptions):
    train(replace(options, recipe=replace(options.recipe, divided=0.0, steps=1)))
    assert not (options.output / "parts").exists()


def test_a_network_that_has_learned_nothing_takes_nothing_apart(options: TrainOptions, small: RVOS):
    with pytest.raises(UsageError, match="has to be trained; add --init"):
        divide_first(replace(options, init=None), small, lambda name: None)


def test_a_stage_says_how_many_of_the_made_clips_are_photographs(options: TrainOptions):
    clips = made_clips(options, Stage(until=1.0, teacher=0.1, real=0.4, photographs=0.7))
    assert isinstance(clips, ClipDataset)
    assert clips.mix.photograph == pytest.approx(0.42) and clips.mix.composite == pytest.approx(0.12)
    assert clips.mix.empty == pytest.approx(0.06) and clips.mix.real == 0.4


def test_a_recipe_says_how_often_divided_clips_are_drawn(options: TrainOptions, small: RVOS):
    divide_first(options, small, lambda name: None)
    plan = replace(options.recipe, divided=2.5)
    clips = made_clips(replace(options, recipe=plan), plan.stages[0])
    assert isinstance(clips, ClipDataset) and clips._maker.library.divided_favour == 2.5


def test_the_preview_says_when_there_are_no_divided_clips_yet(
    options: TrainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rvos_cli.cli.train.PREVIEW_CLIPS", 2)
    words = ["train", "--recipe", "lite-parts", "--data", options.data, "-o", options.output]
    words += ["--preview", tmp_path / "sheet.png"]
    assert rvos([str(word) for word in words]) == 0
    assert "drawn without divided clips" in capsys.readouterr().err
    assert not options.output.exists()
    small = build_model(load_weights(options.init))
    divide_first(options, small, lambda name: None)
    assert rvos([str(word) for word in words]) == 0
    assert "divided" not in capsys.readouterr().err
    assert (tmp_path / "sheet.png").exists()
