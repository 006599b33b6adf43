"""What rvos writes, read back with ffmpeg and PyAV: times, size, colours, sound, masks, and nothing half-written."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import decode, encode, ffmpeg, index_of, rotated, test_frame, variable_rate
from PIL import Image

from rvos_cli.errors import OutputError
from rvos_cli.masks import DAVIS_PALETTE, read_labels
from rvos_cli.overlay import blend
from rvos_cli.results import FrameMasks, ObjectSummary, RunSummary
from rvos_cli.sinks import MaskFolder, ObjectFolders, OverlayVideo, pictures, write_summary
from rvos_cli.sinks.video import overlay_clock
from rvos_cli.sources import SourceInfo, open_source

SIZE = (96, 128)
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:duration=")


def masks_of(source: Any, labels: np.ndarray | None = None) -> Iterator[FrameMasks]:
    for frame in source:
        shown = np.zeros(frame.image.shape[:2], np.uint8) if labels is None else labels
        yield FrameMasks(index=frame.index, time=frame.time, name=frame.name, image=frame.image, labels=shown)


def overlay(input: Any, target: Path, labels: np.ndarray | None = None) -> OverlayVideo:
    with open_source(input) as source, OverlayVideo(target, source.info) as sink:
        for frame in masks_of(source, labels):
            sink.write(frame)
    return sink


def source_times(path: Path) -> list[Fraction]:
    with open_source(path) as source:
        return [frame.time for frame in source]


def video_times(path: Path) -> tuple[list[Fraction], Fraction]:
    """Return each frame's time and the end of the last, as the file has them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.dts is not None]
        assert all(packet.pts == packet.dts for packet in packets)
        unit = stream.time_base
        return [packet.pts * unit for packet in packets], (packets[-1].pts + packets[-1].duration) * unit


