"""Frame by frame: video, arrays and masks of some frames in, label maps out, one at a time."""

import itertools
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, square_labels, squares

import rvos_cli as rvos
from rvos_cli.masks import read_labels
from rvos_cli.segmenter import Segmenter


def test_stream_gives_the_masks_that_track_writes(
    tiny_model: Segmenter, frame_folder: Path, first_mask: Path, tmp_path: Path
):
    tiny_model.track(frame_folder, first_mask=first_mask, output=tmp_path / "out", overlay=False, objects=False)
    frames = list(tiny_model.stream(frame_folder, first_mask=square_labels()))
    assert [frame.index for frame in frames] == list(range(FRAMES))
    for frame in frames:
        assert np.array_equal(frame.labels, read_labels(tmp_path / "out" / "masks" / f"{frame.name}.png"))


def test_stream_takes_arrays_without_end_one_by_one(tiny_model: Segmenter):
    taken = []

    def camera():
        for index in itertools.count():
            taken.append(index)
            yield squares(index % FRAMES)

    stream = tiny_model.stream(camera())
    assert not taken
    for frame in itertools.islice(stream, 3):
        assert frame.labels.shape == (HEIGHT, WIDTH)
        assert frame.labels.dtype == np.uint8
    assert len(taken) <= 4


@pytest.mark.parametrize("kind", ["mapping", "iterable", "array"])
def test_stream_takes_masks_of_later_frames(tiny_model: Segmenter, kind: str):
    late = square_labels(2)
    nothing = np.zeros_like(late)
    masks = {"mapping": {2: late}, "iterable": iter([None, None, late]), "array": np.stack([nothing, nothing, late])}[
        kind
    ]
    frames = list(tiny_model.stream([squares(index) for index in range(4)], masks=masks))
    assert [bool(frame.labels.any()) for frame in frames[:3]] == [False, False, True]
    assert np.array_equal(frames[2].labels, late)


def test_stream_joins_an_object_that_appears_later(tiny_model: Segmenter, colours: None):
    images = [squares(index, right=index > 1) for index in range(4)]
    later = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)
    frames = list(tiny_model.stream(images, first_mask=square_labels(0, right=False), masks={2: later}))
    assert [sorted(set(np.unique(frame.labels)) - {0}) for frame in frames] == [[1], [1], [1, 2], [1, 2]]


def test_a_mask_drawn_on_a_frame_as_ffmpeg_saves_it_fits_a_video_without_square_pixels(
    tiny_model: Segmenter, tmp_path: Path
):
    straight = media.encode(tmp_path / "straight.mp4", 2, filters="setsar=4/3")
    turned = tmp_path / "turned.mp4"
    media.ffmpeg("-display_rotation", "90", "-i", straight, "-c", "copy", turned)
    for source, size in ((straight, (96, 171)), (turned, (171, 96))):
        first = tmp_path / f"{source.stem}.png"
        media.ffmpeg("-i", source, "-frames:v", "1", first)
        with Image.open(first) as image:
            mask = np.zeros((image.height, image.width), np.uint8)
        mask[: len(mask) // 2] = 1
        frame = next(tiny_model.stream(source, first_mask=mask))
        assert frame.labels.shape == size != mask.shape
        middle = size[0] // 2
        assert (frame.labels[: middle - 1] == 1).all() and not frame.labels[middle + 1 :].any()


@pytest.mark.parametrize("masks", [{0: square_labels()}, [square_labels()]])
def test_a_first_frame_with_two_masks_is_refused(tiny_model: Segmenter, masks: object):
    with pytest.raises(rvos.MaskError, match="give one of them"):
        next(tiny_model.stream([squares(0)], first_mask=square_labels(), masks=masks))


@pytest.mark.parametrize("index", [4, -1])
def test_a_mask_of_a_frame_that_never_comes_is_told_at_the_end(tiny_model: Segmenter, index: int):
    masks = {0: square_labels(), 2: None, 9: None, index: square_labels()}
    frames = tiny_model.stream([squares(index) for index in range(4)], masks=masks)
    assert [next(frames).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(rvos.MaskError, match=rf"frame {index}, .* frames 0 to 3"):
        next(frames)


def test_more_masks_than_frames_are_told_at_the_end(tiny_model: Segmenter):
    nothing = np.zeros_like(square_labels())
    enough = [square_labels(), None, nothing, None, nothing]
    assert len(list(tiny_model.stream([squares(index) for index in range(3)], masks=enough))) == 3
    with pytest.raises(rvos.MaskError, match=r"frame 4, .* frames 0 to 2"):
        list(tiny_model.stream([squares(index) for index in range(3)], masks=[*enough[:4], square_labels()]))


def test_a_single_array_is_not_taken_for_a_row_of_masks(tiny_model: Segmenter):
    with pytest.raises(rvos.UsageError, match="first_mask="):
        tiny_model.stream([squares(0)], masks=square_labels())


def test_a_colour_is_the_same_object_in_every_mask(tiny_model: Segmenter):
    first = square_labels(right=True)
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    only_second, with_a_third = np.where(first == 2, 2, 0), np.where(first == 1, 3, first)
    frames = list(
        tiny_model.stream(
            [squares(index) for index in range(3)],
            first_mask=colours[first],
            masks={1: colours[only_second], 2: colours[with_a_third]},
        )
    )
    assert (frames[1].labels[first == 2] == 2).all()
    assert (frames[2].labels[first == 2] == 2).all() and (frames[2].labels[first == 1] == 3).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((50, 50), np.uint8), "the mask of frame 2 is 50x50"),
        (np.zeros((HEIGHT, WIDTH), np.uint8), "the mask of frame 2 is empty"),
        (np.full((HEIGHT, WIDTH), 0.5), "the mask of frame 2 has fractions"),
    ],
)
def test_a_later_mask_that_cannot_be_used_is_named_by_its_frame(tiny_model: Segmenter, mask: np.ndarray, message: str):
    with pytest.raises(rvos.MaskError, match=message):
        list(tiny_model.stream([squares(0)] * 4, first_mask=square_labels(), masks={2: mask}))


def test_an_array_of_opaque_black_says_nothing(tiny_model: Segmenter):
    nothing = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    black = nothing.copy()
    black[..., 3] = 255
    drawn = nothing.copy()
    drawn[20:60, 10:50, 3] = 255  # black paint on a transparent ground
    labels = [f.labels for f in tiny_model.stream([squares(0)] * 3, masks=[drawn, black, nothing])]
    assert len(labels) == 3 and (labels[0][20:60, 10:50] == 1).all()


def test_who_stops_a_stream_goes_on_with_the_frames_that_are_left(tiny_model: Segmenter):
    def camera():
        yield from (squares(index) for index in range(FRAMES))

    frames = camera()
    for frame in tiny_model.stream(frames, first_mask=square_labels()):
        if frame.index == 1:
            break
    del frame
    rest = list(tiny_model.stream(frames, first_mask=square_labels(2)))
    assert [frame.index for frame in rest] == list(range(FRAMES - 2))
