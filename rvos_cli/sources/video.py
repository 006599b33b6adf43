"""Frames from a video file, whatever container and codec ffmpeg reads.

Enters: a path. Leaves: ``Frame`` values: every displayed frame once, in display order, with its own time, upright.
First station of the flow; PyAV (the ffmpeg libraries) decodes from start to end and never seeks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from rvos_cli.errors import InputError
from rvos_cli.sources.boxes import end_of_boxes
from rvos_cli.sources.dynamic_range import UNSPECIFIED, StandardRange, is_high
from rvos_cli.sources.frames import ClosingSource, Frame, SourceInfo, stem_of
from rvos_cli.sources.geometry import UPRIGHT, Turn, displayed_size, is_hd, pixel_aspect, turn_of
from rvos_cli.sources.streams import displayed_stream, in_tiles, opened, side_data
from rvos_cli.sources.timing import FrameClock, average_rate, expected_frames
from rvos_cli.threads import SIDE_THREADS

LONGEST_DELAY = 32  # frames that a decoder holds back: 16 to reorder them, and one per thread

# What a folder is searched for; a file that is named as input is opened whatever its name.
_VIDEO_NAMES = """
3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc m1v m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpe mpeg mpg mts mxf nut ogm
ogv qt rm rmvb ts vob webm wmv y4m
"""
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEO_NAMES.split())


class _DoubtfulError(Exception):
    """Decoding with several threads met damage, where it drops frames that one thread still decodes."""


@dataclass
class _Reading:
    """What one pass over the file met: counts of packets and frames, the damage, and how far time went."""

    packets: int = 0
    frames: int = 0
    damaged: int = 0
    damaged_since: int = 0  # damaged packets since the last sound one
    first_damage: int | None = None
    reached: Fraction = Fraction(0)
    broken_off: bool = False

    def note_damage(self) -> None:
        self.damaged += 1
        self.damaged_since += 1
        if self.first_damage is None:
            self.first_damage = self.frames


class VideoSource(ClosingSource):
    """A video file.

    - Rotation and mirroring in the file's metadata are applied, as players do.
    - Pixels are made square: where the file asks for a sample aspect ratio beyond a rounding error, the width is
      scaled by it.
    - High dynamic range becomes standard range (``dynamic_range.py``).
    - Of several video streams the default one is read; cover art is none.
    - Damage is survived: what decodes is given, and ``warnings`` says where frames are missing, as far as ffmpeg tells:
      where packets are gone without a trace, as in the middle of Matroska, AVI and transport streams, it does not.
    - A frame is shown whole: cropping that only the container asks for (``clap``, ``PixelCrop``) is left out.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Decode the first frame, to know the size and that there is one.

        Raises:
            InputError: no video, no video stream, a picture in tiles, or not one frame that decodes.
        """
        super().__init__()
        self._path = path
        self._name = name
        self._other_sizes: set[tuple[int, int]] = set()
        self._turned: tuple[float | None, Turn] = (None, UPRIGHT)
        self._range_stays = False  # high dynamic range that cannot be converted
        frames = self._decode(1, _Reading())
        first = next(frames, None)
        frames.close()
        if first is None:
            raise InputError(f"{name} has no frame that can be decoded", cure="record, download or convert it again")
        with self._open() as container:
            stream = self._stream(container)
            timed = first.pts is not None or first.dts is not None
            self._rate = average_rate(stream, timed)
            self._aspect = pixel_aspect(stream.sample_aspect_ratio)
            # The stream's index of frames in an AVI has decoding times only; its presentation times are made up.
            self._by_decoding_time = container.format.name == "avi"
            self._time_base: Fraction = stream.time_base or 1 / self._rate
            turn = self._turn(first)
            height, width = displayed_size(first.height, first.width, self._aspect, turn)
            self.info = SourceInfo(
                name=name,
                stem=stem_of(path),
                kind="video",
                height=height,
                width=width,
                frames=expected_frames(stream, _length(container), self._rate),
                rate=self._rate,
                audio=any(other.type == "audio" for other in container.streams),
                path=path,
                unscaled=displayed_size(first.height, first.width, Fraction(1), turn),
            )

    def __enter__(self) -> VideoSource:
        """Return the source itself."""
        return self

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the first frame on.

        Raises:
            InputError: the file can no longer be opened.
        """
        clock = FrameClock(self._time_base, self._rate, by_decoding_time=self._by_decoding_time)
        standard, reformatter = StandardRange(), VideoReformatter()
        for index, frame in enumerate(self._frames()):
            if self.closed:
                return
            time = clock.time(frame.pts, frame.dts)
            duration = frame.duration * self._time_base if frame.duration else None
            image = self._image(self._in_standard_range(frame, standard), index, reformatter)
            yield Frame(index, f"{index:05d}", time, image, duration, clock.origin)

    def _frames(self) -> Iterator[Any]:
        """Decode with several threads; at the first damage start again with one and go on where that was."""
        given = 0
        reading = _Reading()
        try:
            for frame in self._decode(SIDE_THREADS, reading):
                given += 1
                yield frame
        except _DoubtfulError:
            reading = _Reading()
            for count, frame in enumerate(self._decode(1, reading), start=1):
                if count > given:
                    given = count
                    yield frame
        self._report(reading, given)

    def _decode(self, threads: int, reading: _Reading) -> Generator[Any, None, None]:
        with self._open() as container:
            stream = self._stream(container)
            context = stream.codec_context
            context.thread_type = "AUTO"
            context.thread_count = threads
            for packet in self._packets(container, stream, reading):
                if threads > 1 and packet is not None and packet.is_corrupt:
                    raise _DoubtfulError
                try:
                    frames = context.decode(packet)
                except EOFError:
                    continue
                except av.FFmpegError as error:
                    if threads > 1:
                        raise _DoubtfulError from error
                    reading.note_damage()
                    continue
                if packet is not None:
                    reading.damaged_since = 0
                for frame in frames:
                    yield frame
                    reading.frames += 1
            # PyAV hides an error that follows a good frame, and with it what the other threads still held. Where far
            # more packets give no frame (fields, empty packets), that is the codec's way and no damage.
            if threads > 1 and 0 < reading.packets - reading.frames <= LONGEST_DELAY:
                raise _DoubtfulError

    def _packets(self, container: Any, stream: Any, reading: _Reading) -> Iterator[Any]:
        """Give the stream's packets, then None, which makes a decoder give what it holds back."""
        start = Fraction(container.start_time or 0, av.time_base)
        packets = container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError:
                reading.broken_off = True
                break
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.time_base:
                end = (stamp + (packet.duration or 0)) * packet.time_base - start
                reading.reached = max(reading.reached, end)
            if packet.stream_index == stream.index and packet.size:
                reading.packets += not packet.is_discard
                yield packet
        expected = _length(container)
        frame = 1 / stream.average_rate if stream.average_rate else Fraction(0)
        if expected - reading.reached > max(Fraction(1, 5), 2 * frame, expected / 100) and reading.reached > 0:
            reading.broken_off = True
        if "mp4" in container.format.name and self._is_cut():
            reading.broken_off = True  # by so little that its length does not tell
        yield None

    def _is_cut(self) -> bool:
        try:
            return end_of_boxes(self._path) > self._path.stat().st_size
        except OSError:
            return True  # it has gone

    def _report(self, reading: _Reading, given: int) -> None:
        if reading.broken_off or reading.damaged_since:
            self.warn(
                f"{self._name} is damaged: it ends at frame {given - 1}, after {given} frames; "
                "what could be decoded is kept"
            )
        # Damage within the decoder's delay before the end is the end itself.
        late = reading.broken_off and reading.first_damage is not None and given - reading.first_damage <= LONGEST_DELAY
        elsewhere = 0 if late else reading.damaged - reading.damaged_since
        if elsewhere:
            self.warn(
                f"{self._name} is damaged: {elsewhere} of its packets, the first near frame {reading.first_damage}, "
                f"could not be decoded; the {given} frames that could are kept"
            )

    def _image(self, frame: Any, index: int, reformatter: Any) -> NDArray[np.uint8]:
        """Return the displayed (H, W, 3) uint8 RGB picture of a decoded frame."""
        turn = self._turn(frame)
        size = (self.info.height, self.info.width)
        own = displayed_size(frame.height, frame.width, self._aspect, turn)
        if own != size and own not in self._other_sizes:
            self._other_sizes.add(own)
            self.warn(
                f"{self._name} changes its size at frame {index}, from {size[1]}x{size[0]} to {own[1]}x{own[0]}; "
                "frames of another size are scaled to the first"
            )
        height, width = size[::-1] if turn.transpose else size
        # Colour matrix and range are the frame's own, or the matrix is that of players, where ffmpeg would take BT.601
        # for any size; bicubic is how ffmpeg's command scales size and chroma.
        untagged = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb
        try:
            picture = reformatter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb24",
                src_colorspace="ITU709" if untagged and is_hd(height, width) else None,
                interpolation=Interpolation.BICUBIC,
            )
        except av.FFmpegError as error:
            raise InputError(
                f"{self._name} has colours that ffmpeg cannot convert ({error.strerror})", cure="convert it to BT.709"
            ) from error
        return turn.apply(picture.to_ndarray())

    def _in_standard_range(self, frame: Any, standard: StandardRange) -> Any:
        if not is_high(frame) or self._range_stays:
            return frame
        try:
            return standard.convert(frame)
        except (av.FFmpegError, ValueError) as error:
            self._range_stays = True
            self.warn(f"{self._name} is of high dynamic range and stays so ({error}); its colours are pale")
            return frame

    def _turn(self, frame: Any) -> Turn:
        """Return the frame's turn; the matrix itself is looked at only where the rotation changes.

        PyAV's side data and its frame hold each other, so that a frame whose side data were read stays in memory until
        the garbage collector comes: a hundred frames of a large video.
        """
        if frame.rotation != self._turned[0]:
            matrices = side_data(frame, "DISPLAYMATRIX")
            turn = turn_of(matrices[0]) if matrices else UPRIGHT
            if turn is None:
                self.warn(f"{self._name} asks for a rotation that is no multiple of 90 degrees; it is shown unrotated")
            self._turned = (frame.rotation, turn or UPRIGHT)
        return self._turned[1]

    def _open(self) -> Any:
        try:
            # The prefix keeps a colon in a name from being read as a protocol.
            container = opened(f"file:{self._path}")
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{self._name} cannot be read as a video ({reason})",
                cure="check that it plays, and convert or download it again",
            ) from error
        if container.format.name == "tty":  # ffmpeg draws any text file as a picture of a terminal
            container.close()
            raise InputError(f"{self._name} is a text file", cure="give a video, a folder of images or an image")
        return container

    def _stream(self, container: Any) -> Any:
        stream = displayed_stream(container)
        if stream is None:
            has_sound = any(stream.type == "audio" for stream in container.streams)
            raise InputError(
                f"{self._name} has {'sound only, no video' if has_sound else 'no video'}",
                cure="give a file with a video stream",
            )
        if in_tiles(container):
            raise InputError(f"{self._name} is a picture in tiles", cure="convert it to JPEG or PNG")
        return stream


def _length(container: Any) -> Fraction:
    """Return how long a file says that it is, in seconds, 0 if it does not.

    In Matroska that is where it ends, counted from 0, wherever it begins.
    """
    start, length = (Fraction(ticks or 0, av.time_base) for ticks in (container.start_time, container.duration))
    return length - start if container.format.name.startswith("matroska") and 0 < start < length else length
