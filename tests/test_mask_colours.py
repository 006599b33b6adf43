"""Results that were edited and saved by programs that change colours, palettes and transparency: who is who in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from squares import HEIGHT, WIDTH, square_labels

from rvos_cli.given_masks import GivenMasks, VideoMasks
from rvos_cli.masks import write_indexed_png
from rvos_cli.png import DAVIS_PALETTE
from rvos_cli.sources import open_source

MINE = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 0)], np.uint8)
ONLY_RIGHT = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)


def given(clip: Path, fixes: Path, first: np.ndarray | None = None) -> VideoMasks:
    with open_source(clip) as source:
        return VideoMasks(GivenMasks(first, frame_masks=fixes), source)


def save(path: Path, labels: np.ndarray, palette: np.ndarray, mode: str = "P") -> None:
    image = Image.fromarray(labels)
    image.putpalette(palette.tobytes())
    image.convert(mode).save(path)


def test_a_mask_that_lost_its_palette_keeps_its_ids(clip: Path, fixes: Path):
    """Editors save a palette PNG as RGB; its colours are those of the palette, not numbered anew."""
    drawn = np.where(np.arange(HEIGHT)[:, None] < 12, 7, square_labels(4)).astype(np.uint8)
    for name, labels in (("00000", square_labels()), ("00002", ONLY_RIGHT), ("00004", drawn)):
        write_indexed_png(fixes / f"{name}.png", labels)
    for name in ("00002", "00004"):
        with Image.open(fixes / f"{name}.png") as image:
            image.convert("RGB").save(fixes / f"{name}.png")
    with open_source(clip) as source:
        masks = VideoMasks(GivenMasks(frame_masks=fixes), source)
        assert masks.check() == ((1, 2, 7), ())
        assert np.array_equal(masks.labels(2), ONLY_RIGHT)
        assert np.array_equal(masks.labels(4), drawn)
        assert masks.labels(3) is None


def test_the_colours_of_results_mean_what_they_mean_there_whatever_else_is_given(clip: Path, fixes: Path):
    """The mask of frame 2 is a result without its first object, as an editor may save it; row by row, 3 comes first."""
    result = np.where(np.arange(HEIGHT)[:, None] < 12, 3, ONLY_RIGHT).astype(np.uint8)
    save(fixes / "00002.png", result, DAVIS_PALETTE, "RGB")
    (fixes / "00000.png").unlink()
    first = np.where(result == 3, 3, square_labels()).astype(np.uint8)
    for mask in (first, MINE[first], None):
        masks = given(clip, fixes, mask)
        masks.check()
        assert np.array_equal(masks.labels(2), result)


def test_other_colours_mean_what_they_mean_in_the_first_mask_or_somebody_new(clip: Path, fixes: Path):
    first = np.where(np.arange(HEIGHT)[:, None] < 12, 3, square_labels()).astype(np.uint8)
    mine = MINE[np.array([0, 2, 3, 1])[first]]  # in its first row 1, which is called 1
    for name in ("00000", "00002"):
        (fixes / f"{name}.png").unlink()
    Image.fromarray(MINE[np.where(ONLY_RIGHT == 2, 3, 0)]).save(fixes / "00003.png")
    Image.fromarray(np.array([(0, 0, 0), (1, 2, 3)], np.uint8)[ONLY_RIGHT // 2]).save(fixes / "00004.png")
    masks = given(clip, fixes, mine)
    masks.check()
    assert masks.labels(0)[0, 0] == 1
    assert masks.labels(3).max() == masks.labels(0)[80, 100] == 3  # where the second square is
    assert masks.labels(4).max() == 4


def test_a_palette_that_an_editor_made_smaller_is_read_by_its_colours_with_a_warning(clip: Path, fixes: Path):
    palette = np.zeros((256, 3), np.uint8)
    palette[1] = DAVIS_PALETTE[2]
    save(fixes / "00002.png", (ONLY_RIGHT // 2).astype(np.uint8), palette)
    ids, warnings = given(clip, fixes, None).check()
    assert ids == (1, 2)
    assert any("has another palette; its colours say who is who" in line for line in warnings)
    write_indexed_png(fixes / "00003.png", np.where(ONLY_RIGHT == 2, 7, 0).astype(np.uint8))  # 7 is grey
    with Image.open(fixes / "00003.png") as image:
        image.convert("RGB").save(fixes / "00003.png")
    assert given(clip, fixes).check()[0] == (1, 2, 7)


def test_a_smaller_palette_with_somebody_new_is_read_by_its_colours_too(clip: Path, fixes: Path):
    """Black, magenta, then the colours of 2 and of 1."""
    both = np.where(np.arange(HEIGHT)[:, None] < 12, 3, square_labels(2)).astype(np.uint8)
    palette = np.array([(0, 0, 0), (255, 0, 255), DAVIS_PALETTE[2], DAVIS_PALETTE[1]], np.uint8)
    save(fixes / "00002.png", np.array([0, 3, 2, 1], np.uint8)[both], palette)
    masks = given(clip, fixes)
    assert masks.check()[0] == (1, 2, 3)
    assert np.array_equal(masks.labels(2), both)


def test_what_a_palette_shows_as_transparent_is_nobody(clip: Path, fixes: Path):
    erased = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)
    for colours, indices, transparent in (
        ([(0, 0, 0), DAVIS_PALETTE[1], DAVIS_PALETTE[2]], square_labels(2), 1),
        ([(0, 0, 0), DAVIS_PALETTE[2], (255, 255, 255)], np.array([0, 2, 1], np.uint8)[square_labels(2)], 2),
        ([(9, 9, 9), (0, 0, 0), DAVIS_PALETTE[2]], np.array([1, 0, 2], np.uint8)[square_labels(2)], 0),
    ):
        image = Image.fromarray(indices)
        image.putpalette(np.array(colours, np.uint8).tobytes())
        image.save(fixes / "00002.png", transparency=transparent)
        masks = given(clip, fixes)
        assert masks.check()[0] == (1, 2)
        assert np.array_equal(masks.labels(2), erased)


def test_a_new_colour_does_not_get_the_id_of_somebody_in_a_later_mask(clip: Path, fixes: Path):
    colours = DAVIS_PALETTE[:3].copy()
    colours[2] = 255, 0, 255
    Image.fromarray(colours[square_labels(2)]).save(fixes / "00002.png")
    write_indexed_png(fixes / "00004.png", np.where(ONLY_RIGHT == 2, 2, 0).astype(np.uint8))
    masks = given(clip, fixes)
    assert masks.check()[0] == (1, 2, 3)
    assert set(np.unique(masks.labels(2))) == {0, 1, 3} and set(np.unique(masks.labels(4))) == {0, 2}


def test_colours_that_mean_others_in_the_first_mask_are_told(clip: Path, fixes: Path):
    (fixes / "00000.png").unlink()
    mine = DAVIS_PALETTE[np.array([0, 2, 1])[square_labels()]]
    save(fixes / "00002.png", square_labels(2), DAVIS_PALETTE, "RGB")
    told = "frame_masks has colours that are other objects' in the first mask; those of results count"
    assert told in given(clip, fixes, mine).check()[1]
    assert told not in given(clip, fixes, square_labels()).check()[1]


def test_a_mask_of_others_than_before_is_told(clip: Path, fixes: Path):
    with Image.open(fixes / "00002.png") as image:
        image.convert("L").save(fixes / "00002.png")
    _, (line,) = given(clip, fixes).check()
    assert line == (
        "in the mask of frame 2, objects 38, 75 are new and object 1 is gone: see that its editor has kept the ids"
    )


def test_what_was_erased_is_no_object(clip: Path, fixes: Path):
    paint = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    paint[..., 3] = 255
    paint[20:60, 10:50, 3] = 0
    Image.fromarray(paint).save(fixes / "00002.png")
    masks = given(clip, fixes)
    assert masks.check()[0] == (1,) and not masks.labels(2).any()


@pytest.mark.parametrize("suffix", ["bmp", "tif", "webp", "PNG"])
def test_masks_may_be_any_images(clip: Path, fixes: Path, suffix: str):
    (fixes / "00002.png").unlink()
    Image.fromarray(np.where(ONLY_RIGHT, 255, 0).astype(np.uint8)).save(fixes / f"00002.{suffix}", lossless=True)
    (fixes / "._00004.png").write_bytes(b"what the system keeps")
    masks = given(clip, fixes)
    assert masks.check()[0] == (1,) and np.array_equal(masks.labels(2) > 0, ONLY_RIGHT > 0)
