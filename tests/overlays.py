"""Overlay videos of small clips, and what ffmpeg and PyAV read of them: frame times, sound, codec."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from media import encode, ffmpeg

from rvos_cli.pipeline import with_labels
from rvos_cli.results import FrameMasks
from rvos_cli.sinks import OverlayVideo
from rvos_cli.sources import open_source

SIZE = (96, 128)
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:duration=")


def masks_of(source: Any, labels: np.ndarray | None = None) -> Iterator[FrameMasks]:
    for frame in source:
        shown = np.zeros(frame.image.shape[:2], np.uint8) if labels is None else labels
        yield with_labels(frame, shown)


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
