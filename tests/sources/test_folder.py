"""Folders of images and single images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from frames_read import indices, read, write_image
from PIL import Image

from rvos_cli.errors import InputError
from rvos_cli.sources import folder, open_source


def test_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.JPG", "Frame10.jpeg", "frame11.bmp", "frame100.webp", "frame101.tif"]
    for index, name in enumerate(names):
        write_image(tmp_path / name, media.test_frame(index))
    for other in (".hidden.png", "._frame1.jpg", "notes.txt"):
        (tmp_path / other).write_text("not a frame")
    (tmp_path / "folder.png").mkdir()
    source = open_source(tmp_path)
    assert (source.info.kind, source.info.frames, source.info.rate) == ("folder", 6, None)
    assert source.info.stem == tmp_path.name and not source.info.audio
    frames = read(tmp_path)
    assert indices(frames) == list(range(6))
    assert [frame.name for frame in frames] == [Path(name).stem for name in names]
    assert [frame.time for frame in frames] == [Fraction(index, 25) for index in range(6)]


def test_single_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    path = write_image(tmp_path / "photo.v2.png", media.test_frame(7))
    source = open_source(path)
    assert (source.info.kind, source.info.stem, source.info.frames) == ("image", "photo.v2", 1)
    (frame,) = source
    assert (frame.image == media.test_frame(7)).all() and frame.name == "photo.v2" and frame.time == 0


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_orientation_of_photographs_is_applied(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    lying = np.rot90(media.test_frame(5)).copy()
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}{suffix}", lying, exif=exif)
    frames = read(tmp_path)
    assert frames[0].image.shape == (96, 128, 3) and indices(frames) == [5, 5]
    assert media.corners_of(frames[0].image) == ["red", "green", "blue", "white"]


def test_every_kind_of_image_becomes_8_bit_rgb(tmp_path: Path) -> None:
    grey = np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))
    Image.fromarray(grey).save(tmp_path / "1grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "2deep.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "3deep.tif")
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "4float.tif")
    Image.fromarray(grey).convert("P").save(tmp_path / "5palette.png")
    Image.fromarray(grey).convert("RGB").convert("CMYK").save(tmp_path / "6print.tif")
    Image.fromarray(grey).convert("LA").save(tmp_path / "7alpha.png")
    for name in ("8map.pgm", "9map.ppm", "10wavelet.jp2", "11targa.tga"):
        Image.fromarray(grey).convert("L" if name.endswith("pgm") else "RGB").save(tmp_path / name)
    expected = np.repeat(grey[..., None], 3, axis=2)
    frames = read(tmp_path)
    assert len(frames) == 11
    for frame in frames:
        assert np.abs(frame.image.astype(int) - expected).max() <= 1, frame.name


def test_16_bits_are_16_bits_however_dark_the_picture(tmp_path: Path) -> None:
    for index, level in enumerate((0, 120, 255, 256, 2000, 65535)):
        Image.fromarray(np.full((8, 8), level, np.uint16)).save(tmp_path / f"{index}.png")
        values = np.full((8, 8), level, ">u2").tobytes()
        (tmp_path / f"{index}b.pgm").write_bytes(b"P5 8 8 65535\n" + values)
    assert [int(frame.image.max()) for frame in read(tmp_path)] == [0, 0, 0, 0, 0, 0, 1, 1, 7, 7, 255, 255]


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    image = np.full((8, 8, 4), (200, 100, 50, 255), np.uint8)
    image[:4, :, 3] = 0
    (frame,) = open_source(write_image(tmp_path / "a.png", image))
    assert frame.image[0, 0].tolist() == [0, 0, 0] and frame.image[7, 7].tolist() == [200, 100, 50]


def test_image_with_several_pictures_gives_the_first_with_a_warning(tmp_path: Path) -> None:
    first, second = (Image.fromarray(media.test_frame(index)) for index in (1, 2))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    source = open_source(tmp_path / "a.png")
    assert indices(list(source)) == [1] and "2 pictures" in source.warnings[0]


def test_bad_folders_are_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        open_source(tmp_path)
    write_image(tmp_path / "a.png", media.test_frame(0))
    write_image(tmp_path / "b.png", media.test_frame(1, 48, 64))
    with pytest.raises(InputError, match=r"b\.png is 64x48, the first image is 128x96"):
        open_source(tmp_path)
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        open_source(tmp_path)
    (tmp_path / "b.png").unlink()
    write_image(tmp_path / "a.jpg", media.test_frame(1))
    with pytest.raises(InputError, match=r"holds a\.jpg and a\.png, whose masks would have one name"):
        open_source(tmp_path)


def test_names_that_differ_in_case_only_are_refused_where_they_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "A.png"):
        write_image(tmp_path / name, media.test_frame(0))
    monkeypatch.setattr(folder, "CASELESS", False)
    assert [frame.name for frame in read(tmp_path)] == ["a", "A"]
    monkeypatch.setattr(folder, "CASELESS", True)
    with pytest.raises(InputError, match=r"holds a\.jpg and A\.png, whose masks would have one name"):
        open_source(tmp_path)


def test_truncated_image_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:9000])
    frames = iter(open_source(tmp_path))
    assert next(frames).name == "a"
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        next(frames)


def test_lying_photograph_among_upright_ones_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", media.test_frame(0))
    write_image(tmp_path / "b.png", media.test_frame(0, 128, 96))
    with pytest.raises(InputError, match=r"b\.png is 96x128"):
        list(open_source(tmp_path))


def test_a_linked_folder_keeps_the_name_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "take-17").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "take-17" / "0.png")
    (tmp_path / "street").symlink_to(tmp_path / "take-17", target_is_directory=True)
    assert open_source(tmp_path / "street").info.stem == "street"
