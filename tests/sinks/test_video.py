"""Overlay videos, read back with ffmpeg and PyAV: times, size, colours, and nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import H264, decode, encode, ffmpeg, index_of, rotated, test_frame, variable_rate
from overlays import SIZE, masks_of, overlay, source_times, video_times
from PIL import Image

from rvos_cli.errors import OutputError
from rvos_cli.overlay import blend
from rvos_cli.results import FrameMasks
from rvos_cli.sinks import MaskFolder, ObjectFolders, OverlayVideo, muxing, video
from rvos_cli.sinks.video import overlay_clock
from rvos_cli.sources import SourceInfo, open_source


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "25", "60", "12.5"])
def test_constant_rates_stay_exact_to_the_last_frame(tmp_path: Path, rate: str) -> None:
    video = encode(tmp_path / "in.mp4", 70, SIZE, rate=rate)
    overlay(video, tmp_path / "overlay.mp4")
    step = 1 / Fraction(rate)
    times, end = video_times(tmp_path / "overlay.mp4")
    assert times == [index * step for index in range(70)]
    assert end == 70 * step
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(rate)


def test_every_frame_is_there_once_and_in_order(tmp_path: Path) -> None:
    video = encode(tmp_path / "in.mp4", 60, SIZE)
    overlay(video, tmp_path / "overlay.mp4")
    assert [index_of(image) for image in decode(tmp_path / "overlay.mp4", SIZE)] == list(range(60))


def test_threads_change_neither_pictures_nor_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = variable_rate(tmp_path / "in.mp4", [0, 40, 80, 81, 300, 1000, 1033, 5000, 5040, 5080, 5200])
    for threads in (1, 4):
        monkeypatch.setattr(video, "SIDE_THREADS", threads)
        overlay(source, tmp_path / f"{threads}.mp4")
    assert video_times(tmp_path / "1.mp4") == video_times(tmp_path / "4.mp4")
    assert np.array_equal(*(decode(tmp_path / f"{threads}.mp4", SIZE) for threads in (1, 4)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_times_are_kept(tmp_path: Path, suffix: str) -> None:
    stamps = [0, 40, 80, 81, 300, 1000, 1033, 5000]
    video = variable_rate(tmp_path / f"in{suffix}", stamps)
    overlay(video, tmp_path / "overlay.mp4")
    times, end = video_times(tmp_path / "overlay.mp4")
    assert times == source_times(video) == [Fraction(stamp, 1000) for stamp in stamps]
    assert end - times[-1] == Fraction(1, 25)


def test_a_long_still_moment_of_a_variable_rate_is_shown_as_long(tmp_path: Path) -> None:
    times = "settb=1/90000,setpts='(N/30+if(gt(N,48),700,0)+0.007*mod(N,3))/TB'"
    clock = ("-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-video_track_timescale", "90000")
    video = encode(tmp_path / "in.mp4", 97, (48, 64), rate="30", filters=times, options=(*H264, *clock))
    overlay(video, tmp_path / "overlay.mp4")
    assert video_times(tmp_path / "overlay.mp4")[0] == source_times(video)
    assert source_times(video)[49] > 700


def test_a_frame_behind_a_longer_moment_than_mp4_shows_comes_early_and_the_next_on_time(tmp_path: Path) -> None:
    with open_source([test_frame(0)]) as source, OverlayVideo(tmp_path / "overlay.mp4", source.info) as sink:
        for frame in masks_of(source):
            for index, moment in enumerate((0, 1, 30_000, 30_001)):
                sink.write(replace(frame, index=index, time=Fraction(moment), duration=Fraction(29_999)))
    times, _ = video_times(tmp_path / "overlay.mp4")
    assert times == [0, 1, 1 + (2**31 - 2) * overlay_clock(None, None), 30_001]


def test_a_last_frame_that_is_held_is_held(tmp_path: Path) -> None:
    held = encode(tmp_path / "in.gif", 5, SIZE, options=("-final_delay", "300"))
    overlay(held, tmp_path / "overlay.mp4")
    times, end = video_times(tmp_path / "overlay.mp4")
    assert (len(times), times[-1], end) == (5, Fraction(4, 25), Fraction(4, 25) + 3)


@pytest.mark.parametrize("stated", [None, Fraction(0), Fraction(1, 1000)])
def test_of_a_last_frame_whose_length_is_not_known_it_is_that_of_the_average(tmp_path: Path, stated) -> None:
    with open_source([test_frame(index) for index in range(4)]) as source:
        info = source.info
    with OverlayVideo(tmp_path / "overlay.mp4", info) as sink:
        for index, time in enumerate((0, 1, 4, 6)):
            sink.write(
                FrameMasks(
                    index=index,
                    time=Fraction(time),
                    name="",
                    image=test_frame(index),
                    labels=np.zeros(SIZE, np.uint8),
                    duration=stated,
                )
            )
    assert video_times(tmp_path / "overlay.mp4") == ([0, 1, 4, 6], 8)


@pytest.mark.parametrize("suffix,options", [(".avi", ("-c:v", "mpeg4")), (".webm", ("-c:v", "libvpx")), (".ts", ())])
def test_times_of_other_containers_are_kept(tmp_path: Path, suffix: str, options: Sequence[str]) -> None:
    video = encode(tmp_path / f"in{suffix}", 40, SIZE, rate="30000/1001", options=options)
    overlay(video, tmp_path / "overlay.mp4")
    assert video_times(tmp_path / "overlay.mp4")[0] == source_times(video)


def test_odd_sizes_are_padded_without_shifting(tmp_path: Path) -> None:
    size = (97, 131)
    folder = tmp_path / "frames"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8).repeat(8, 0).repeat(8, 1)[:97, :131]
    Image.fromarray(image).save(folder / "0.png")
    overlay(folder, tmp_path / "overlay.mp4")
    (picture,) = decode(tmp_path / "overlay.mp4", (98, 132)).astype(int)
    assert np.abs(picture[:97, :131].mean(2) - image.mean(2)).mean() < 6
    assert np.abs(picture[97] - picture[96]).mean() < 3
    assert np.abs(picture[:, 131] - picture[:, 130]).mean() < 3
    assert picture.shape[:2] == (size[0] + 1, size[1] + 1)


def test_rotation_is_in_the_pixels_and_no_longer_in_the_metadata(tmp_path: Path) -> None:
    video = rotated(tmp_path / "in.mp4", 90)
    overlay(video, tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width) == (128, 96)
        assert frame.rotation == 0


def test_file_plays_in_browsers(tmp_path: Path) -> None:
    overlay(encode(tmp_path / "in.mp4", 5, SIZE, sound=True), tmp_path / "overlay.mp4")
    data = (tmp_path / "overlay.mp4").read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.index(b"moov") < data.index(b"mdat")  # plays while it loads
    assert b"avc1" in data
    assert b"moof" not in data
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert context.profile in ("Main", "High", "Constrained Baseline")
        assert container.streams.video[0].start_time == 0


@pytest.mark.parametrize("size,matrix", [((96, 128), 6), ((720, 1280), 1)])
def test_colours_match_and_are_tagged(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    image = test_frame(5, *size)
    labels = np.zeros(size, np.uint8)
    labels[: size[0] // 2, size[1] // 3 : size[1] * 2 // 3] = 2
    overlay([image], tmp_path / "overlay.mp4", labels)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 1)
        assert (context.color_primaries, context.color_trc) == (1, 1)
    shown = np.frombuffer(
        ffmpeg(
            "-i", tmp_path / "overlay.mp4", "-sws_flags", "accurate_rnd", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"
        ),
        np.uint8,
    ).reshape(*size, 3)
    expected = blend(image, labels)
    height, width = size
    for y in (1 / 8, 3 / 8, 7 / 8):
        for x in (1 / 8, 1 / 2 - 1 / 16, 7 / 8):
            at = np.s_[int(y * height) - 4 : int(y * height) + 4, int(x * width) - 3 : int(x * width) + 3]
            assert np.abs(shown[at].mean((0, 1)) - expected[at].mean((0, 1))).max() < 5


@pytest.mark.parametrize("size", [(96, 128), (720, 1280), (1280, 720)])
def test_colours_without_a_tag_stay_as_they_are(tmp_path: Path, size: tuple[int, int]) -> None:
    flat = np.full((*size, 3), (30, 190, 60), np.uint8)
    path = encode(tmp_path / "in.mp4", 1, frames=[flat], size=size)
    overlay(path, tmp_path / "overlay.mp4")
    levels = []
    for each in (path, tmp_path / "overlay.mp4"):
        with av.open(str(each)) as container:
            frame = next(container.decode(video=0))
            assert (frame.format.name, frame.colorspace == 2) == ("yuv420p", each == path)
            levels.append([bytes(plane)[0] for plane in frame.planes])
    assert np.abs(np.diff(levels, axis=0)).max() <= 2


def test_folder_plays_at_25_frames_a_second(tmp_path: Path) -> None:
    overlay([test_frame(index) for index in range(6)], tmp_path / "overlay.mp4")
    times, end = video_times(tmp_path / "overlay.mp4")
    assert times == [Fraction(index, 25) for index in range(6)]
    assert end == Fraction(6, 25)


@pytest.mark.parametrize("size", [(96, 128), (1, 1), (2, 3), (33, 17)])
def test_one_picture_is_a_playable_video_of_one_frame(tmp_path: Path, size: tuple[int, int]) -> None:
    overlay([np.full((*size, 3), 90, np.uint8)], tmp_path / "overlay.mp4")
    times, end = video_times(tmp_path / "overlay.mp4")
    assert (times, end) == ([0], Fraction(1, 25))
    assert len(decode(tmp_path / "overlay.mp4", tuple(value + value % 2 for value in size))) == 1


def test_equal_and_backward_times_still_give_every_frame(tmp_path: Path) -> None:
    with open_source([test_frame(0)]) as source, OverlayVideo(tmp_path / "overlay.mp4", source.info) as sink:
        for frame in masks_of(source):
            for index, moment in enumerate((0, 1, 1, Fraction(1, 2), 2)):
                sink.write(replace(frame, index=index, time=Fraction(moment)))
    times, _ = video_times(tmp_path / "overlay.mp4")
    assert len(times) == 5
    assert times == sorted(set(times))


def test_overlay_clock_holds_the_sources_times() -> None:
    assert 1 / overlay_clock(Fraction(1, 15360), Fraction(30)) % 15360 == 0
    assert 1 / overlay_clock(Fraction(1001, 30000), Fraction(30000, 1001)) % 30000 == 0
    assert 1 / overlay_clock(None, None) % 25 == 0
    assert overlay_clock(Fraction(1, 10**9), None) == Fraction(1, 10**6)
    assert overlay_clock(Fraction(1, 90_000), Fraction(2910, 21097)) == Fraction(1, 90_000)


@pytest.mark.parametrize("size", [(64, 17000), (17000, 64)])
def test_a_picture_too_large_for_the_encoder_is_a_named_error(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    with pytest.raises(OutputError, match="--no-overlay"):
        overlay([image], tmp_path / "overlay.mp4")
    assert list(tmp_path.iterdir()) == []


def test_frame_of_another_size_is_a_named_error(tmp_path: Path) -> None:
    with open_source([test_frame(0)]) as source:
        sink = OverlayVideo(tmp_path / "overlay.mp4", replace(source.info, height=50))
        with pytest.raises(OutputError, match="shape"):
            sink.write(next(masks_of(source)))


def test_final_name_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "overlay.mp4"
    with open_source(encode(tmp_path / "in.mp4", 5, SIZE)) as source, OverlayVideo(target, source.info) as sink:
        for frame in masks_of(source):
            sink.write(frame)
            assert not target.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "overlay.mp4"]


def test_failed_run_leaves_a_playable_part_under_another_name(tmp_path: Path) -> None:
    video, target = encode(tmp_path / "in.mp4", 40, SIZE), tmp_path / "overlay.mp4"
    with (
        pytest.raises(RuntimeError, match="network"),
        open_source(video) as source,
        OverlayVideo(target, source.info) as sink,
    ):
        for frame in masks_of(source):
            sink.write(frame)
            if frame.index == 29:
                raise RuntimeError("the network fell over")
    assert not target.exists()
    assert [index_of(image) for image in decode(tmp_path / "overlay.part.mp4", SIZE)] == list(range(30))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_a_named_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "overlay.part.mp4").symlink_to("/dev/full")
    noise = np.random.default_rng(0).integers(0, 256, (20, *SIZE, 3), np.uint8)
    with pytest.raises(OutputError, match=r"overlay\.part\.mp4 cannot be written"):
        overlay(list(noise), tmp_path / "overlay.mp4")


def test_a_disk_that_is_full_at_the_end_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a file that lacks its end says nothing; a file that is cut stands for one."""
    finish = OverlayVideo._finish_part

    def cut(sink: OverlayVideo) -> None:
        monkeypatch.setattr(video, "require_whole", lambda path: None)
        finish(sink)
        os.truncate(sink._part, sink._part.stat().st_size - 40)
        muxing.require_whole(sink._part)

    monkeypatch.setattr(OverlayVideo, "_finish_part", cut)
    with pytest.raises(OutputError, match="No space left"):
        overlay([np.zeros((*SIZE, 3), np.uint8)] * 9, tmp_path / "overlay.mp4")
    assert not (tmp_path / "overlay.mp4").exists()


