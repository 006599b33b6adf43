"""Clips whose things share one label are taken apart; each thing keeps its id, and nothing else changes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from merged_clip import FRAMES, NAME, SIZE, add_clip, left, outline, stem, truth

from rvos_cli.errors import DatasetError, OutputError, WeightsError
from rvos_cli.masks import read_labels, write_indexed_png
from rvos_cli.model import RVOS
from rvos_cli.session import Session
from rvos_cli.training.library import open_library
from rvos_cli.training.outlines import Outlines
from rvos_cli.training.parts import divide_clips
from rvos_cli.weights import build_model, load_weights

KEYS = (1, 5)  # frames that have outlines


def outlines(*given: tuple[int, int], ignored: bool = False) -> Outlines:
    """Outlines of the blue box: of which object on which frame; perhaps the left end of it is to be ignored."""
    first = {index: (outline(255, index, 0, 7),) if ignored else () for index, _ in given}
    return Outlines(SIZE, {NAME: {stem(index): (*first[index], outline(ident, index)) for index, ident in given}})


BOTH = outlines((KEYS[0], 2), (KEYS[1], 2))


def mask_path(root: Path, index: int) -> Path:
    return root / "train/clips" / NAME / f"{stem(index)}.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add_clip(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def shipped() -> RVOS:
    return build_model(load_weights("lite"))


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


def test_without_any_trace_of_the_things_all_is_object_1(root: Path, tmp_path: Path, small_network: RVOS, monkeypatch):
    monkeypatch.setattr(Session, "step", lambda self, image: np.zeros(image.shape[:2], np.uint8))
    divide_clips(open_library(root), tmp_path / "parts", small_network, outlines=BOTH)
    found = masks(tmp_path / "parts")
    assert set(np.unique(found[KEYS[0]])) == {0, 1, 2}
    assert np.array_equal(found[0], (truth(0) > 0).astype(np.uint8))


def test_the_network_and_all_randomness_stay_as_they_are(root: Path, tmp_path: Path, small_network: RVOS):
    small_network.train()
    small_network.encoder.base.eval()
    before, modes = copy.deepcopy(small_network.state_dict()), [module.training for module in small_network.modules()]
    torch_state, numpy_state = torch.get_rng_state(), json.dumps(np.random.get_state()[1].tolist())
    divide_clips(open_library(root), tmp_path / "parts", small_network, outlines=BOTH)
    assert all(torch.equal(before[name], tensor) for name, tensor in small_network.state_dict().items())
    assert [module.training for module in small_network.modules()] == modes
    assert torch.equal(torch_state, torch.get_rng_state())
    assert numpy_state == json.dumps(np.random.get_state()[1].tolist())
    assert all(not tensor.is_inference() for tensor in small_network.state_dict().values())


def test_a_whole_clip_is_left_alone_and_a_killed_call_leaves_no_half_one(
    root: Path, tmp_path: Path, small_network: RVOS, monkeypatch
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
        divide_clips(open_library(root), output, small_network, outlines=two, on_clip=worked.append)
    assert worked == [NAME, second]
    assert [path.name for path in (output / "davis2016").iterdir()] == ["bmx-bumps"]
    monkeypatch.setattr(Session, "step", step)

    (output / "davis2016/.kite-walk.part").mkdir()  # left where not even the clearing up came to its end
    (output / "davis2016/.kite-walk.part/00099.png").write_text("half a mask")
    first = {path: path.stat().st_mtime_ns for path in (output / NAME).iterdir()}
    worked.clear()
    done = divide_clips(open_library(root), output, small_network, outlines=two, on_clip=worked.append)
    assert done == (NAME, second)
    assert worked == [second]
    assert {path: path.stat().st_mtime_ns for path in (output / NAME).iterdir()} == first
    assert sorted(path.name for path in (output / "davis2016").iterdir()) == ["bmx-bumps", "kite-walk"]
    assert len(list((output / second).iterdir())) == FRAMES

    (output / NAME / f"{stem(2)}.png").unlink()
    worked.clear()
    divide_clips(open_library(root), output, small_network, outlines=two, on_clip=worked.append)
    assert worked == [NAME] and len(masks(output)) == FRAMES


def test_clips_that_are_not_there_are_no_matter(data_root: Path, tmp_path: Path, small_network: RVOS):
    assert divide_clips(open_library(data_root), tmp_path / "parts", small_network) == ()
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
def test_outlines_that_do_not_fit_are_named(
    root: Path, tmp_path: Path, small_network: RVOS, given: Outlines, told: str
):
    library = open_library(root)
    with pytest.raises(DatasetError, match=told):
        divide_clips(library, tmp_path / "parts", small_network, outlines=given)
    assert not (tmp_path / "parts" / NAME).exists()


def test_a_clip_that_tells_its_things_apart_already_is_refused(root: Path, tmp_path: Path, small_network: RVOS):
    write_indexed_png(mask_path(root, KEYS[0]), truth(KEYS[0]))
    with pytest.raises(DatasetError, match="several labels already"):
        divide_clips(open_library(root), tmp_path / "parts", small_network, outlines=BOTH)


def test_a_network_that_cannot_follow_is_refused(root: Path, tmp_path: Path, zero_shot_weights: Path):
    network = build_model(load_weights(zero_shot_weights))
    with pytest.raises(WeightsError, match="cannot follow"):
        divide_clips(open_library(root), tmp_path / "parts", network, outlines=BOTH)


def test_a_folder_that_cannot_be_written_is_named(root: Path, tmp_path: Path, small_network: RVOS):
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        divide_clips(open_library(root), tmp_path / "parts", small_network, outlines=BOTH)