def sound_of(path: Path) -> tuple[np.ndarray, int, Fraction]:
    """Return samples of the first channel, their rate, and when the first of them is heard, by ffmpeg's own reading."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        blocks, start = [], None
        for frame in container.decode(stream):
            start = frame.pts * frame.time_base if start is None else start
            values = frame.to_ndarray()
            values = values[0] if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)[:, 0]
            scale = 1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
            blocks.append(values / scale)
        return np.concatenate(blocks), stream.rate, start if start is not None else Fraction(0)


def onset(path: Path) -> float:
    """When the tone begins, in seconds."""
    samples, rate, start = sound_of(path)
    return float(start) + int(np.argmax(np.abs(samples) > 0.03)) / rate


def with_tone(path: Path, codec: str, seconds: float = 1.0, *options: str, count: int = 25) -> Path:
    """Write a 25 fps video of *count* frames with a tone of *seconds* in *codec*."""
    picture = encode(path.with_name("picture.mkv"), count, SIZE)
    ffmpeg(
        "-i",
        picture,
        *TONE[:-1],
        f"{TONE[-1]}{seconds}",
        *options,
        "-c:v",
        "mpeg4" if path.suffix == ".avi" else "copy",
        "-c:a",
        codec,
        *(("-ac", "2") if codec == "vorbis" else ()),
        "-strict",
        "-2",
        path,
    )
    picture.unlink()
    return path


def codec_of(path: Path) -> str | None:
    with av.open(str(path)) as container:
        streams = container.streams.audio
        return streams[0].codec_context.codec.canonical_name if streams else None


# --- the picture -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_times_are_kept(tmp_path: Path, suffix: str) -> None:
    stamps = [0, 40, 80, 81, 300, 1000, 1033, 5000]
    video = variable_rate(tmp_path / f"in{suffix}", stamps)
    overlay(video, tmp_path / "overlay.mp4")
    times, end = video_times(tmp_path / "overlay.mp4")
    assert times == source_times(video) == [Fraction(stamp, 1000) for stamp in stamps]
    assert abs(end - times[-1] - times[-1] / 7) < Fraction(1, 1000)  # the last frame lasts as long as the average one


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
    assert overlay_clock(Fraction(1, 10**9), None) == Fraction(1, 10**7)


def test_frame_of_another_size_is_a_named_error(tmp_path: Path) -> None:
    with open_source([test_frame(0)]) as source:
        sink = OverlayVideo(tmp_path / "overlay.mp4", replace(source.info, height=50))
        with pytest.raises(OutputError, match="shape"):
            sink.write(next(masks_of(source)))


# --- the sound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix,codec",
    [(".mp4", "aac"), (".mkv", "aac"), (".ts", "aac"), (".mp4", "mp3"), (".avi", "mp3"), (".mkv", "opus"),
     (".mkv", "flac"), (".mp4", "ac3"), (".mkv", "eac3"), (".mov", "alac")],
)  # fmt: skip
def test_sound_that_mp4_carries_is_copied(tmp_path: Path, suffix: str, codec: str) -> None:
    video = with_tone(tmp_path / f"in{suffix}", codec)
    sink = overlay(video, tmp_path / "overlay.mp4")
    assert sink.warnings == []
    assert codec_of(tmp_path / "overlay.mp4") == codec
    before, rate, _ = sound_of(video)
    after, same_rate, start = sound_of(tmp_path / "overlay.mp4")
    assert rate == same_rate
    assert abs(len(after) - len(before)) <= 0.1 * rate
    assert abs(float(start)) < 0.05
    assert np.abs(after).max() > 0.05


@pytest.mark.parametrize(
    "suffix,codec", [(".mov", "pcm_s16le"), (".mkv", "vorbis"), (".avi", "pcm_u8"), (".mkv", "mp2")]
)
def test_other_sound_becomes_aac(tmp_path: Path, suffix: str, codec: str) -> None:
    video = with_tone(tmp_path / f"in{suffix}", codec, 1.0, "-ac", "2")
    sink = overlay(video, tmp_path / "overlay.mp4")
    assert sink.warnings == []
    assert codec_of(tmp_path / "overlay.mp4") == "aac"
    after, rate, start = sound_of(tmp_path / "overlay.mp4")
    assert abs(len(after) / rate - 1) < 0.06
    spectrum = np.abs(np.fft.rfft(after[rate // 4 : rate * 3 // 4]))
    assert abs(int(np.argmax(spectrum)) * 2 - 440) <= 4
    assert abs(float(start)) < 0.03


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_unusual_rates_and_many_channels(tmp_path: Path, codec: str, rate: int) -> None:
    video = with_tone(tmp_path / "in.mkv", codec, 1.0, "-ac", "6", "-ar", str(rate))
    sink = overlay(video, tmp_path / "overlay.mp4")
    assert sink.warnings == []
    after, _, _ = sound_of(tmp_path / "overlay.mp4")
    assert abs(len(after) / rate - 1) < 0.2


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le", "opus"])
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_sound_stays_in_step_whatever_starts_later(tmp_path: Path, codec: str, suffix: str) -> None:
    if codec == "opus" and suffix == ".mov":
        suffix = ".mp4"
    picture = encode(tmp_path / "picture.mkv", 50, SIZE)
    late_sound, late_picture = tmp_path / f"sound{suffix}", tmp_path / f"picture-late{suffix}"
    tail = ("-c:v", "copy", "-c:a", codec, "-strict", "-2")
    tone = ("-f", "lavfi", "-i", "aevalsrc='if(gt(t,0.6),0.5*sin(2*PI*440*t),0)':d=2")
    ffmpeg("-i", picture, "-itsoffset", "0.4", *tone, "-map", "0:v", "-map", "1:a", *tail, late_sound)
    ffmpeg("-itsoffset", "0.4", "-i", picture, *tone, "-map", "0:v", "-map", "1:a", *tail, late_picture)
    for video, expected in ((late_sound, 1.0), (late_picture, 0.2)):
        overlay(video, tmp_path / "overlay.mp4")
        assert abs(onset(tmp_path / "overlay.mp4") - expected) < 0.03
        assert video_times(tmp_path / "overlay.mp4")[0][0] == 0


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_is_cut_at_the_end_of_the_picture(tmp_path: Path, codec: str) -> None:
    video = with_tone(tmp_path / "in.mkv", codec, 5.0)
    overlay(video, tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert 1 <= container.duration / av.time_base < 1.06


@pytest.mark.parametrize("codec", ["aac", "vorbis"])
def test_short_sound_leaves_the_picture_whole(tmp_path: Path, codec: str) -> None:
    video = with_tone(tmp_path / "in.mkv", codec, 0.2)
    overlay(video, tmp_path / "overlay.mp4")
    assert len(video_times(tmp_path / "overlay.mp4")[0]) == 25
    after, rate, _ = sound_of(tmp_path / "overlay.mp4")
    assert 0.15 < len(after) / rate < 0.35


def test_sound_of_a_video_with_milliseconds_has_no_jitter(tmp_path: Path) -> None:
    overlay(with_tone(tmp_path / "in.mkv", "aac"), tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stamps = [packet.pts for packet in container.demux(audio=0) if packet.pts is not None]
    assert set(np.diff(stamps)) == {1024}


def garbage_sound(path: Path, codec: str, lowest: int = 0) -> Path:
    """Write a video whose sound packets hold noise of bytes from *lowest* to 255."""
    whole = with_tone(path.with_name(f"whole{path.suffix}"), codec)
    noise = np.random.default_rng(0)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        streams = {each.index: target.add_stream_from_template(each, opaque=True) for each in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            damaged = packet
            if packet.stream.type == "audio":
                damaged = av.Packet(noise.integers(lowest, 256, packet.size, np.uint8).tobytes())
                damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                damaged.duration = packet.duration
            damaged.stream = streams[packet.stream.index]
            target.mux_one(damaged)
    return path


@pytest.mark.parametrize("codec", ["aac", "mp3", "vorbis", "flac", "opus", "eac3"])
def test_damaged_sound_never_costs_the_video(tmp_path: Path, codec: str) -> None:
    video = garbage_sound(tmp_path / "in.mkv", codec)
    sink = overlay(video, tmp_path / "overlay.mp4")
    assert len(video_times(tmp_path / "overlay.mp4")[0]) == 25
    assert (codec_of(tmp_path / "overlay.mp4") is None) == any("left out" in line for line in sink.warnings)
    assert not list(tmp_path.glob("*.part.*"))


def test_sound_that_nothing_decodes_is_left_out_with_a_warning(tmp_path: Path) -> None:
    sink = overlay(garbage_sound(tmp_path / "in.mkv", "vorbis", lowest=255), tmp_path / "overlay.mp4")
    assert codec_of(tmp_path / "overlay.mp4") is None
    assert len(sink.warnings) == 1
    assert "sound" in sink.warnings[0]


def test_nothing_is_printed_about_damage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    video = garbage_sound(tmp_path / "in.mkv", "aac")
    capfd.readouterr()
    overlay(video, tmp_path / "overlay.mp4")
    assert capfd.readouterr() == ("", "")


def test_video_that_vanished_before_the_end_keeps_its_pictures(tmp_path: Path) -> None:
    video = with_tone(tmp_path / "in.mp4", "aac")
    with open_source(video) as source, OverlayVideo(tmp_path / "overlay.mp4", source.info) as sink:
        for frame in masks_of(source):
            sink.write(frame)
        video.unlink()
    assert len(video_times(tmp_path / "overlay.mp4")[0]) == 25
    assert "sound" in sink.warnings[0]


def test_names_with_colons_and_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "a: b"
    folder.mkdir()
    overlay(with_tone(folder / "x:y z.mp4", "aac"), folder / "over:lay.mp4")
    assert codec_of(folder / "over:lay.mp4") == "aac"


# --- whole or not at all -----------------------------------------------------------------------------------------


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


# --- masks -------------------------------------------------------------------------------------------------------


def frame_of(index: int, labels: np.ndarray, name: str | None = None) -> FrameMasks:
    image = np.zeros((*labels.shape, 3), np.uint8)
    return FrameMasks(index=index, time=Fraction(index, 25), name=name or f"{index:05d}", image=image, labels=labels)


def test_masks_are_palette_pngs_of_the_sources_size(tmp_path: Path) -> None:
    labels = np.zeros((37, 51), np.uint8)
    labels[3:9, 4:20], labels[20:, 30:] = 1, 200
    with MaskFolder(tmp_path / "masks") as sink:
        for index in range(12):
            sink.write(frame_of(index, labels))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [f"{index:05d}.png" for index in range(12)]
    with Image.open(tmp_path / "masks" / "00003.png") as image:
        assert image.mode == "P"
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    assert np.array_equal(palette, DAVIS_PALETTE[: len(palette)])
    assert len(palette) > 200
    assert np.array_equal(read_labels(tmp_path / "masks" / "00003.png"), labels)


def test_objects_have_a_png_for_every_frame_from_the_first_on(tmp_path: Path) -> None:
    names = ["a", "b.c", "ü z", "7"]
    with ObjectFolders(tmp_path / "objects", (3,)) as sink:
        for index, name in enumerate(names):
            labels = np.zeros((8, 9), np.uint8)
            labels[0, 0] = 12 if index >= 2 else 0
            labels[1, 1] = 3 if index == 1 else 0
            sink.write(frame_of(index, labels, name))
    assert sorted(path.name for path in (tmp_path / "objects").iterdir()) == ["03", "12"]
    for folder in ("03", "12"):
        files = sorted((tmp_path / "objects" / folder).iterdir())
        assert [path.name for path in files] == sorted(f"{name}.png" for name in names)
        for path in files:
            with Image.open(path) as image:
                assert (image.mode, image.size) == ("L", (9, 8))
            present = (folder, path.stem) in {("03", "b.c"), ("12", "ü z"), ("12", "7")}
            values = read_labels(path)
            assert np.count_nonzero(values) == present
            assert set(np.unique(values)) <= {0, 255}


def test_object_that_comes_after_many_frames_gets_all_earlier_ones(tmp_path: Path) -> None:
    empty, late = np.zeros((4, 4), np.uint8), np.full((4, 4), 1, np.uint8)
    with ObjectFolders(tmp_path / "objects") as sink:
        for index in range(400):
            sink.write(frame_of(index, late if index == 399 else empty))
    files = sorted((tmp_path / "objects" / "01").iterdir())
    assert [path.stem for path in files] == [f"{index:05d}" for index in range(400)]
    assert [int(read_labels(path).max()) for path in (files[0], files[398], files[399])] == [0, 0, 255]


def test_first_masks_objects_exist_even_if_never_seen(tmp_path: Path) -> None:
    with ObjectFolders(tmp_path / "objects", (2, 1)) as sink:
        sink.write(frame_of(0, np.zeros((4, 4), np.uint8)))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
        "objects/01/00000.png",
        "objects/02/00000.png",
    ]


def test_slow_disk_holds_few_label_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no PNG can be written, the sink takes a few frames and then waits."""
    gate, taken = threading.Event(), []
    monkeypatch.setattr(pictures, "write_indexed_png", lambda path, labels: gate.wait(10))
    sink = MaskFolder(tmp_path / "masks")

    def feed() -> None:
        for index in range(100):
            sink.write(frame_of(index, np.zeros((4, 4), np.uint8)))
            taken.append(index)

    thread = threading.Thread(target=feed)
    thread.start()
    time.sleep(0.2)
    assert 0 < len(taken) <= 2 * pictures.THREADS + 1
    gate.set()
    thread.join(10)
    sink.close()
    assert len(taken) == 100


