"""Frames that a program has in memory."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from frames_read import indices

from rvos_cli.errors import InputError
from rvos_cli.sources import open_source


def test_arrays_are_taken_one_at_a_time(tmp_path: Path) -> None:
    made: list[int] = []

    def produce() -> Iterator[np.ndarray]:
        for index in range(5):
            made.append(index)
            yield media.test_frame(index)

    source = open_source(produce())
    assert (source.info.kind, source.info.height, source.info.width, source.info.frames) == ("arrays", 96, 128, None)
    assert made == [0]
    frames = iter(source)
    assert next(frames).time == 0 and made == [0]
    second = next(frames)
    assert (second.index, second.name, second.time) == (1, "00001", Fraction(1, 25)) and made == [0, 1]
    assert indices(list(frames)) == [2, 3, 4]
    with pytest.raises(InputError, match="only once"):
        list(source)


def test_list_and_array_of_frames_can_be_read_twice() -> None:
    images = [media.test_frame(index) for index in range(3)]
    for input in (images, np.stack(images)):
        source = open_source(input)
        assert source.info.frames == 3
        assert indices(list(source)) == indices(list(source)) == [0, 1, 2]


def test_producer_may_reuse_its_buffer() -> None:
    def produce() -> Iterator[np.ndarray]:
        buffer = np.empty((96, 128, 3), np.uint8)
        for index in range(3):
            buffer[:] = media.test_frame(index)
            yield buffer

    assert indices(list(open_source(produce()))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ([], "no frames"),
        ([np.zeros((4, 4), np.uint8)], "shape"),
        ([np.zeros((4, 4, 4), np.uint8)], "shape"),
        ([np.zeros((0, 4, 3), np.uint8)], "shape"),
        ([np.zeros((4, 4, 3), np.float32)], "float32"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)], "frame 1 is 4x5, the first is 4x4"),
        (np.zeros((4, 4, 3), np.uint8), "shape"),
        (7, "type int"),
    ],
)
def test_arrays_of_another_kind_are_refused(arrays: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(open_source(arrays))  # type: ignore[arg-type]


def test_an_input_that_does_not_know_its_length_can_be_read() -> None:
    class Bar:
        """As progress bars and data loaders are of what has no length."""

        def __len__(self) -> int:
            raise TypeError("object of type 'generator' has no len()")

        def __iter__(self) -> Iterator[np.ndarray]:
            return (media.test_frame(index) for index in range(3))

    source = open_source(Bar())
    assert source.info.frames is None and indices(list(source)) == [0, 1, 2]
