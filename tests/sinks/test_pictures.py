"""Masks and objects as PNGs, and the summary beside them."""

from __future__ import annotations

import json
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rvos_cli.errors import OutputError
from rvos_cli.masks import read_labels
from rvos_cli.png import DAVIS_PALETTE
from rvos_cli.results import FrameMasks, ObjectSummary, RunSummary
from rvos_cli.sinks import MaskFolder, ObjectFolders, pictures, write_summary


def frame_of(index: int, labels: np.ndarray, name: str | None = None) -> FrameMasks:
    image = np.zeros((*labels.shape, 3), np.uint8)
    return FrameMasks(index=index, time=Fraction(index, 25), name=name or f"{index:05d}", image=image, labels=labels)


def test_masks_are_palette_pngs_of_the_sources_size(tmp_path: Path) -> None:
    labels = np.zeros((37, 51), np.uint8)
    labels[3:9, 4:20], labels[20:, 30:] = 1, 200
    with MaskFolder(tmp_path / "masks") as sink:
        for index in range(12):
            sink.write(frame_of(index, labels))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [f"{index:05d}.png" for index in range(12)]
    with Image.open(tmp_path / "masks" / "00003.png") as image:
        assert image.mode == "P"
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    assert np.array_equal(palette, DAVIS_PALETTE[: len(palette)])
    assert len(palette) > 200
    assert np.array_equal(read_labels(tmp_path / "masks" / "00003.png"), labels)


def test_objects_have_a_png_for_every_frame_from_the_first_on(tmp_path: Path) -> None:
    names = ["a", "b.c", "ü z", "7"]
    with ObjectFolders(tmp_path / "objects", (3,)) as sink:
        for index, name in enumerate(names):
            labels = np.zeros((8, 9), np.uint8)
            labels[0, 0] = 12 if index >= 2 else 0
            labels[1, 1] = 3 if index == 1 else 0
            sink.write(frame_of(index, labels, name))
    assert sorted(path.name for path in (tmp_path / "objects").iterdir()) == ["03", "12"]
    for folder in ("03", "12"):
        files = sorted((tmp_path / "objects" / folder).iterdir())
        assert [path.name for path in files] == sorted(f"{name}.png" for name in names)
        for path in files:
            with Image.open(path) as image:
                assert (image.mode, image.size) == ("L", (9, 8))
            present = (folder, path.stem) in {("03", "b.c"), ("12", "ü z"), ("12", "7")}
            values = read_labels(path)
            assert np.count_nonzero(values) == present
            assert set(np.unique(values)) <= {0, 255}


def test_object_that_comes_after_many_frames_gets_all_earlier_ones(tmp_path: Path) -> None:
    empty, late = np.zeros((4, 4), np.uint8), np.full((4, 4), 1, np.uint8)
    with ObjectFolders(tmp_path / "objects") as sink:
        for index in range(400):
            sink.write(frame_of(index, late if index == 399 else empty))
    files = sorted((tmp_path / "objects" / "01").iterdir())
    assert [path.stem for path in files] == [f"{index:05d}" for index in range(400)]
    assert [int(read_labels(path).max()) for path in (files[0], files[398], files[399])] == [0, 0, 255]


def test_first_masks_objects_exist_even_if_never_seen(tmp_path: Path) -> None:
    with ObjectFolders(tmp_path / "objects", (2, 1)) as sink:
        sink.write(frame_of(0, np.zeros((4, 4), np.uint8)))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
        "objects/01/00000.png",
        "objects/02/00000.png",
    ]


def test_slow_disk_holds_few_label_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no PNG can be written, the sink takes a few frames and then waits."""
    gate, taken = threading.Event(), []
    monkeypatch.setattr(pictures, "write_indexed_png", lambda path, labels: gate.wait(10))
    sink = MaskFolder(tmp_path / "masks")

    def feed() -> None:
        for index in range(100):
            sink.write(frame_of(index, np.zeros((4, 4), np.uint8)))
            taken.append(index)

    thread = threading.Thread(target=feed)
    thread.start()
    time.sleep(0.2)
    assert 0 < len(taken) <= 2 * pictures.SIDE_THREADS + 1
    gate.set()
    thread.join(10)
    sink.close()
    assert len(taken) == 100


def test_failing_png_is_told_and_stops_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, labels: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "write_indexed_png", fail)
    with pytest.raises(OutputError, match="No space left"), MaskFolder(tmp_path / "masks") as sink:
        for index in range(50):
            sink.write(frame_of(index, np.zeros((4, 4), np.uint8)))


def test_aborted_folders_hold_whole_pngs_only(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        MaskFolder(tmp_path / "masks") as masks,
        ObjectFolders(tmp_path / "o") as objects,
    ):
        for index in range(9):
            labels = np.full((64, 64), index % 3, np.uint8)
            masks.write(frame_of(index, labels))
            objects.write(frame_of(index, labels))
        raise KeyboardInterrupt
    written = list(tmp_path.rglob("*.*"))
    assert len(written) > 9  # but for the few that were waiting
    for path in written:
        assert path.suffix == ".png"
        assert read_labels(path).shape == (64, 64)


def test_summary_is_json_and_replaces_the_old_one_in_one_step(tmp_path: Path) -> None:
    summary = RunSummary(
        input="vidéo.mp4",
        frames=2,
        fps=29.97,
        size=(4, 6),
        objects=(ObjectSummary(id=1, first_frame=0, last_frame=1, frames_seen=2, mean_area=3.5),),
        outputs={"masks": "masks"},
        seconds=1.5,
        frames_per_second=1.33,
        device="cpu",
        weights="lite",
        weights_sha256="00",
        version="1",
        mode="segment",
        warnings=("w",),
    )
    path = tmp_path / "new" / "summary.json"
    write_summary(path, summary)
    write_summary(path, summary)
    assert json.loads(path.read_text("utf-8")) == json.loads(json.dumps(summary.to_dict()))
    assert [each.name for each in path.parent.iterdir()] == ["summary.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_summary(tmp_path / "file" / "summary.json", summary)
