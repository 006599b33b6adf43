"""Masks of any frames beside a video: which files they are, what is told of them, what ``track`` makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from squares import FRAMES, HEIGHT, WIDTH, square_labels

import rvos_cli as rvos
from rvos_cli import given_masks, masks
from rvos_cli.masks import read_labels, write_indexed_png
from rvos_cli.segmenter import Segmenter

ONLY_LEFT = square_labels(right=False)
ONLY_RIGHT = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)
SEEN = [[1], *[[1, 2]] * (FRAMES - 1)]  # who is named in frame 2 is seen on the way back to frame 0, which says no


def seen_in(out: Path) -> list[list[int]]:
    """List the ids in each mask file."""
    return [np.unique(read_labels(path))[1:].tolist() for path in sorted((out / "masks").iterdir())]


def test_track_goes_by_a_folder_of_masks(tiny_model: Segmenter, colours: None, clip: Path, fixes: Path, tmp_path: Path):
    told: list[tuple[str, str]] = []
    summary = tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out", notice=lambda *line: told.append(line))
    assert told == [("found", "found 2 objects: ids 1, 2")]
    assert seen_in(tmp_path / "out") == SEEN
    assert [(each.id, each.first_frame) for each in summary.objects] == [(1, 0), (2, 1)]
    assert (summary.mode, summary.warnings) == ("track", ())
    assert sorted(path.name for path in (tmp_path / "out" / "objects").iterdir()) == ["01", "02"]


def test_a_first_mask_may_stand_beside_the_folder(
    tiny_model: Segmenter, colours: None, clip: Path, first_mask: Path, fixes: Path, tmp_path: Path
):
    with pytest.raises(rvos.MaskError, match="frame_masks has one of frame 0, and the first mask is another"):
        tiny_model.track(clip, first_mask=first_mask, frame_masks=fixes, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (fixes / "00000.png").unlink()
    tiny_model.track(clip, first_mask=ONLY_LEFT, frame_masks=fixes, output=tmp_path / "out")
    assert seen_in(tmp_path / "out") == SEEN


def test_where_a_mask_is_given_it_is_what_is_written(tiny_model: Segmenter, clip: Path, fixes: Path, tmp_path: Path):
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[5:40, 60:90] = 1  # elsewhere than anything in the clip
    write_indexed_png(fixes / "00004.png", drawn)
    tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out", overlay=False, objects=False)
    assert np.array_equal(read_labels(tmp_path / "out" / "masks" / "00004.png"), drawn)


def test_a_first_mask_is_read_once(
    tiny_model: Segmenter, colours: None, clip: Path, first_mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read: list[object] = []

    def counted(mask: object, *words: object, **rest: object) -> masks.FirstMask:
        read.append(mask)
        return masks.read_first_mask(mask, *words, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(given_masks, "read_first_mask", counted)
    tiny_model.track(clip, first_mask=first_mask, output=tmp_path / "out")
    assert read == [first_mask]


def test_the_first_mask_may_be_of_a_later_frame(
    tiny_model: Segmenter, colours: None, clip: Path, fixes: Path, tmp_path: Path
):
    (fixes / "00000.png").unlink()
    write_indexed_png(fixes / "00002.png", ONLY_RIGHT)
    tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out")
    assert seen_in(tmp_path / "out") == [[2]] * FRAMES


def test_the_images_of_a_folder_name_their_masks(
    tiny_model: Segmenter, colours: None, frame_folder: Path, tmp_path: Path
):
    masks = tmp_path / "fixes"
    masks.mkdir()
    write_indexed_png(masks / "shot8.png", ONLY_LEFT)
    write_indexed_png(masks / "shot10.PNG", square_labels(2))
    tiny_model.track(frame_folder, frame_masks=masks, output=tmp_path / "out")
    names = [f"shot{index + 8}.png" for index in range(FRAMES)]
    ids = [np.unique(read_labels(tmp_path / "out" / "masks" / name))[1:].tolist() for name in names]
    assert ids == SEEN


@pytest.mark.parametrize("name", ["00002 copy.png", "fixed.png", "-1.png", "²..png"])
def test_a_mask_of_no_frame_is_told_before_anything_is_done(
    tiny_model: Segmenter, clip: Path, fixes: Path, tmp_path: Path, name: str
):
    write_indexed_png(fixes / name, ONLY_RIGHT)
    with pytest.raises(rvos.MaskError, match=r"is named after no frame of .*clip\.mp4; name it as rvos names"):
        tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_not_there_has_no_mask(tiny_model: Segmenter, frame_folder: Path, fixes: Path):
    with pytest.raises(rvos.MaskError, match=r"00000\.png is named after no frame"):
        next(tiny_model.stream(frame_folder, frame_masks=fixes))


def test_two_masks_of_one_frame_are_refused(tiny_model: Segmenter, clip: Path, fixes: Path):
    write_indexed_png(fixes / "2.png", ONLY_RIGHT)
    with pytest.raises(rvos.MaskError, match=r"00002\.png and .*2\.png are of one frame"):
        next(tiny_model.stream(clip, frame_masks=fixes))


def test_a_mask_behind_the_end_costs_no_results(
    tiny_model: Segmenter, colours: None, clip: Path, fixes: Path, tmp_path: Path
):
    write_indexed_png(fixes / "00123.png", ONLY_RIGHT)
    summary = tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out")
    (line,) = summary.warnings
    assert line == f"frame_masks has one of frame 123, and {clip} has frames 0 to {FRAMES - 1}"
    assert len(seen_in(tmp_path / "out")) == FRAMES


@pytest.mark.parametrize(
    ("index", "mask", "message"),
    [
        (5, np.ones((50, 90), np.uint8), "90x50"),
        (-1, ONLY_LEFT, "frame_masks has one of frame -1; frames are counted from 0"),
        ("5", ONLY_LEFT, "frame_masks has one of frame '5'; frames are counted from 0"),
    ],
)
def test_a_bad_mask_of_any_frame_is_told_before_anything_is_done(
    tiny_model: Segmenter, clip: Path, tmp_path: Path, index: int, mask: np.ndarray, message: str
):
    with pytest.raises(rvos.MaskError, match=message):
        tiny_model.track(clip, first_mask=ONLY_LEFT, frame_masks={index: mask}, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_masks_or_that_is_none_is_refused(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(rvos.MaskError, match="empty has no masks"):
        tiny_model.track(clip, frame_masks=tmp_path / "empty")
    for path in (tmp_path / "nowhere", clip):
        with pytest.raises(rvos.MaskError, match=f"the folder of masks {path} cannot be read"):
            tiny_model.track(clip, frame_masks=path)


def test_masks_that_the_results_would_replace_are_refused(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path
):
    tiny_model.track(clip, first_mask=ONLY_LEFT, output=tmp_path / "out")
    with pytest.raises(rvos.OutputError, match="lies where results are written"):
        tiny_model.track(clip, frame_masks=tmp_path / "out" / "masks", output=tmp_path / "out", force=True)
    assert seen_in(tmp_path / "out") == [[1]] * FRAMES


def test_the_digest_names_the_masks_of_a_folder(
    tiny_model: Segmenter, colours: None, clip: Path, fixes: Path, tmp_path: Path
):
    def digest(**given: object) -> str:
        return tiny_model.track(clip, output=tmp_path / "out", force=True, overlay=False, **given).digest  # type: ignore[arg-type]

    before, again = digest(frame_masks=fixes), digest(frame_masks=fixes)
    (fixes / "00002.png").rename(fixes / "00003.png")
    moved = digest(frame_masks=fixes)
    write_indexed_png(fixes / "00003.png", square_labels(3))
    assert before == again and len({before, moved, digest(frame_masks=fixes)}) == 3
    assert digest(frame_masks={0: ONLY_LEFT}) == digest(frame_masks={0: fixes / "00000.png"}) == ""


def test_stream_takes_the_folder_too(tiny_model: Segmenter, colours: None, clip: Path, fixes: Path):
    frames = tiny_model.stream(clip, frame_masks=str(fixes))
    assert [np.unique(frame.labels)[1:].tolist() for frame in frames] == SEEN


def test_masks_that_name_some_and_whole_masks_are_not_given_together(tiny_model: Segmenter, clip: Path, fixes: Path):
    with pytest.raises(rvos.UsageError, match="masks= and frame_masks= are both given"):
        tiny_model.stream(clip, masks={0: ONLY_LEFT}, frame_masks=fixes)


@pytest.mark.parametrize("masks", [ONLY_LEFT, [ONLY_LEFT], iter([ONLY_LEFT])])
def test_masks_without_their_frames_are_refused(tiny_model: Segmenter, clip: Path, masks: object):
    for verb in (tiny_model.track, tiny_model.stream):
        with pytest.raises(rvos.UsageError, match=r"give a folder, or \{frame index: mask\}"):
            verb(clip, frame_masks=masks)


@pytest.mark.parametrize("masks", [{}, {3: None}])
def test_no_mask_at_all_is_told(tiny_model: Segmenter, clip: Path, masks: dict[int, np.ndarray]):
    with pytest.raises(rvos.MaskError, match="frame_masks has no mask"):
        tiny_model.track(clip, frame_masks=masks)
    with pytest.raises(rvos.MaskError, match="frame_masks has no mask"):
        next(tiny_model.stream(clip, frame_masks=masks))


def test_an_empty_first_mask_is_refused_as_ever(tiny_model: Segmenter, clip: Path, fixes: Path):
    (fixes / "00000.png").unlink()
    with pytest.raises(rvos.MaskError, match="the first mask is empty"):
        tiny_model.track(clip, first_mask=np.zeros_like(ONLY_LEFT), frame_masks=fixes)


def test_masks_that_are_all_behind_the_end_replace_no_results(
    tiny_model: Segmenter, colours: None, clip: Path, fixes: Path, tmp_path: Path
):
    tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out")
    with pytest.raises(rvos.MaskError, match=f"begins with frame 50, and .* has {FRAMES} frames"):
        tiny_model.track(clip, frame_masks={50: ONLY_LEFT}, output=tmp_path / "out", force=True)
    assert seen_in(tmp_path / "out") == SEEN


def test_empty_masks_say_that_nobody_is_there(tiny_model: Segmenter, clip: Path, fixes: Path, tmp_path: Path):
    nobody = np.zeros((HEIGHT, WIDTH), np.uint8)
    write_indexed_png(fixes / "00001.png", nobody)
    tiny_model.track(clip, frame_masks=fixes, output=tmp_path / "out", overlay=False)
    assert not read_labels(tmp_path / "out" / "masks" / "00001.png").any()
    for frame in (1, 50):
        with pytest.raises(rvos.MaskError, match="frame_masks has no object"):
            tiny_model.track(clip, frame_masks={frame: nobody}, output=tmp_path / "none")
        with pytest.raises(rvos.MaskError, match="frame_masks has no object"):
            next(tiny_model.stream(clip, frame_masks={frame: nobody}))
    assert not (tmp_path / "none").exists()