def test_failing_png_is_told_and_stops_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, labels: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures, "write_indexed_png", fail)
    with pytest.raises(OutputError, match="No space left"), MaskFolder(tmp_path / "masks") as sink:
        for index in range(50):
            sink.write(frame_of(index, np.zeros((4, 4), np.uint8)))


def test_aborted_folders_hold_whole_pngs_only(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        MaskFolder(tmp_path / "masks") as masks,
        ObjectFolders(tmp_path / "o") as objects,
    ):
        for index in range(9):
            labels = np.full((64, 64), index % 3, np.uint8)
            masks.write(frame_of(index, labels))
            objects.write(frame_of(index, labels))
        raise KeyboardInterrupt
    for path in tmp_path.rglob("*.*"):
        assert path.suffix == ".png"
        assert read_labels(path).shape == (64, 64)


def test_summary_is_json_and_replaces_the_old_one_in_one_step(tmp_path: Path) -> None:
    summary = RunSummary(
        input="vidéo.mp4",
        frames=2,
        fps=29.97,
        size=(4, 6),
        objects=(ObjectSummary(id=1, first_frame=0, last_frame=1, frames_seen=2, mean_area=3.5),),
        outputs={"masks": "masks"},
        seconds=1.5,
        frames_per_second=1.33,
        device="cpu",
        weights="lite",
        weights_sha256="00",
        version="1",
        mode="segment",
        warnings=("w",),
    )
    path = tmp_path / "new" / "summary.json"
    write_summary(path, summary)
    write_summary(path, summary)
    assert json.loads(path.read_text("utf-8")) == json.loads(json.dumps(summary.to_dict()))
    assert [each.name for each in path.parent.iterdir()] == ["summary.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_summary(tmp_path / "file" / "summary.json", summary)
