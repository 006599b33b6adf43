"""What a source says of a small clip, and whether ffmpeg says the same."""

from __future__ import annotations

from pathlib import Path

import media
import numpy as np
from PIL import Image

from rvos_cli.sources import Frame, open_source

REORDERED = ("-c:v", "libx264", "-preset", "medium", "-bf", "3", "-g", "10", "-crf", "10", "-pix_fmt", "yuv420p")


def read(path: Path) -> list[Frame]:
    with open_source(path) as source:
        frames = list(source)
    for frame in frames:
        assert frame.image.shape == (source.info.height, source.info.width, 3)
        assert frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return frames


def indices(frames: list[Frame]) -> list[int]:
    return [media.index_of(frame.image) for frame in frames]


def assert_as_ffmpeg_decodes(path: Path, frames: list[Frame], tolerance: float = 0.0) -> None:
    expected = media.decode(path, frames[0].image.shape[:2])
    assert len(expected) == len(frames)
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() <= tolerance


def write_image(path: Path, image: np.ndarray, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)
    return path