def test_part_of_a_killed_run_plays(tmp_path: Path) -> None:
    with open_source([test_frame(index % 256) for index in range(200)]) as source:
        sink = OverlayVideo(tmp_path / "overlay.mp4", source.info)
        for frame in masks_of(source):
            sink.write(frame)
        (tmp_path / "copy.mp4").write_bytes((tmp_path / "overlay.part.mp4").read_bytes())  # what a killed run leaves
        sink.abort()
    assert len(decode(tmp_path / "copy.mp4", SIZE)) >= 50


def test_no_frames_leave_no_file(tmp_path: Path) -> None:
    info = SourceInfo("x", "x", "arrays", 8, 8, 0, None, False, None)
    with OverlayVideo(tmp_path / "overlay.mp4", info):
        pass
    sink = OverlayVideo(tmp_path / "overlay.mp4", info)
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    frame = FrameMasks(index=0, time=Fraction(0), name="00000", image=test_frame(0), labels=np.zeros(SIZE, np.uint8))
    info = SourceInfo("x", "x", "arrays", *SIZE, 1, None, False, None)
    below = tmp_path / "file" / "out"
    for sink in (OverlayVideo(below / "overlay.mp4", info), MaskFolder(below), ObjectFolders(below, (1,))):
        with pytest.raises(OutputError, match="cannot be written"), sink:
            sink.write(frame)
