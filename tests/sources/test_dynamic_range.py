"""High dynamic range: real 10-bit videos of greys whose brightness ITU-R BT.2100 and BT.2408 tell."""

from pathlib import Path

import av
import numpy as np
import pytest
from media import ffmpeg

from rvos_cli.errors import InputError
from rvos_cli.sources import dynamic_range, open_source

SIZE = (32, 96)
# Signals, 0..1, and what they are in sRGB: black, half of the way up, reference white, and what is brighter.
GREYS = {
    "smpte2084": ((0.0, 0.508, 0.5807, 0.75), (0, 186, 255, 255)),  # 0, 100, 203 and 1000 cd/m2
    "arib-std-b67": ((0.0, 0.5, 0.75, 1.0), (0, 137, 255, 255)),  # 0, 51, 203 and 1000 on a screen of 1000
}


def greys(
    path: Path, transfer: str, signals: tuple[float, ...], frames: int = 3, matrix: str = "bt2020nc", tint: int = 0
) -> Path:
    """Write a video of four columns of grey, or with a *tint*, 10 bits, losslessly."""
    height, width = SIZE
    luma = np.repeat([round(64 + 876 * signal) for signal in signals], width // len(signals))
    frame = np.concatenate([np.tile(luma, height), np.full(height * width // 2, 512 + tint)]).astype("<u2").tobytes()
    primaries = "bt2020" if matrix == "bt2020nc" else "unknown"
    tags = ("-color_trc", transfer, "-color_primaries", primaries, "-colorspace", matrix, "-color_range", "tv")
    raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{width}x{height}", "-r", "25", *tags, "-i", "-")
    ffmpeg(*raw, "-c:v", "libx264", "-pix_fmt", "yuv420p10le", "-qp", "0", *tags, path, stdin=frame * frames)
    return path


def columns(path: Path) -> list[list[int]]:
    """Return each frame's four greys."""
    middles = [SIZE[1] * (2 * n + 1) // 8 for n in range(4)]
    with open_source(path) as source:
        return [frame.image[SIZE[0] // 2, middles].mean(axis=-1).round().astype(int).tolist() for frame in source]


@pytest.mark.parametrize("transfer", GREYS)
def test_greys_have_the_brightness_that_they_are_coded_for(tmp_path: Path, transfer: str) -> None:
    signals, expected = GREYS[transfer]
    read = columns(greys(tmp_path / "hdr.mp4", transfer, signals))
    assert len(read) == 3
    assert np.abs(np.array(read) - expected).max() <= 3


def test_a_frame_of_standard_range_stays_as_it_came(tmp_path: Path) -> None:
    path = greys(tmp_path / "sdr.mp4", "bt709", (0.0, 0.25, 0.5, 1.0))
    assert np.abs(np.array(columns(path)) - [0, 64, 128, 255]).max() <= 2
    with av.open(str(path)) as container:
        assert not dynamic_range.is_high(next(container.decode(video=0)))


def test_where_ffmpeg_cannot_convert_the_video_is_read_as_it_is_coded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dynamic_range, "CONVERSION", "out_transfer=none_such")
    path = greys(tmp_path / "hdr.mp4", "smpte2084", (0.0, 0.25, 0.5, 1.0))
    assert np.abs(np.array(columns(path)) - [0, 64, 128, 255]).max() <= 2
    with open_source(path) as source:
        assert len(list(source)) == 3
        assert [line for line in source.warnings if "high dynamic range" in line] == source.warnings
        assert len(source.warnings) == 1


def test_what_says_nothing_of_its_colours_has_those_of_bt2020(tmp_path: Path) -> None:
    signals = GREYS["arib-std-b67"][0]
    tagged = greys(tmp_path / "tagged.mp4", "arib-std-b67", signals, 1, tint=60)
    untagged = greys(tmp_path / "untagged.mp4", "arib-std-b67", signals, 1, "unknown", tint=60)
    with av.open(str(untagged)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries) == (2, 2)
    with open_source(tagged) as one, open_source(untagged) as other:
        (first,), (second,) = one, other
    assert np.array_equal(first.image, second.image)


def test_frames_of_several_kinds_are_converted_by_what_was_worked_out_for_each(tmp_path: Path, monkeypatch) -> None:
    made: list[str] = []
    graph_for = dynamic_range._graph_for

    def counted(frame):
        made.append(frame.format.name)
        return graph_for(frame)

    monkeypatch.setattr(dynamic_range, "_graph_for", counted)
    signals = GREYS["smpte2084"][0]
    files = [greys(tmp_path / f"{transfer}.mp4", transfer, signals, 1) for transfer in GREYS]
    converter = dynamic_range.StandardRange()
    for path in files * 2:
        with av.open(str(path)) as container:
            converter.convert(next(container.decode(video=0)))
    assert len(made) == 2


def test_colours_that_ffmpeg_knows_nothing_of_are_one_clear_line(tmp_path: Path) -> None:
    path = greys(tmp_path / "ictcp.mkv", "smpte2084", (0.0, 0.25, 0.5, 1.0), 1, "ictcp")
    with pytest.raises(InputError, match="colours that ffmpeg cannot convert"):
        list(open_source(path))
