"""What a run leaves: which files, under which names and where; and what it never replaces."""

import json
import os
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, square_labels, squares

import rvos_cli as rvos
from rvos_cli.batch_plan import distinct_stems
from rvos_cli.masks import read_labels
from rvos_cli.segmenter import Segmenter


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def frames_of(video: Path) -> int:
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("this must not be reached")


def test_track_writes_the_files_of_the_contract(tiny_model: Segmenter, clip: Path, first_mask: Path, tmp_path: Path):
    out = tmp_path / "out"
    summary = tiny_model.track(clip, first_mask=first_mask, output=out)
    names = [f"{index:05d}.png" for index in range(FRAMES)]
    assert names_in(out) == ["masks", "objects", "overlay.mp4", "summary.json"]
    assert names_in(out / "masks") == names
    assert names_in(out / "objects") == ["01", "02"]
    assert frames_of(out / "overlay.mp4") == FRAMES
    for name in names:
        with Image.open(out / "masks" / name) as image:
            assert (image.mode, image.size) == ("P", (WIDTH, HEIGHT))
        labels = read_labels(out / "masks" / name)
        assert set(np.unique(labels)) <= {0, 1, 2}
        for identity in (1, 2):
            with Image.open(out / "objects" / f"{identity:02d}" / name) as image:
                assert image.mode == "L"
                assert np.array_equal(np.array(image), np.where(labels == identity, 255, 0))
    assert np.array_equal(read_labels(out / "masks" / names[0]), square_labels())
    assert json.loads((out / "summary.json").read_text()) == summary.to_dict()
    assert (summary.frames, summary.size, summary.mode, summary.fps) == (FRAMES, (HEIGHT, WIDTH), "track", 25.0)
    assert [each.id for each in summary.objects] == [1, 2]
    assert summary.to_dict()["weights"] == {"name": "tiny", "sha256": tiny_model.sha256}


def test_segment_names_masks_after_the_frames_of_a_folder(tiny_model: Segmenter, frame_folder: Path, tmp_path: Path):
    summary = tiny_model.segment(frame_folder, output=tmp_path / "out", max_objects=2)
    assert names_in(tmp_path / "out" / "masks") == sorted(f"shot{index + 8}.png" for index in range(FRAMES))
    assert (summary.mode, summary.fps, summary.frames) == ("segment", None, FRAMES)


