"""What a video file promises to be; PyAV (the ffmpeg libraries) keeps it, ffmpeg itself is the judge."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest
from frames_read import REORDERED, assert_as_ffmpeg_decodes, indices, read

from rvos_cli.sources import open_source
from rvos_cli.sources.timing import FrameClock


def test_video_tells_what_it_is(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "my.clip.mp4", 12, sound=True)
    with open_source(str(path)) as source:
        info = source.info
    assert (info.name, info.stem, info.kind, info.path) == (str(path), "my.clip", "video", path)
    assert (info.height, info.width, info.frames, info.rate, info.audio) == (96, 128, 12, 25, True)
    assert source.warnings == []


def test_video_without_sound_says_so(tmp_path: Path) -> None:
    assert not open_source(media.encode(tmp_path / "a.mp4", 2)).info.audio


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_in_the_metadata_is_applied(tmp_path: Path, degrees: int) -> None:
    path = media.rotated(tmp_path / "a.mp4", degrees)
    frames = read(path)
    assert frames[0].image.shape == ((96, 128, 3) if degrees == 180 else (128, 96, 3))
    turned = {
        90: ["green", "white", "red", "blue"],
        180: ["white", "blue", "green", "red"],
        270: ["blue", "red", "white", "green"],
    }
    assert media.corners_of(frames[0].image) == turned[degrees]
    assert_as_ffmpeg_decodes(path, frames)


def test_mirroring_in_the_metadata_is_applied(tmp_path: Path) -> None:
    plain = media.encode(tmp_path / "plain.mp4", 2)
    for option, corners in (
        ("-display_hflip", ["green", "red", "white", "blue"]),
        ("-display_vflip", ["blue", "white", "red", "green"]),
    ):
        path = tmp_path / f"a{option}.mp4"
        media.ffmpeg("-display_rotation", "0", option, "-i", plain, "-c", "copy", path)
        frames = read(path)
        assert media.corners_of(frames[0].image) == corners
        assert_as_ffmpeg_decodes(path, frames)


def test_crooked_rotation_is_left_with_a_warning(tmp_path: Path) -> None:
    source = open_source(media.rotated(tmp_path / "a.mp4", 45))
    assert len(list(source)) == 4
    assert len(source.warnings) == 1 and "90 degrees" in source.warnings[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_variable_frame_times_are_kept(tmp_path: Path, suffix: str) -> None:
    milliseconds = [0, 40, 100, 130, 333, 1000, 1010]
    codec = ("-c:v", "libvpx-vp9", "-b:v", "1M") if suffix == ".webm" else media.H264
    frames = read(media.variable_rate(tmp_path / f"a{suffix}", milliseconds, codec=codec))
    assert [frame.time for frame in frames] == [Fraction(time, 1000) for time in milliseconds]
    assert indices(frames) == list(range(7))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".avi", ".ts"])
@pytest.mark.parametrize("rate", ["30000/1001", "24"])
def test_rates_are_exact_fractions(tmp_path: Path, suffix: str, rate: str) -> None:
    source = open_source(media.encode(tmp_path / f"a{suffix}", 12, rate=rate))
    assert source.info.rate == Fraction(rate)
    if suffix != ".ts":  # whose clock of 90 kHz cannot state 1001/24000 s
        assert [frame.time for frame in source] == [index / Fraction(rate) for index in range(12)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".h264"])
def test_every_frame_comes_once_in_display_order(tmp_path: Path, suffix: str) -> None:
    path = media.encode(tmp_path / f"a{suffix}", 40, options=REORDERED)
    frames = read(path)
    assert indices(frames) == list(range(40))
    assert [frame.time for frame in frames] == [Fraction(index, 25) for index in range(40)]
    assert [frame.name for frame in frames][::39] == ["00000", "00039"]
    assert_as_ffmpeg_decodes(path, frames)


def test_frames_that_an_edit_list_hides_are_not_displayed(tmp_path: Path) -> None:
    whole = media.encode(tmp_path / "whole.mp4", 12, options=REORDERED)
    path = tmp_path / "edited.mp4"
    media.ffmpeg("-ss", "0.12", "-i", whole, "-c", "copy", path)
    source = open_source(path)
    frames = list(source)
    assert indices(frames) == list(range(3, 12))
    assert frames[0].time == 0 and frames[1].time == Fraction(1, 25)
    assert source.info.frames == 9 and source.warnings == []


def test_times_count_from_the_first_frame_whatever_the_clock_says(tmp_path: Path) -> None:
    whole = media.encode(tmp_path / "whole.mp4", 6, options=REORDERED)
    path = tmp_path / "late.ts"
    media.ffmpeg("-i", whole, "-c", "copy", "-output_ts_offset", "100", path)
    assert [frame.time for frame in read(path)] == [Fraction(index, 25) for index in range(6)]


@pytest.mark.parametrize("format", ["yuv420p10le", "yuv422p10le"])
def test_10_bit_video_is_read(tmp_path: Path, format: str) -> None:
    path = media.encode(tmp_path / "a.mkv", 4, options=("-c:v", "ffv1", "-pix_fmt", format))
    frames = read(path)
    assert indices(frames) == [0, 1, 2, 3]
    # Chroma is scaled up with other rounding than the command does, which shows at the test card's hard edges.
    assert_as_ffmpeg_decodes(path, frames, tolerance=0.5)


@pytest.mark.parametrize("format", ["yuv420p", "yuv444p"])
def test_odd_sizes_are_read(tmp_path: Path, format: str) -> None:
    options = ("-c:v", "libvpx-vp9", "-lossless", "1", "-pix_fmt", format)
    path = media.encode(tmp_path / "a.webm", 4, (97, 131), options=options)
    frames = read(path)
    assert frames[0].image.shape == (97, 131, 3) and indices(frames) == [0, 1, 2, 3]
    assert media.corners_of(frames[0].image) == ["red", "green", "blue", "white"]
    assert_as_ffmpeg_decodes(path, frames, tolerance=0.5)


@pytest.mark.parametrize("format", ["gray", "gray10le"])
def test_grey_video_is_read_as_rgb(tmp_path: Path, format: str) -> None:
    path = media.encode(tmp_path / "a.mkv", 3, options=("-c:v", "ffv1", "-pix_fmt", format))
    frames = read(path)
    assert (frames[0].image == frames[0].image[..., :1]).all() and indices(frames) == [0, 1, 2]
    assert_as_ffmpeg_decodes(path, frames)


@pytest.mark.parametrize("colours", ["bt709", "smpte170m", "full range"])
def test_colour_matrix_and_range_are_those_of_the_file(tmp_path: Path, colours: str) -> None:
    tags = ("-pix_fmt", "yuvj420p") if colours == "full range" else ("-colorspace", colours)
    frame = np.zeros((96, 128, 3), np.uint8)
    frame[:, :64], frame[:, 64:] = (200, 40, 90), (20, 180, 60)
    filters = None if colours == "full range" else f"scale=out_color_matrix={colours}"
    path = media.encode(tmp_path / "a.mp4", 1, frames=[frame], filters=filters, options=(*media.H264, *tags))
    frames = read(path)
    assert np.abs(frames[0].image[40, 30].astype(int) - (200, 40, 90)).max() <= 4
    assert_as_ffmpeg_decodes(path, frames)


def test_colours_of_hd_without_a_tag_are_those_that_players_show(tmp_path: Path) -> None:
    flat = np.full((720, 1280, 3), (200, 40, 90), np.uint8)
    tagged = media.encode(
        tmp_path / "tagged.mp4", 1, frames=[flat], size=(720, 1280), filters="scale=out_color_matrix=bt709"
    )
    media.ffmpeg("-i", tagged, "-c", "copy", "-bsf:v", "h264_metadata=matrix_coefficients=2", tmp_path / "untagged.mp4")
    with av.open(str(tmp_path / "untagged.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == 2
    (first,), (second,) = read(tagged), read(tmp_path / "untagged.mp4")
    assert (first.image == second.image).all()


@pytest.mark.parametrize(
    ("name", "options"), [("a.h264", REORDERED), ("a.mkv", (*REORDERED, "-live", "1")), ("a.mjpeg", ("-c:v", "mjpeg"))]
)
def test_video_without_a_frame_count_is_read(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    source = open_source(media.encode(tmp_path / name, 15, options=options))
    assert source.info.frames is None
    assert indices(list(source)) == list(range(15)) and source.warnings == []


def test_bare_stream_keeps_the_rate_in_its_data(tmp_path: Path) -> None:
    source = open_source(media.encode(tmp_path / "a.h264", 6, rate="30000/1001", options=REORDERED))
    assert source.info.rate == Fraction(30000, 1001)
    assert [frame.time for frame in source][-1] == Fraction(5 * 1001, 30000)


def test_animated_gif_is_a_video(tmp_path: Path) -> None:
    source = open_source(media.encode(tmp_path / "a.gif", 8, options=()))
    assert source.info.kind == "video"
    assert indices(list(source)) == list(range(8))


def test_of_an_animated_avif_the_animation_is_read_and_not_the_still_beside_it(tmp_path: Path) -> None:
    options = ("-c:v", "libaom-av1", "-cpu-used", "8", "-crf", "10", "-pix_fmt", "yuv420p")
    source = open_source(media.encode(tmp_path / "a.avif", 4, options=options))
    assert indices(list(source)) == list(range(4)) and source.info.frames == 4


def test_of_several_videos_the_default_one_is_read_or_else_the_largest(tmp_path: Path) -> None:
    small, large = media.encode(tmp_path / "small.mp4", 5), media.encode(tmp_path / "large.mp4", 5, (192, 256))
    streams = ("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy")
    media.ffmpeg(*streams, "-disposition:v:1", "0", tmp_path / "a.mkv")
    media.ffmpeg(*streams, tmp_path / "b.mp4")
    assert [open_source(tmp_path / name).info.width for name in ("a.mkv", "b.mp4")] == [128, 256]


def test_pixels_are_made_square(tmp_path: Path) -> None:
    source = open_source(media.encode(tmp_path / "a.mp4", 3, filters="setsar=4/3"))
    assert (source.info.height, source.info.width) == (96, 171)
    frames = list(source)
    assert frames[0].image.shape == (96, 171, 3) and indices(frames) == [0, 1, 2]


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_pixel_shape_that_makes_up_for_rounding_leaves_the_size_as_it_is_coded(tmp_path: Path, name: str) -> None:
    path = media.encode(
        tmp_path / name, 3, (90, 161), filters="setsar=1,scale=108:60", options=() if "gif" in name else media.H264
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio not in (None, 0, 1)
    source = open_source(path)
    assert (source.info.height, source.info.width) == (60, 108)
    assert {frame.image.shape for frame in source} == {(60, 108, 3)}


def test_pixels_are_made_square_before_they_are_turned(tmp_path: Path) -> None:
    plain = media.encode(tmp_path / "plain.mp4", 3, filters="setsar=2/1")
    path = tmp_path / "a.mp4"
    media.ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", path)
    frames = read(path)
    assert frames[0].image.shape == (256, 96, 3)
    assert media.corners_of(frames[0].image) == ["green", "white", "red", "blue"]


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    source = open_source(media.size_changing(tmp_path / "a.h264"))
    frames = list(source)
    assert {frame.image.shape for frame in frames} == {(96, 128, 3)} and indices(frames) == list(range(8))
    assert len(source.warnings) == 1 and "at frame 4, from 128x96 to 192x144" in source.warnings[0]


def test_clock_mends_broken_stamps() -> None:
    clock = FrameClock(Fraction(1, 100), Fraction(25))
    times = [clock.time(pts, None) for pts in (500, 504, 504, 508, None, 100, 104)]
    assert times[:4] == [0, Fraction(1, 25), Fraction(41, 1000), Fraction(2, 25)]
    assert times[4:] == [Fraction(3, 25), Fraction(4, 25), Fraction(5, 25)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
@pytest.mark.parametrize("depth", [2, 6])
def test_decoding_times_in_place_of_presentation_times_do_not_slow_a_video(
    tmp_path: Path, suffix: str, depth: int
) -> None:
    reordered = ("-c:v", "libx264", "-preset", "veryfast", "-bf", str(depth), "-x264-params", "b-adapt=0")
    right = media.encode(tmp_path / "right.mp4", 60, options=reordered)
    media.ffmpeg("-i", right, "-c", "copy", "-bsf:v", "setts=pts=DTS", tmp_path / f"wrong{suffix}")
    frames = read(tmp_path / f"wrong{suffix}")
    times = [frame.time for frame in frames]
    assert times[0] == 0 and all(step > 0 for step in np.diff(times))
    assert all(abs(step - Fraction(1, 25)) <= Fraction(1, 1000) for step in np.diff(times[10:]))
    assert abs(times[-1] - Fraction(len(frames) - 1, 25)) <= Fraction(3, 25)


@pytest.mark.parametrize("count", [8, 30])
def test_joined_transport_streams_go_on_where_the_clock_was_reset(tmp_path: Path, count: int) -> None:
    part = media.encode(tmp_path / "part.ts", count, options=REORDERED).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part * 3)
    times = [frame.time for frame in read(tmp_path / "joined.ts")]
    assert times == [Fraction(index, 25) for index in range(3 * count)]


def test_clock_goes_over_to_decoding_times_only_where_these_are_sound() -> None:
    def times(*stamps: tuple[int, int | None]) -> list[Fraction]:
        clock = FrameClock(Fraction(1, 25), Fraction(25))
        return [25 * clock.time(pts, dts) for pts, dts in stamps]

    assert times((0, 2), (3, 3), (2, 4), (4, 5), (1, 6), (5, None)) == [0, 3, 4, 5, 6, 7]
    assert times((0, 0), (1, 1), (2, 2), (0, 0), (1, 1), (2, 2)) == [0, 1, 2, 3, 4, 5]  # a reset of both
    assert times((0, 0), (40, 1), (3, 2), (4, 3)) == [0, 40, 41, 42]  # a reset by more than codecs reorder
