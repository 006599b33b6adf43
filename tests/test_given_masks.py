"""Masks of any frames beside a video: which files they are, what is told of them, what ``track`` makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, square_labels

import rvos_cli as rvos
from rvos_cli.given_masks import GivenMasks, VideoMasks
from rvos_cli.masks import read_labels, write_indexed_png
from rvos_cli.png import DAVIS_PALETTE
from rvos_cli.segmenter import Segmenter
from rvos_cli.sources import open_source

ONLY_LEFT = square_labels(right=False)
ONLY_RIGHT = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)
MINE = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 0)], np.uint8)
SEEN = [[1], *[[1, 2]] * (FRAMES - 1)]  # who is named in frame 2 is seen on the way back to frame 0, which says no


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of masks for the clip: of the red square in frame 0, of the blue one, too, in frame 2."""
    folder = tmp_path / "fixes"
    folder.mkdir()
    write_indexed_png(folder / "00000.png", ONLY_LEFT)
    write_indexed_png(folder / "00002.png", square_labels(2))
    (folder / "00002.xcf").write_bytes(b"what the editor keeps")
    (folder / ".DS_Store").write_bytes(b"what the system keeps")
    return folder


def seen_in(out: Path) -> list[list[int]]:
    """List the ids in each mask file."""
    return [np.unique(read_labels(path))[1:].tolist() for path in sorted((out / "masks").iterdir())]


def test_track_goes_by_a_folder_of_masks(
    tiny_model: Segmenter, colours: None, clip: Path, folder: Path, tmp_path: Path
):
    told: list[tuple[str, str]] = []
    summary = tiny_model.track(
        clip, frame_masks=folder, output=tmp_path / "out", notice=lambda *line: told.append(line)
    )
    assert told == [("found", "found 2 objects: ids 1, 2")]
    assert seen_in(tmp_path / "out") == SEEN
    assert [(each.id, each.first_frame) for each in summary.objects] == [(1, 0), (2, 1)]
    assert (summary.mode, summary.warnings) == ("track", ())
    assert sorted(path.name for path in (tmp_path / "out" / "objects").iterdir()) == ["01", "02"]


def test_a_first_mask_may_stand_beside_the_folder(
    tiny_model: Segmenter, colours: None, clip: Path, first_mask: Path, folder: Path, tmp_path: Path
):
    with pytest.raises(rvos.MaskError, match="frame_masks has one of frame 0, and the first mask is another"):
        tiny_model.track(clip, first_mask=first_mask, frame_masks=folder, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (folder / "00000.png").unlink()
    tiny_model.track(clip, first_mask=ONLY_LEFT, frame_masks=folder, output=tmp_path / "out")
    assert seen_in(tmp_path / "out") == SEEN


def test_where_a_mask_is_given_it_is_what_is_written(tiny_model: Segmenter, clip: Path, folder: Path, tmp_path: Path):
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[5:40, 60:90] = 1  # elsewhere than anything in the clip
    write_indexed_png(folder / "00004.png", drawn)
    tiny_model.track(clip, frame_masks=folder, output=tmp_path / "out", overlay=False, objects=False)
    assert np.array_equal(read_labels(tmp_path / "out" / "masks" / "00004.png"), drawn)


def test_the_first_mask_may_be_of_a_later_frame(
    tiny_model: Segmenter, colours: None, clip: Path, folder: Path, tmp_path: Path
):
    (folder / "00000.png").unlink()
    write_indexed_png(folder / "00002.png", ONLY_RIGHT)
    tiny_model.track(clip, frame_masks=folder, output=tmp_path / "out")
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
    tiny_model: Segmenter, clip: Path, folder: Path, tmp_path: Path, name: str
):
    write_indexed_png(folder / name, ONLY_RIGHT)
    with pytest.raises(rvos.MaskError, match=r"is named after no frame of .*clip\.mp4; name it as rvos names"):
        tiny_model.track(clip, frame_masks=folder, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_not_there_has_no_mask(tiny_model: Segmenter, frame_folder: Path, folder: Path):
    with pytest.raises(rvos.MaskError, match=r"00000\.png is named after no frame"):
        next(tiny_model.stream(frame_folder, frame_masks=folder))


def test_two_masks_of_one_frame_are_refused(tiny_model: Segmenter, clip: Path, folder: Path):
    write_indexed_png(folder / "2.png", ONLY_RIGHT)
    with pytest.raises(rvos.MaskError, match=r"00002\.png and .*2\.png are of one frame"):
        next(tiny_model.stream(clip, frame_masks=folder))


def test_a_mask_behind_the_end_costs_no_results(
    tiny_model: Segmenter, colours: None, clip: Path, folder: Path, tmp_path: Path
):
    write_indexed_png(folder / "00123.png", ONLY_RIGHT)
    summary = tiny_model.track(clip, frame_masks=folder, output=tmp_path / "out")
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
    tiny_model: Segmenter, colours: None, clip: Path, folder: Path, tmp_path: Path
):
    def digest(**given: object) -> str:
        return tiny_model.track(clip, output=tmp_path / "out", force=True, overlay=False, **given).digest  # type: ignore[arg-type]

    before, again = digest(frame_masks=folder), digest(frame_masks=folder)
    (folder / "00002.png").rename(folder / "00003.png")
    moved = digest(frame_masks=folder)
    write_indexed_png(folder / "00003.png", square_labels(3))
    assert before == again and len({before, moved, digest(frame_masks=folder)}) == 3
    assert digest(frame_masks={0: ONLY_LEFT}) == digest(frame_masks={0: folder / "00000.png"}) == ""


