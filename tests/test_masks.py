"""First masks in every way people draw them, and PNGs written whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rvos_cli.errors import MaskError, OutputError
from rvos_cli.masks import read_first_mask, read_labels, write_binary_png, write_indexed_png
from rvos_cli.png import DAVIS_PALETTE

SIZE = (24, 40)


def labelled(*ids: int, size: tuple[int, int] = SIZE, dtype: type = np.uint8) -> np.ndarray:
    """Draw one block per id from left to right, on a background of 0."""
    labels = np.zeros(size, dtype)
    width = size[1] // (len(ids) + 1)
    for place, identity in enumerate(ids):
        labels[4:-4, place * width + 1 : (place + 1) * width] = identity
    return labels


def save(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_indexed_png_keeps_every_id_and_the_palette(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_indexed_png(tmp_path / "all.png", labels)
    with Image.open(tmp_path / "all.png") as image:
        assert image.mode == "P"
        assert np.array(image.getpalette("RGB")).reshape(-1, 3).tolist() == DAVIS_PALETTE.tolist()
    assert (read_labels(tmp_path / "all.png") == labels).all()


def test_binary_png_is_grey_0_or_255(tmp_path: Path) -> None:
    write_binary_png(tmp_path / "one.png", labelled(3) > 0)
    with Image.open(tmp_path / "one.png") as image:
        assert image.mode == "L"
        assert (np.asarray(image) == np.where(labelled(3) > 0, 255, 0)).all()


def test_png_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "one.png"
    write_indexed_png(target, labelled(1))
    before = target.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_indexed_png(target, labelled(2))
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["one.png"]


def test_png_into_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_binary_png(tmp_path / "missing" / "one.png", labelled(1))


def test_labels_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_indexed_png(tmp_path / "one.png", labelled(1).astype(np.int64))


def test_palette_ids_are_kept(tmp_path: Path) -> None:
    write_indexed_png(tmp_path / "first.png", labelled(2, 5, 21))
    first = read_first_mask(tmp_path / "first.png", SIZE)
    assert first.ids == (2, 5, 21) and first.warnings == ()
    assert first.labels.dtype == np.uint8 and (first.labels == labelled(2, 5, 21)).all()


def test_grey_ids_are_kept(tmp_path: Path) -> None:
    first = read_first_mask(save(tmp_path / "first.png", labelled(1, 3, 128)), SIZE)
    assert first.ids == (1, 3, 128)


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("palette", [False, True])
def test_binary_mask_is_object_one(tmp_path: Path, value: int, palette: bool) -> None:
    image = Image.fromarray(labelled(value))
    if palette:
        image.putpalette(DAVIS_PALETTE.tobytes())
    image.save(tmp_path / "first.png")
    first = read_first_mask(tmp_path / "first.png", SIZE)
    assert first.ids == (1,) and (first.labels == labelled(1)).all() and first.warnings == ()


def test_one_bit_mask_is_object_one(tmp_path: Path) -> None:
    first = read_first_mask(save(tmp_path / "first.png", labelled(1) > 0), SIZE)
    assert (first.labels == labelled(1)).all()


@pytest.mark.parametrize("stretch", [1, 257])
def test_16_bit_ids_are_read(tmp_path: Path, stretch: int) -> None:
    values = labelled(1, 2, 7, dtype=np.uint16) * stretch
    first = read_first_mask(save(tmp_path / "first.png", values.astype(np.uint16)), SIZE)
    assert first.ids == (1, 2, 7)


def test_16_bit_white_is_object_one(tmp_path: Path) -> None:
    first = read_first_mask(save(tmp_path / "first.png", labelled(65535, dtype=np.uint16)), SIZE)
    assert (first.labels == labelled(1)).all()


def test_colours_are_numbered_by_first_appearance(tmp_path: Path) -> None:
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[10:, 2:10] = (0, 0, 255)
    colours[5:15, 20:30] = (255, 0, 0)
    colours[5:15, 32:38] = (1, 2, 3)
    first = read_first_mask(save(tmp_path / "first.png", colours), SIZE)
    assert first.ids == (1, 2, 3)
    assert first.labels[6, 21] == 1 and first.labels[6, 33] == 2 and first.labels[20, 3] == 3
    assert first.labels[0, 0] == 0


def test_an_array_of_colours_is_read_like_a_picture(tmp_path: Path) -> None:
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[10:, 2:10] = (0, 0, 255)
    colours[5:15, 20:30] = (255, 0, 0)
    first = read_first_mask(colours, SIZE)
    assert first.ids == (1, 2)
    assert np.array_equal(first.labels, read_first_mask(save(tmp_path / "first.png", colours), SIZE).labels)


def test_grey_colours_are_read_like_grey(tmp_path: Path) -> None:
    grey = np.repeat(labelled(2, 9)[..., None], 3, axis=2)
    assert read_first_mask(save(tmp_path / "first.png", grey), SIZE).ids == (2, 9)
    white = np.repeat(labelled(255)[..., None], 3, axis=2)
    assert read_first_mask(save(tmp_path / "first.png", white), SIZE).ids == (1,)


def test_transparent_is_background(tmp_path: Path) -> None:
    colours = np.full((*SIZE, 4), (10, 200, 30, 0), np.uint8)
    colours[4:12, 4:12] = (255, 0, 0, 255)
    first = read_first_mask(save(tmp_path / "first.png", colours), SIZE)
    assert first.ids == (1,) and first.labels.sum() == 64


def test_black_on_transparent_is_an_object(tmp_path: Path) -> None:
    colours = np.zeros((*SIZE, 4), np.uint8)
    colours[4:12, 4:12, 3] = 255
    assert read_first_mask(save(tmp_path / "first.png", colours), SIZE).labels.sum() == 64


def test_palette_sorted_by_a_program_is_read_by_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.where(labelled(1) > 0, 0, 1).astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "first.png")
    first = read_first_mask(tmp_path / "first.png", SIZE)
    assert (first.labels == labelled(1)).all()


def test_255_among_ids_is_ignored_with_a_warning(tmp_path: Path) -> None:
    labels = labelled(1, 2)
    labels[4:20, 1] = 255
    first = read_first_mask(save(tmp_path / "first.png", labels), SIZE)
    assert first.ids == (1, 2) and first.labels[5, 1] == 0
    assert "ignore" in first.warnings[0]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_ids_stay_however_much_is_ignored(tmp_path: Path, mode: str) -> None:
    labels = np.full(SIZE, 255, np.uint8)
    labels[:6], labels[1:5, 2:8], labels[1:5, 20:24] = 0, 1, 2
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette(DAVIS_PALETTE.tobytes())
    image.save(tmp_path / "first.png")
    first = read_first_mask(tmp_path / "first.png", SIZE)
    assert first.ids == (1, 2) and first.labels[-1, 0] == 0
    assert "ignore" in first.warnings[0]


def test_soft_edges_of_a_white_object_are_cut_at_half(tmp_path: Path) -> None:
    y, x = np.mgrid[:100, :100]
    soft = np.clip((30.5 - np.hypot(y - 50, x - 50)) * 255, 0, 255).astype(np.uint8)
    first = read_first_mask(save(tmp_path / "first.png", soft), (100, 100))
    assert first.ids == (1,) and (first.labels == (soft >= 128)).all()
    assert "soft edges" in first.warnings[0]


def test_soft_edges_are_such_in_a_grey_palette_and_as_blocks_too(tmp_path: Path) -> None:
    y, x = np.mgrid[:100, :100]
    soft = np.clip((30.5 - np.hypot(y - 50, x - 50)) * 255, 0, 255).astype(np.uint8)
    image = Image.fromarray(soft)
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    image.save(tmp_path / "palette.png")
    blocks = np.kron(np.where(soft > 200, 255, soft // 85 * 85), np.ones((4, 4))).astype(np.uint8)
    Image.fromarray(blocks).save(tmp_path / "blocks.png")
    for name, shape in (("palette.png", soft), ("blocks.png", blocks)):
        first = read_first_mask(tmp_path / name, shape.shape)
        assert first.ids == (1,) and (first.labels == (shape >= 128)).all()


def test_smoothed_colours_are_refused_with_a_cure(tmp_path: Path) -> None:
    colours = np.zeros((50, 80, 3), np.uint8)
    colours[10:40, 10:30], colours[10:40, 40:70] = (255, 0, 0), (0, 0, 255)
    smooth = Image.fromarray(colours).resize((91, 57), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "first.png")
    with pytest.raises(MaskError, match="without smoothing"):
        read_first_mask(tmp_path / "first.png", (57, 91))


def test_photograph_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    with pytest.raises(MaskError, match="colours"):
        read_first_mask(save(tmp_path / "first.png", noise), SIZE)


def test_white_jpeg_is_object_one_with_a_warning(tmp_path: Path) -> None:
    labels = labelled(255, size=(96, 160))
    first = read_first_mask(save(tmp_path / "first.jpg", labels), (96, 160))
    assert first.ids == (1,) and (first.labels == (labels > 0)).mean() > 0.99
    assert "PNG" in first.warnings[0]


def test_jpeg_of_ids_or_colours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="save it as PNG"):
        read_first_mask(save(tmp_path / "ids.jpg", labelled(1, 2)), SIZE)
    colours = np.zeros((96, 160, 3), np.uint8)
    colours[10:50, 10:50] = (255, 0, 0)
    with pytest.raises(MaskError, match="save it as PNG"):
        read_first_mask(save(tmp_path / "colours.jpg", colours), (96, 160))


def test_mask_of_another_size_is_scaled_with_a_warning(tmp_path: Path) -> None:
    labels = labelled(1, 4)
    first = read_first_mask(save(tmp_path / "first.png", labels), (48, 80))
    assert first.labels.shape == (48, 80) and first.ids == (1, 4)
    assert (first.labels == labels.repeat(2, 0).repeat(2, 1)).all()
    assert "40x24" in first.warnings[0] and "80x48" in first.warnings[0]


def test_rounding_of_a_scaled_size_is_no_other_shape() -> None:
    assert read_first_mask(labelled(1, size=(480, 854)), (1080, 1920)).labels.shape == (1080, 1920)
    assert read_first_mask(labelled(1, size=(24, 43)), (1080, 1920)).labels.shape == (1080, 1920)


def test_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="shape of the video, 40x40"):
        read_first_mask(save(tmp_path / "first.png", labelled(1)), (40, 40))
    with pytest.raises(MaskError, match="turn it by 90 degrees"):
        read_first_mask(tmp_path / "first.png", (40, 24))


def test_mask_of_a_frame_whose_pixels_were_not_made_square_is_scaled() -> None:
    labels = labelled(1, 4)
    first = read_first_mask(labels, (24, 53), unscaled=labels.shape)
    assert first.labels.shape == (24, 53) and first.ids == (1, 4) and "was scaled" in first.warnings[0]
    with pytest.raises(MaskError, match="does not have the shape"):
        read_first_mask(labels, (24, 53), unscaled=(24, 41))


def test_object_lost_in_scaling_is_named() -> None:
    labels = labelled(1, size=(240, 400))
    labels[201, 301] = 2
    first = read_first_mask(labels, SIZE)
    assert first.ids == (1,) and "2" in first.warnings[1]
    only = np.zeros((240, 400), np.uint8)
    only[201, 301] = 2
    with pytest.raises(MaskError, match="no object of"):
        read_first_mask(only, SIZE)


def test_empty_mask_says_so(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="empty"):
        read_first_mask(save(tmp_path / "first.png", labelled()), SIZE)
    with pytest.raises(MaskError, match="empty"):
        read_first_mask(np.zeros(SIZE, np.bool_), SIZE)


def test_ids_beyond_254_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="up to 300"):
        read_first_mask(save(tmp_path / "first.png", labelled(1, 300, dtype=np.uint16)), SIZE)


def test_arrays_are_read_like_images() -> None:
    assert read_first_mask(labelled(1) > 0, SIZE).ids == (1,)
    assert read_first_mask(labelled(3, 4).astype(np.int64), SIZE).ids == (3, 4)
    assert read_first_mask(labelled(255), SIZE).ids == (1,)
    assert read_first_mask(labelled(2.0, dtype=np.float32), SIZE).ids == (2,)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 5, 7)), "shape"),
        (np.zeros((0, 5), np.uint8), "shape"),
        (np.full(SIZE, -1), "negative"),
        (np.full(SIZE, 0.5), "fractions"),
        (np.full(SIZE, np.nan), "fractions"),
        (np.full(SIZE, "a"), "holds"),
    ],
)
def test_array_that_is_no_mask_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(MaskError, match=words):
        read_first_mask(array, SIZE)


def test_missing_and_unreadable_masks_are_named(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="does not exist"):
        read_first_mask(tmp_path / "none.png", SIZE)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(MaskError, match="it is no image"):
        read_first_mask(tmp_path / "text.png", SIZE)
    half = save(tmp_path / "half.png", np.random.default_rng(0).integers(0, 9, (64, 64), np.uint8))
    half.write_bytes(half.read_bytes()[:500])
    with pytest.raises(MaskError, match="cannot be read"):
        read_first_mask(half, SIZE)
    with pytest.raises(MaskError, match="folder"):
        read_first_mask(tmp_path, SIZE)


def test_colour_image_is_no_label_map(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="colour image"):
        read_labels(save(tmp_path / "colour.png", np.zeros((*SIZE, 3), np.uint8)))
