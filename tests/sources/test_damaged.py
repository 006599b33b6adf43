"""Files that are damaged, strange or no videos at all: what decodes is kept, the rest is one line."""

from __future__ import annotations

import gc
import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest
from frames_read import REORDERED, assert_as_ffmpeg_decodes, indices, read, write_image
from tiles import tiled_picture

from rvos_cli.errors import InputError
from rvos_cli.sources import open_source
from rvos_cli.sources import video as video_module


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


def test_a_tail_of_a_few_frames_is_missed_too(tmp_path: Path) -> None:
    options = (*REORDERED, "-movflags", "+faststart")
    source = open_source(media.cut(media.encode(tmp_path / "a.mp4", 12, options=options, sound=True), 0.6))
    frames = list(source)
    assert 5 < len(frames) < 12
    assert len(source.warnings) == 1 and f"after {len(frames)} frames" in source.warnings[0]


@pytest.mark.parametrize("share", [0.16, 0.2, 0.24])
def test_a_header_that_is_cut_is_one_line(tmp_path: Path, share: float) -> None:
    options = ("-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
    with pytest.raises(InputError):
        list(open_source(media.cut(media.encode(tmp_path / "a.mp4", 12, options=options), share)))


@pytest.mark.parametrize("threads", [1, 2, 4, 7])
def test_damaged_tail_loses_no_frame_to_threads(tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "SIDE_THREADS", threads)
    whole = media.encode(tmp_path / "a.mp4", 60, options=(*REORDERED, "-movflags", "+faststart"))
    path = media.cut(whole, 0.8)
    assert_as_ffmpeg_decodes(path, read(path))


def test_a_file_that_begins_late_is_whole(tmp_path: Path) -> None:
    path = media.encode(tmp_path / "a.mkv", 20, options=(*REORDERED, "-output_ts_offset", "5"))
    with open_source(path) as source:
        assert source.info.frames == 20
        assert len(list(source)) == 20
        assert source.warnings == []


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


def test_a_name_that_is_too_long_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        open_source("n" * 300 + ".mp4")


def test_what_may_not_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    path = media.encode(tmp_path / "closed" / "a.mp4", 2)
    path.parent.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("whoever runs this may read everything")
    try:
        with pytest.raises(InputError, match="cannot be read"):
            open_source(path)
    finally:
        path.parent.chmod(0o700)


def test_a_photograph_in_tiles_is_refused_instead_of_read_as_its_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.avif is a picture in tiles; convert it to JPEG or PNG"):
        open_source(tiled_picture(tmp_path / "a.avif"))


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
    https = "https://example.org/street.mp4"
    for address in (https, Path(https), https.upper(), "s3://example/street.mp4"):
        with pytest.raises(InputError, match="web address"):
            open_source(address)
    with pytest.raises(InputError, match="is an address; give the path itself, without file://"):
        open_source(f"file://{tmp_path}/street.mp4")
    with pytest.raises(InputError, match="empty name"):
        open_source("")