def test_a_mask_that_lost_its_palette_keeps_its_ids(clip: Path, folder: Path):
    """Editors save a palette PNG as RGB; its colours are those of the palette, not numbered anew."""
    drawn = np.where(np.arange(HEIGHT)[:, None] < 12, 7, square_labels(4)).astype(np.uint8)
    for name, labels in (("00000", square_labels()), ("00002", ONLY_RIGHT), ("00004", drawn)):
        write_indexed_png(folder / f"{name}.png", labels)
    for name in ("00002", "00004"):
        with Image.open(folder / f"{name}.png") as image:
            image.convert("RGB").save(folder / f"{name}.png")
    with open_source(clip) as source:
        masks = VideoMasks(GivenMasks(frame_masks=folder), source)
        assert masks.check() == ((1, 2, 7), ())
        assert np.array_equal(masks.labels(2), ONLY_RIGHT)
        assert np.array_equal(masks.labels(4), drawn)
        assert masks.labels(3) is None


def test_stream_takes_the_folder_too(tiny_model: Segmenter, colours: None, clip: Path, folder: Path):
    frames = tiny_model.stream(clip, frame_masks=str(folder))
    assert [np.unique(frame.labels)[1:].tolist() for frame in frames] == SEEN


def test_masks_that_name_some_and_whole_masks_are_not_given_together(tiny_model: Segmenter, clip: Path, folder: Path):
    with pytest.raises(rvos.UsageError, match="masks= and frame_masks= are both given"):
        tiny_model.stream(clip, masks={0: ONLY_LEFT}, frame_masks=folder)


def given(clip: Path, folder: Path, first: np.ndarray | None = None) -> VideoMasks:
    with open_source(clip) as source:
        return VideoMasks(GivenMasks(first, frame_masks=folder), source)


def save(path: Path, labels: np.ndarray, palette: np.ndarray | None, mode: str = "P") -> None:
    image = Image.fromarray(labels)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.convert(mode).save(path)


def test_the_colours_of_results_mean_what_they_mean_there_whatever_else_is_given(clip: Path, folder: Path):
    """The mask of frame 2 is a result without its first object, as an editor may save it; row by row, 3 comes first."""
    result = np.where(np.arange(HEIGHT)[:, None] < 12, 3, ONLY_RIGHT).astype(np.uint8)
    save(folder / "00002.png", result, DAVIS_PALETTE, "RGB")
    (folder / "00000.png").unlink()
    first = np.where(result == 3, 3, square_labels()).astype(np.uint8)
    for mask in (first, MINE[first], None):
        masks = given(clip, folder, mask)
        masks.check()
        assert np.array_equal(masks.labels(2), result)