def test_the_default_output_is_named_after_the_input(
    tiny_model: Segmenter, colours: None, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    summary = tiny_model.segment("clip.mp4", overlay=False, objects=False)
    assert names_in(tmp_path / "rvos-out" / "clip") == ["masks", "summary.json"]
    assert set(summary.outputs) == {"masks", "summary"}
    assert [each.id for each in summary.objects] == [1, 2]


@pytest.mark.parametrize("name", ["..mp4", "...mp4"])
def test_the_default_output_of_a_name_of_dots_lies_below_the_root_of_outputs(
    tiny_model: Segmenter, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
):
    monkeypatch.chdir(tmp_path)
    clip.rename(name)
    tiny_model.segment(name, overlay=False, objects=False)
    assert names_in(tmp_path) == sorted([name, "rvos-out"])
    assert names_in(tmp_path / "rvos-out") == [name]
    assert distinct_stems([Path(name)]) == [name]


def test_older_results_stay_as_they_are_without_force(
    tiny_model: Segmenter, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "old.png").write_bytes(b"old")
    (out / "summary.json").write_text('{"frames": 1, "objects": [], "weights": {}}')
    monkeypatch.setattr("rvos_cli.segmenter.Session", refuse)
    with pytest.raises(rvos.OutputError, match="--force"):
        tiny_model.segment(clip, output=out)
    assert names_in(out) == ["masks", "summary.json"]
    assert names_in(out / "masks") == ["old.png"]


def test_force_leaves_nothing_of_the_older_results(tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path):
    out = tmp_path / "out"
    tiny_model.segment(clip, output=out)
    (out / "notes.txt").write_text("mine")
    tiny_model.segment([squares(0), squares(1)], output=out, objects=False, overlay=False, force=True)
    assert names_in(out) == ["masks", "notes.txt", "summary.json"]
    assert names_in(out / "masks") == ["00000.png", "00001.png"]
    assert json.loads((out / "summary.json").read_text())["frames"] == 2


def test_a_failed_run_leaves_older_results_and_no_final_name(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path
):
    def broken():
        yield squares(0)
        yield squares(1)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        tiny_model.segment(broken(), output=out)
    assert names_in(out) == ["unfinished"]
    summary = tiny_model.segment(clip, output=out)
    assert names_in(out) == ["masks", "objects", "overlay.mp4", "summary.json"]
    before = (out / "summary.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        tiny_model.segment(broken(), output=out, force=True)
    assert (out / "summary.json").read_bytes() == before
    assert len(names_in(out / "masks")) == summary.frames


def test_a_run_that_fails_at_once_leaves_no_folder(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    def broken():
        yield squares(0)

    with pytest.raises(rvos.MaskError):
        tiny_model.track(clip, first_mask=np.zeros((HEIGHT, WIDTH), np.uint8), output=tmp_path / "a" / "b")
    with pytest.raises(RuntimeError, match="no step"):
        tiny_model.segment(broken(), output=tmp_path / "a" / "b", progress=_fail)
    assert not (tmp_path / "a" / "b" / "summary.json").exists()
    with pytest.raises(rvos.InputError):
        tiny_model.segment(tmp_path / "missing.mp4", output=tmp_path / "c" / "d")
    assert not (tmp_path / "c").exists()


def _fail(*_: object) -> None:
    raise RuntimeError("no step")


def test_inputs_are_never_overwritten(tiny_model: Segmenter, frame_folder: Path, clip: Path, tmp_path: Path):
    before = names_in(frame_folder)
    with pytest.raises(rvos.OutputError, match="is the input itself"):
        tiny_model.segment(frame_folder, output=frame_folder, force=True)
    frame_folder.rename(tmp_path / "masks")
    with pytest.raises(rvos.OutputError, match="where results are written"):
        tiny_model.segment(tmp_path / "masks", output=tmp_path, force=True)
    assert names_in(tmp_path / "masks") == before
    clip.rename(tmp_path / "overlay.mp4")
    with pytest.raises(rvos.OutputError, match="where results are written"):
        tiny_model.segment(tmp_path / "overlay.mp4", output=tmp_path, force=True)


def test_a_first_mask_among_the_results_is_not_replaced(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    mask = tmp_path / "out" / "masks" / "00000.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(square_labels()).save(mask)
    with pytest.raises(rvos.OutputError, match="copy the input elsewhere"):
        tiny_model.track(clip, first_mask=mask, output=tmp_path / "out", force=True)
    assert mask.exists()


def test_an_output_that_is_a_file_is_told(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(rvos.OutputError, match="cannot be written"):
        tiny_model.segment(clip, output=tmp_path / "taken")


def test_an_output_below_the_home_folder_may_be_written_with_a_tilde(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    summary = tiny_model.segment(clip, output="~/results", overlay=False)
    assert (tmp_path / "home" / "results" / "summary.json").is_file()
    assert summary.outputs["masks"] == str(tmp_path / "home" / "results" / "masks")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are always text")
def test_a_name_that_is_no_text_can_be_read_back_from_the_summary(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path
):
    path = clip.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    tiny_model.segment(path, output=tmp_path / "out")
    written = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert written["input"] == str(path)


def test_a_frame_with_the_longest_name_a_file_can_have_is_written(tiny_model: Segmenter, colours: None, tmp_path: Path):
    name = "n" * 251 + ".png"
    Image.fromarray(squares(0)).save(tmp_path / name)
    tiny_model.segment(tmp_path / name, output=tmp_path / "out")
    for folder in ("masks", "objects/01", "objects/02"):
        assert [path.name for path in (tmp_path / "out" / folder).iterdir()] == [name]
