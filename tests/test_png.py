"""Masks as PNG bytes, read back by others: Pillow, and FFmpeg's own decoder."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from rvos_cli import png
from rvos_cli.png import DAVIS_PALETTE, encode_binary_png, encode_indexed_png

SIZES = [(1, 1), (1, 7), (24, 41), (480, 854)]


@pytest.fixture(params=["fast", "plain"], autouse=True)
def deflating(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deflate with ISA-L, and as where it is missing."""
    if request.param == "plain":
        monkeypatch.setattr(png, "isal_zlib", None)
    elif png.isal_zlib is None:
        pytest.skip("isal is not installed")


def drawn(size: tuple[int, int], values: int) -> np.ndarray:
    """Draw random values on half of a picture, and leave the other half empty."""
    labels = np.random.default_rng(size[1]).integers(0, values, size, dtype=np.uint8)
    labels[:, size[1] // 2 :] = 0
    return labels


def read_by_ffmpeg(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data), format="png_pipe") as container:
        (frame,) = container.decode(video=0)
        return frame.to_ndarray(format="rgb24")


def test_palette_is_that_of_davis() -> None:
    assert DAVIS_PALETTE.shape == (256, 3) and DAVIS_PALETTE.dtype == np.uint8
    assert DAVIS_PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert DAVIS_PALETTE[7:10].tolist() == [[128, 128, 128], [64, 0, 0], [192, 0, 0]]
    assert DAVIS_PALETTE[20].tolist() == [0, 64, 128]
    assert len(np.unique(DAVIS_PALETTE, axis=0)) == 256


@pytest.mark.parametrize("size", SIZES)
def test_indexed_png_is_what_others_read(size: tuple[int, int]) -> None:
    labels = drawn(size, 256)
    data = encode_indexed_png(labels)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "P" and image.size == size[::-1]
        assert np.array(image.getpalette("RGB")).reshape(-1, 3).tolist() == DAVIS_PALETTE.tolist()
        assert (np.asarray(image) == labels).all()
    assert (read_by_ffmpeg(data) == DAVIS_PALETTE[labels]).all()


@pytest.mark.parametrize("size", SIZES)
def test_binary_png_is_what_others_read(size: tuple[int, int]) -> None:
    mask = drawn(size, 2).astype(np.bool_)
    data = encode_binary_png(mask)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L" and image.size == size[::-1]
        assert (np.asarray(image) == np.where(mask, 255, 0)).all()
    assert (read_by_ffmpeg(data)[..., 0] == np.where(mask, 255, 0)).all()


def test_a_mask_that_is_a_view_is_encoded_as_seen() -> None:
    labels = drawn((40, 60), 5)
    with Image.open(io.BytesIO(encode_indexed_png(labels[::-2, ::3]))) as image:
        assert (np.asarray(image) == labels[::-2, ::3]).all()


def test_a_mask_is_small() -> None:
    mask = np.zeros((480, 854), np.bool_)
    assert len(encode_binary_png(mask)) < 2000
    mask[100:300, 200:500] = True
    assert len(encode_binary_png(mask)) < 4000


@pytest.mark.parametrize("shape", [(3,), (2, 3, 3), (0, 4)])
def test_what_is_no_mask_is_refused(shape: tuple[int, ...]) -> None:
    for encode in (encode_indexed_png, encode_binary_png):
        with pytest.raises(ValueError, match="mask"):
            encode(np.zeros(shape, np.uint8))
