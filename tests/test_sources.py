"""One test per promise about what comes in; PyAV (the ffmpeg libraries) keeps them, ffmpeg itself is the judge."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest
from PIL import Image

from rvos_cli.errors import InputError
from rvos_cli.sources import Frame, open_source
from rvos_cli.sources import video as video_module
from rvos_cli.sources.timing import FrameClock

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


# -- video files ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("share", [0.5, 0.77])
def test_damaged_tail_keeps_what_decodes_and_says_where_it_ends(tmp_path: Path, suffix: str, share: float) -> None:
    whole = media.encode(tmp_path / f"a{suffix}", 60, options=(*REORDERED, "-movflags", "+faststart"), sound=True)
    path = media.cut(whole, share)
    source = open_source(path)
    frames = list(source)
    assert 5 < len(frames) < 60 and indices(frames)[:5] == [0, 1, 2, 3, 4]
    assert_as_ffmpeg_decodes(path, frames)
    if suffix != ".ts":  # which tells neither its length nor its frames: it just ends
        assert len(source.warnings) == 1
        assert f"ends at frame {len(frames) - 1}, after {len(frames)} frames" in source.warnings[0]


@pytest.mark.parametrize("threads", [1, 2, 4, 7])
def test_damaged_tail_loses_no_frame_to_threads(tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "MOST_THREADS", threads)
    monkeypatch.setattr(video_module.os, "cpu_count", lambda: threads)
    whole = media.encode(tmp_path / "a.mp4", 60, options=(*REORDERED, "-movflags", "+faststart"))
    path = media.cut(whole, 0.8)
    assert_as_ffmpeg_decodes(path, read(path))


def test_damage_in_the_middle_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    path = media.spoil(media.encode(tmp_path / "a.mp4", 60, options=REORDERED), 0.4, 0.5)
    source = open_source(path)
    frames = list(source)
    assert 40 < len(frames) < 60 and indices(frames)[-1] == 59
    assert frames[-1].time == Fraction(59, 25)
    assert len(source.warnings) == 1 and "could not be decoded" in source.warnings[0]
    assert_as_ffmpeg_decodes(path, frames)


def test_spoiled_tail_says_where_it_ends(tmp_path: Path) -> None:
    whole = media.encode(tmp_path / "a.mp4", 60, options=(*REORDERED, "-movflags", "+faststart"))
    source = open_source(media.spoil(whole, 0.7, 1.0))
    frames = list(source)
    assert 5 < len(frames) < 60
    assert len(source.warnings) == 1 and f"ends at frame {len(frames) - 1}," in source.warnings[0]


def test_reading_twice_starts_again_and_warns_once(tmp_path: Path) -> None:
    source = open_source(media.cut(media.encode(tmp_path / "a.mkv", 60, options=REORDERED), 0.8))
    first, second = indices(list(source)), indices(list(source))
    assert first == second and len(source.warnings) == 1


def test_half_read_video_can_be_left_and_closed(tmp_path: Path) -> None:
    source = open_source(media.encode(tmp_path / "a.mp4", 30))
    assert indices(list(itertools.islice(source, 3))) == [0, 1, 2]
    reading = iter(source)
    next(reading)
    source.close()
    assert list(reading) == []


def test_frames_leave_memory_without_the_garbage_collector(tmp_path: Path) -> None:
    source = open_source(media.rotated(tmp_path / "a.mp4", 90, count=60))
    gc.collect()
    gc.disable()
    try:
        for frame in source:
            if frame.index == 50:
                alive = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert alive < 15


def test_colon_and_percent_in_a_name_are_part_of_the_name(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "a.mp4", 2).rename(tmp_path / "take: 50%d of [all].mp4")
    assert len(read(path)) == 2


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    cover = write_image(tmp_path / "cover.jpg", media.test_frame(0))
    for name in ("song.mp3", "song.m4a"):
        with pytest.raises(InputError, match="sound only"):
            open_source(media.sound_only(tmp_path / name, cover=cover))


def test_video_with_cover_art_is_read_without_it(tmp_path: Path) -> None:
    cover = write_image(tmp_path / "cover.jpg", np.zeros((400, 400, 3), np.uint8))
    plain = media.encode(tmp_path / "plain.mp4", 5)
    path = tmp_path / "a.mp4"
    media.ffmpeg(
        *("-i", cover, "-i", plain, "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic", "-disposition:v:1", "default", path),
    )
    assert indices(read(path)) == [0, 1, 2, 3, 4]


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sound only"):
        open_source(media.sound_only(tmp_path / "a.m4a"))


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.txt").write_text("some text\n" * 20)
    (tmp_path / "notes.mp4").write_text("some text\n" * 20)
    (tmp_path / "titles.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    media.cut(media.encode(tmp_path / "headless.mp4", 20), 0.5)  # its table of contents stands at the end
    for name, words in (
        ("empty.mp4", "is empty"),
        ("missing.mp4", "does not exist"),
        ("notes.txt", "notes.txt"),
        ("notes.mp4", "cannot be read as a video"),
        ("titles.srt", "no video"),
        ("headless.mp4", "cannot be read as a video"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value)
    for address in ("https://example.org/street.mp4", Path("https://example.org/street.mp4")):
        with pytest.raises(InputError, match="web address"):
            open_source(address)
    with pytest.raises(InputError, match="empty name"):
        open_source("")


def test_a_linked_folder_keeps_the_name_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "take-17").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "take-17" / "0.png")
    (tmp_path / "street").symlink_to(tmp_path / "take-17", target_is_directory=True)
    assert open_source(tmp_path / "street").info.stem == "street"


# -- the clock --------------------------------------------------------------------------------------------------------


def test_clock_mends_broken_stamps() -> None:
    clock = FrameClock(Fraction(1, 100), Fraction(25))
    times = [clock.time(pts, None) for pts in (500, 504, 504, 508, None, 100, 104)]
    assert times[:4] == [0, Fraction(1, 25), Fraction(41, 1000), Fraction(2, 25)]
    assert times[4:] == [Fraction(3, 25), Fraction(4, 25), Fraction(5, 25)]


# -- folders and images -----------------------------------------------------------------------------------------------


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
    expected = np.repeat(grey[..., None], 3, axis=2)
    for frame in read(tmp_path):
        assert np.abs(frame.image.astype(int) - expected).max() <= 1, frame.name


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


# -- arrays -----------------------------------------------------------------------------------------------------------


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
