"""The sound of overlay videos: copied or encoded anew, in step with the picture, never in the way of it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from media import encode, ffmpeg
from overlays import SIZE, TONE, codec_of, masks_of, onset, overlay, sound_of, video_times, with_tone

from rvos_cli.sinks import OverlayVideo
from rvos_cli.sinks.muxing import source_clock
from rvos_cli.sources import open_source


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


@pytest.mark.parametrize("codec", ["aac", "vorbis"])
def test_sound_stays_in_step_with_pictures_before_the_first_stamp(tmp_path: Path, codec: str) -> None:
    picture, video = encode(tmp_path / "picture.mkv", 50, SIZE), tmp_path / "in.mkv"
    tone = ("-f", "lavfi", "-i", "aevalsrc='if(gt(t,1.4),0.5*sin(2*PI*440*t),0)':d=2")
    negative = ("-output_ts_offset", "-1", "-avoid_negative_ts", "disabled")  # Matroska's reader drops such stamps
    ffmpeg("-i", picture, *tone, "-c:v", "copy", "-c:a", codec, "-ac", "2", "-strict", "-2", *negative, video)
    assert overlay(video, tmp_path / "overlay.mp4").warnings == []
    assert len(video_times(tmp_path / "overlay.mp4")[0]) == 50
    assert abs(onset(tmp_path / "overlay.mp4") - 1.4) < 0.05


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_that_outlasts_the_picture_is_kept(tmp_path: Path, codec: str) -> None:
    video = with_tone(tmp_path / "in.mkv", codec, 5.0)
    overlay(video, tmp_path / "overlay.mp4")
    samples, rate, start = sound_of(tmp_path / "overlay.mp4")
    assert start == 0 and 5 <= len(samples) / rate < 5.06
    assert np.abs(samples[4 * rate :]).max() > 0.1
    assert video_times(tmp_path / "overlay.mp4")[1] == 1


@pytest.mark.parametrize("codec", ["wmav1", "wmav2"])
@pytest.mark.parametrize("suffix", [".wmv", ".mkv", ".avi"])
def test_a_last_block_without_a_time_follows_the_others(tmp_path: Path, suffix: str, codec: str) -> None:
    picture = encode(tmp_path / "picture.mkv", 25, SIZE)
    tone = ("-f", "lavfi", "-i", "aevalsrc='if(gt(t,0.5),0.5*sin(2*PI*440*t),0)':d=1")
    video = tmp_path / f"in{suffix}"
    ffmpeg("-i", picture, *tone, "-c:v", "wmv2" if suffix == ".wmv" else "mpeg4", "-c:a", codec, video)
    sink = overlay(video, tmp_path / "overlay.mp4")
    assert sink.warnings == []
    samples, rate, start = sound_of(tmp_path / "overlay.mp4")
    assert start == 0 and 1 <= len(samples) / rate < 1.2
    expected = onset(video) - float(source_clock(video).start)
    assert abs(onset(tmp_path / "overlay.mp4") - expected) < 0.03


@pytest.mark.parametrize("codec", ["aac", "vorbis"])
def test_a_jump_of_the_sound_by_hours_is_no_silence(tmp_path: Path, codec: str) -> None:
    video = with_tone(tmp_path / "in.mkv", codec, 1.0, "-bsf:a", "setts=ts=TS+gt(N\\,20)*36000/TB")
    sink = overlay(video, tmp_path / "overlay.mp4")
    assert len(sink.warnings) == 1 and "jump" in sink.warnings[0]
    samples, rate, _ = sound_of(tmp_path / "overlay.mp4")
    assert 0.9 < len(samples) / rate < 1.2
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.duration < 1.2 * av.time_base


def test_sound_that_resumes_seconds_after_the_picture_keeps_its_place(tmp_path: Path) -> None:
    video = with_tone(tmp_path / "in.mkv", "vorbis", 1.0, "-bsf:a", "setts=ts=TS+gt(N\\,20)*30/TB")
    assert overlay(video, tmp_path / "overlay.mp4").warnings == []
    samples, rate, _ = sound_of(tmp_path / "overlay.mp4")
    assert 30.9 < len(samples) / rate < 31.2


@pytest.mark.parametrize("codec", ["aac", "mp2"])
@pytest.mark.parametrize("seconds", [0.8, 1.0, 1.3])  # of sound beside a second of pictures
def test_sound_of_joined_recordings_goes_on_with_their_pictures(tmp_path: Path, codec: str, seconds: float) -> None:
    picture, part = encode(tmp_path / "picture.mkv", 25, SIZE), tmp_path / "part.ts"
    beep = ("-f", "lavfi", "-i", f"aevalsrc='between(t,0.5,0.6)*sin(2*PI*440*t)':d={seconds}:s=48000")
    ffmpeg("-i", picture, *beep, "-c:v", "copy", "-c:a", codec, part)
    (tmp_path / "joined.ts").write_bytes(part.read_bytes() * 3)
    assert overlay(tmp_path / "joined.ts", tmp_path / "overlay.mp4").warnings == []
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        loud = [frame.time for frame in container.decode(audio=0) if np.abs(frame.to_ndarray()).max() > 0.3]
    beeps = [time for before, time in zip([-1, *loud], loud, strict=False) if time - before > 0.3]
    assert np.allclose(beeps, [0.5, 1.5, 2.5], atol=0.05)


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


def unknown_sound(path: Path, *tracks: str) -> Path:
    """Write a video with sound *tracks*, of which those called ``unknown`` are of a kind that nothing decodes."""
    tones = [part for _ in tracks for part in (*TONE[:-1], f"{TONE[-1]}1")]
    maps = [part for number in range(len(tracks) + 1) for part in ("-map", str(number))]
    picture = encode(path.with_name("picture.mkv"), 25, SIZE)
    ffmpeg("-i", picture, *tones, *maps, "-c:v", "copy", "-c:a", "aac", path)
    head, *entries = path.read_bytes().split(b"mp4a")  # each entry of a track names its kind, then tells more as esds
    assert len(entries) == len(tracks)
    for track, entry in zip(tracks, entries, strict=True):
        head += b"mhm1" + entry.replace(b"esds", b"xsds", 1) if track == "unknown" else b"mp4a" + entry
    path.write_bytes(head)
    return path


@pytest.mark.parametrize("tracks", [("unknown", "known"), ("known", "unknown"), ("unknown", "unknown", "known")])
def test_of_several_tracks_one_that_can_be_decoded_is_heard(tmp_path: Path, tracks: tuple[str, ...]) -> None:
    sink = overlay(unknown_sound(tmp_path / "in.mp4", *tracks), tmp_path / "overlay.mp4")
    assert sink.warnings == []
    samples, rate, _ = sound_of(tmp_path / "overlay.mp4")
    assert abs(len(samples) / rate - 1) < 0.1 and np.abs(samples).max() > 0.05


def test_sound_without_a_decoder_is_left_out_with_a_warning(tmp_path: Path) -> None:
    sink = overlay(unknown_sound(tmp_path / "in.mp4", "unknown"), tmp_path / "overlay.mp4")
    assert len(video_times(tmp_path / "overlay.mp4")[0]) == 25
    assert codec_of(tmp_path / "overlay.mp4") is None
    assert len(sink.warnings) == 1 and "left out" in sink.warnings[0]


@pytest.mark.parametrize("broken", ["copied", "Sound.codec"])
def test_no_failure_of_the_sound_costs_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fails(*_: object) -> None:
        raise AttributeError("as PyAV does with what it does not know")

    monkeypatch.setattr(f"rvos_cli.sinks.muxing.{broken}", fails)
    sink = overlay(with_tone(tmp_path / "in.mp4", "aac"), tmp_path / "overlay.mp4")
    assert len(video_times(tmp_path / "overlay.mp4")[0]) == 25
    assert (sink.warnings == []) == (broken == "copied")  # which is encoded instead


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
