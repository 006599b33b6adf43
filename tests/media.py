"""Real media for tests, made by the ffmpeg that imageio-ffmpeg ships.

Every test frame says which one it is and which way up it stands: its four corners are red (top left), green (top
right), blue (bottom left) and white (bottom right), and a band across the middle holds the frame's index in eight
black or white columns, the highest bit first.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments: str | Path, stdin: bytes | None = None) -> bytes:
    """Run ffmpeg, raise with its own words if it fails, return its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, input=stdin if stdin is not None else b"", capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def test_frame(index: int, height: int = 96, width: int = 128) -> Image:
    """Return frame *index* (0..255), (height, width, 3) uint8 RGB."""
    image = np.full((height, width, 3), 96, np.uint8)
    h, w = height // 4, width // 4
    image[:h, :w], image[:h, -w:], image[-h:, :w], image[-h:, -w:] = (np.array(colour, np.uint8) for colour in CORNERS)
    edges = np.linspace(0, width, 9).round().astype(int)
    for bit in range(8):
        value = 255 if index >> (7 - bit) & 1 else 0
        image[height * 3 // 8 : height * 5 // 8, edges[bit] : edges[bit + 1]] = value
    return image


test_frame.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name says


def index_of(image: Image) -> int:
    """Read the index that ``test_frame`` wrote into an upright frame of any size."""
    height, width = image.shape[:2]
    row = image[height // 2].astype(float).mean(axis=1)
    columns = ((np.arange(8) + 0.5) * width / 8).astype(int)
    return int(sum(128 >> bit for bit, column in enumerate(columns) if row[column] > 127))


def corners_of(image: Image) -> list[str]:
    """Name the corners' colours: top left, top right, bottom left, bottom right."""
    height, width = image.shape[:2]
    y, x = height // 8, width // 8
    names = ("red", "green", "blue", "white")
    corners = [image[y, x], image[y, -x - 1], image[-y - 1, x], image[-y - 1, -x - 1]]
    return [names[int(np.argmin([np.abs(corner.astype(int) - c).sum() for c in CORNERS]))] for corner in corners]


def encode(
    path: Path,
    count: int = 12,
    size: tuple[int, int] = (96, 128),
    *,
    rate: str = "25",
    filters: str | None = None,
    sound: bool = False,
    options: Sequence[str] = H264,
    frames: Iterable[Image] | None = None,
) -> Path:
    """Write *count* test frames (or *frames*) of *size* (height, width) as a video; *options* are ffmpeg's."""
    pictures = frames if frames is not None else (test_frame(index, *size) for index in range(count))
    raw = b"".join(picture.tobytes() for picture in pictures)
    command = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}", "-r", rate, "-i", "-"]
    if sound:
        seconds = float(count / Fraction(rate))
        command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds:.3f}", "-map", "0:v", "-map", "1:a"]
    if filters:
        command += ["-vf", filters]
    ffmpeg(*command, *options, path, stdin=raw)
    return path


def rotated(path: Path, degrees: int, size: tuple[int, int] = (96, 128), count: int = 4) -> Path:
    """Write a video whose display matrix asks for *degrees* (counter-clockwise, as ffmpeg's option counts)."""
    plain = encode(path.with_name(f"plain-{path.name}"), count, size)
    ffmpeg("-display_rotation", str(degrees), "-i", plain, "-c", "copy", path)
    plain.unlink()
    return path


def variable_rate(
    path: Path, times: Sequence[int], size: tuple[int, int] = (96, 128), codec: Sequence[str] = H264
) -> Path:
    """Write one frame at each of *times* (milliseconds, ascending)."""
    steps = "+".join(f"eq(N,{index})*{time}" for index, time in enumerate(times))
    options = (*codec, "-fps_mode", "passthrough", "-enc_time_base", "1/1000")
    if path.suffix in {".mp4", ".mov"}:
        options = (*options, "-video_track_timescale", "1000")
    return encode(path, len(times), size, filters=f"settb=1/1000,setpts='{steps}'", options=options)


def cut(path: Path, fraction: float) -> Path:
    """Cut a file's tail off: only this *fraction* of its bytes stays."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def spoil(path: Path, start: float, stop: float) -> Path:
    """Overwrite the bytes between two fractions of a file with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * stop)
    data[first:last] = np.random.default_rng(0).integers(0, 256, last - first, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def size_changing(path: Path, count: int = 4) -> Path:
    """Write a raw H.264 stream whose second half is larger than its first."""
    halves = []
    for number, size in enumerate(((96, 128), (144, 192))):
        frames = [test_frame(number * count + index, *size) for index in range(count)]
        part = encode(path.with_name(f"part{number}.h264"), count, size, frames=frames)
        halves.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(halves))
    return path


def sound_only(path: Path, *, cover: Path | None = None) -> Path:
    """Write a second of sound, with a picture attached as cover art if *cover* is given."""
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1")
    if cover is None:
        ffmpeg(*tone, path)
    else:
        ffmpeg(*tone, "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic", path)
    return path


def decode(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode with ffmpeg itself, turned as it turns, every frame once: (frames, height, width, 3) uint8 RGB."""
    raw = ffmpeg("-i", path, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, *size, 3)