def test_other_colours_mean_what_they_mean_in_the_first_mask_or_somebody_new(clip: Path, folder: Path):
    first = np.where(np.arange(HEIGHT)[:, None] < 12, 3, square_labels()).astype(np.uint8)
    mine = MINE[np.array([0, 2, 3, 1])[first]]  # in its first row 1, which is called 1
    for name in ("00000", "00002"):
        (folder / f"{name}.png").unlink()
    Image.fromarray(MINE[np.where(ONLY_RIGHT == 2, 3, 0)]).save(folder / "00003.png")
    Image.fromarray(np.array([(0, 0, 0), (1, 2, 3)], np.uint8)[ONLY_RIGHT // 2]).save(folder / "00004.png")
    masks = given(clip, folder, mine)
    masks.check()
    assert masks.labels(0)[0, 0] == 1
    assert masks.labels(3).max() == masks.labels(0)[80, 100] == 3  # where the second square is
    assert masks.labels(4).max() == 4


def test_a_palette_that_an_editor_made_smaller_is_read_by_its_colours_with_a_warning(clip: Path, folder: Path):
    palette = np.zeros((256, 3), np.uint8)
    palette[1] = DAVIS_PALETTE[2]
    save(folder / "00002.png", (ONLY_RIGHT // 2).astype(np.uint8), palette)
    ids, warnings = given(clip, folder, None).check()
    assert ids == (1, 2)
    assert any("has another palette; its colours say who is who" in line for line in warnings)
    write_indexed_png(folder / "00003.png", np.where(ONLY_RIGHT == 2, 7, 0).astype(np.uint8))  # 7 is grey
    with Image.open(folder / "00003.png") as image:
        image.convert("RGB").save(folder / "00003.png")
    assert given(clip, folder).check()[0] == (1, 2, 7)


def test_a_smaller_palette_with_somebody_new_is_read_by_its_colours_too(clip: Path, folder: Path):
    """Black, magenta, then the colours of 2 and of 1."""
    both = np.where(np.arange(HEIGHT)[:, None] < 12, 3, square_labels(2)).astype(np.uint8)
    palette = np.array([(0, 0, 0), (255, 0, 255), DAVIS_PALETTE[2], DAVIS_PALETTE[1]], np.uint8)
    save(folder / "00002.png", np.array([0, 3, 2, 1], np.uint8)[both], palette)
    masks = given(clip, folder)
    assert masks.check()[0] == (1, 2, 3)
    assert np.array_equal(masks.labels(2), both)


def test_what_a_palette_shows_as_transparent_is_nobody(clip: Path, folder: Path):
    erased = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)
    for colours, indices, transparent in (
        ([(0, 0, 0), DAVIS_PALETTE[1], DAVIS_PALETTE[2]], square_labels(2), 1),
        ([(0, 0, 0), DAVIS_PALETTE[2], (255, 255, 255)], np.array([0, 2, 1], np.uint8)[square_labels(2)], 2),
        ([(9, 9, 9), (0, 0, 0), DAVIS_PALETTE[2]], np.array([1, 0, 2], np.uint8)[square_labels(2)], 0),
    ):
        image = Image.fromarray(indices)
        image.putpalette(np.array(colours, np.uint8).tobytes())
        image.save(folder / "00002.png", transparency=transparent)
        masks = given(clip, folder)
        assert masks.check()[0] == (1, 2)
        assert np.array_equal(masks.labels(2), erased)


def test_a_new_colour_does_not_get_the_id_of_somebody_in_a_later_mask(clip: Path, folder: Path):
    colours = DAVIS_PALETTE[:3].copy()
    colours[2] = 255, 0, 255
    Image.fromarray(colours[square_labels(2)]).save(folder / "00002.png")
    write_indexed_png(folder / "00004.png", np.where(ONLY_RIGHT == 2, 2, 0).astype(np.uint8))
    masks = given(clip, folder)
    assert masks.check()[0] == (1, 2, 3)
    assert set(np.unique(masks.labels(2))) == {0, 1, 3} and set(np.unique(masks.labels(4))) == {0, 2}


def test_colours_that_mean_others_in_the_first_mask_are_told(clip: Path, folder: Path):
    (folder / "00000.png").unlink()
    mine = DAVIS_PALETTE[np.array([0, 2, 1])[square_labels()]]
    save(folder / "00002.png", square_labels(2), DAVIS_PALETTE, "RGB")
    told = "frame_masks has colours that are other objects' in the first mask; those of results count"
    assert told in given(clip, folder, mine).check()[1]
    assert told not in given(clip, folder, square_labels()).check()[1]


def test_a_mask_of_others_than_before_is_told(clip: Path, folder: Path):
    with Image.open(folder / "00002.png") as image:
        image.convert("L").save(folder / "00002.png")
    _, (line,) = given(clip, folder).check()
    assert line == (
        "in the mask of frame 2, objects 38, 75 are new and object 1 is gone: see that its editor has kept the ids"
    )


def test_what_was_erased_is_no_object(clip: Path, folder: Path):
    paint = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    paint[..., 3] = 255
    paint[20:60, 10:50, 3] = 0
    Image.fromarray(paint).save(folder / "00002.png")
    masks = given(clip, folder)
    assert masks.check()[0] == (1,) and not masks.labels(2).any()


@pytest.mark.parametrize("suffix", ["bmp", "tif", "webp", "PNG"])
def test_masks_may_be_any_images(clip: Path, folder: Path, suffix: str):
    (folder / "00002.png").unlink()
    Image.fromarray(np.where(ONLY_RIGHT, 255, 0).astype(np.uint8)).save(folder / f"00002.{suffix}", lossless=True)
    (folder / "._00004.png").write_bytes(b"what the system keeps")
    masks = given(clip, folder)
    assert masks.check()[0] == (1,) and np.array_equal(masks.labels(2) > 0, ONLY_RIGHT > 0)


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


def test_an_empty_first_mask_is_refused_as_ever(tiny_model: Segmenter, clip: Path, folder: Path):
    (folder / "00000.png").unlink()
    with pytest.raises(rvos.MaskError, match="the first mask is empty"):
        tiny_model.track(clip, first_mask=np.zeros_like(ONLY_LEFT), frame_masks=folder)


def test_masks_that_are_all_behind_the_end_replace_no_results(
    tiny_model: Segmenter, colours: None, clip: Path, folder: Path, tmp_path: Path
):
    tiny_model.track(clip, frame_masks=folder, output=tmp_path / "out")
    with pytest.raises(rvos.MaskError, match=f"begins with frame 50, and .* has {FRAMES} frames"):
        tiny_model.track(clip, frame_masks={50: ONLY_LEFT}, output=tmp_path / "out", force=True)
    assert seen_in(tmp_path / "out") == SEEN


def test_empty_masks_say_that_nobody_is_there(tiny_model: Segmenter, clip: Path, folder: Path, tmp_path: Path):
    nobody = np.zeros((HEIGHT, WIDTH), np.uint8)
    write_indexed_png(folder / "00001.png", nobody)
    tiny_model.track(clip, frame_masks=folder, output=tmp_path / "out", overlay=False)
    assert not read_labels(tmp_path / "out" / "masks" / "00001.png").any()
    for frame in (1, 50):
        with pytest.raises(rvos.MaskError, match="frame_masks has no object"):
            tiny_model.track(clip, frame_masks={frame: nobody}, output=tmp_path / "none")
        with pytest.raises(rvos.MaskError, match="frame_masks has no object"):
            next(tiny_model.stream(clip, frame_masks={frame: nobody}))
    assert not (tmp_path / "none").exists()
