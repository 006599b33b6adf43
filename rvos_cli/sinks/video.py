"""The coloured video: H.264 in mp4, at the source's frame times, with its sound.

Enters: frames with their labels. Leaves: ``overlay.mp4``. While frames come in, a fragmented mp4 grows under the name
``<stem>.part.mp4``, which plays even if the program is killed; ``close`` joins it with the sound (``muxing``).
"""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from rvos_cli.errors import OutputError
from rvos_cli.overlay import blend
from rvos_cli.results import FrameMasks
from rvos_cli.sinks.muxing import SourceClock, address, finish_video, require_whole, source_clock
from rvos_cli.sinks.sink import Sink
from rvos_cli.sources.geometry import is_hd
from rvos_cli.threads import SIDE_THREADS
from rvos_cli.whole_files import unwritable

if TYPE_CHECKING:
    from rvos_cli.sources import SourceInfo

# Beside "veryfast" at 20: half the time at the same PSNR, and a fifth more bytes.
ENCODERS = {"libx264": {"preset": "superfast", "crf": "21"}, "libopenh264": {}, "h264_videotoolbox": {}}
STILL_RATE = Fraction(25)
FINE_CLOCK = 90_000  # divides evenly into 24, 25, 30, 50, 60 and 30000/1001 frames per second
FINER_CLOCK = 180_000  # ticks a second are enough for times that the source does not state but are made up
FINEST_CLOCK = 1_000_000
LONGEST_STEP = 2**31 - 2  # ticks for which mp4 shows a frame: hours, or half an hour of the finest clock
HIGHEST_RATE = 240  # damaged headers announce thousands, for which the encoder would choose a level no phone plays


class OverlayVideo(Sink):
    """Writes the frames with their objects painted over them.

    Frame times are exact: the clock is the source's own, to a microsecond. The last frame lasts as long as the source
    says, or, where that is nothing or less than any other frame lasts, as long as the others do on average.
    H.264 in yuv420p has even sizes only: a last odd row or column is doubled, so nothing is shifted or scaled. The
    best sound track is copied if mp4 can carry it and re-encoded to AAC otherwise, in step with the picture and to its
    own end; sound that cannot be read costs a warning, never the video.

    Args:
        path: the final name, ending in ``.mp4``.
        info: of the source; its ``path`` is opened again for clock and sound.

    Raises:
        OutputError: this PyAV has no H.264 encoder.
    """

    def __init__(self, path: Path, info: SourceInfo) -> None:
        """Prepare everything but the file, which starts with the first frame."""
        self.path = path
        self.warnings: list[str] = []
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        self._info = info
        self._codec = encoder_name()
        of_source = source_clock(info.path) if info.kind == "video" and info.path is not None else SourceClock()
        self._start = of_source.start
        self._starts: list[Fraction] = []  # as the frames tell: one more for every reset of the source's clock
        self._clock = overlay_clock(of_source.unit, info.rate)
        self._container: Any = None
        self._stream: Any = None
        self._colorspace = "ITU709" if is_hd(info.height, info.width) else "SMPTE170M"
        self._reformatter: Any = VideoReformatter()
        height, width = info.height, info.width
        self._canvas = np.empty((height + height % 2, width + width % 2, 3), dtype=np.uint8)
        self._writable = True
        self._count = 0
        self._last = -1  # the last frame's time on the clock
        self._shown: Fraction | None = None  # for how long, as far as the source says
        self._shortest = math.inf  # ticks of the clock from a frame to the next

    def write(self, frame: FrameMasks) -> None:
        """Paint, encode and write one frame.

        Raises:
            OutputError: the frame's size is not the source's or more than H.264 has room for, or the file cannot be
                written.
        """
        expected = (self._info.height, self._info.width, 3)
        if frame.image.shape != expected:
            raise OutputError(f"frame {frame.name} has the shape {frame.image.shape}, the video {expected}")
        picture = self._video_frame(blend(frame.image, frame.labels))
        # A frame behind a longer still moment is shown earlier, and those that follow it when they are due.
        time = max(min(round(frame.time / self._clock), self._last + LONGEST_STEP), self._last + 1)
        if self._count:
            self._shortest = min(self._shortest, time - self._last)
        self._last, self._shown = time, frame.duration
        if frame.origin is not None and self._starts[-1:] != [frame.origin]:
            self._starts.append(frame.origin)
        picture.pts = time
        picture.time_base = self._clock
        self._count += 1
        try:
            if self._container is None:
                self._open()
            self._mux(self._stream.codec_context.encode(picture))
        except (av.error.FFmpegError, OSError) as error:
            raise unwritable(self._part, error) from error

    def close(self) -> None:
        """Join pictures and sound under the final name; a video without frames leaves no file."""
        if self._container is None:
            return
        try:
            self._finish_part()
            sound = self._info.path if self._info.audio else None
            self.warnings += finish_video(self._part, self.path, sound=sound, starts=self._starts or [self._start])
        except (av.error.FFmpegError, OSError) as error:
            raise unwritable(self.path, error) from error

    def abort(self) -> None:
        """Keep what was written as ``<stem>.part.mp4``, without sound but playable."""
        if self._container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                self._finish_part()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rate = min(max(self._info.rate or STILL_RATE, Fraction(1)), Fraction(HIGHEST_RATE))
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        container = av.open(address(self._part), "w", format="mp4", container_options=options)
        stream: Any = container.add_stream(self._codec, rate=rate, options=dict(ENCODERS[self._codec]))
        context = stream.codec_context
        context.height, context.width = self._canvas.shape[:2]
        context.pix_fmt = "yuv420p"
        context.time_base = stream.time_base = self._clock
        context.max_b_frames = 0  # decoding order is display order, so every time and duration stands in the file as is
        context.gop_size = round(2 * rate)
        context.thread_count = SIDE_THREADS
        context.thread_type = "FRAME"  # several frames at once: write() need not wait for the one that it brings
        context.color_range = 1
        context.colorspace = 1 if self._colorspace == "ITU709" else 6
        context.color_primaries = context.color_trc = 1
        try:
            context.open()
        except av.error.FFmpegError as error:
            container.close()
            self._part.unlink(missing_ok=True)
            height, width = self._canvas.shape[:2]
            raise OutputError(
                f"a video of {width}x{height} pixels cannot be made ({error.strerror})",
                cure="leave it out with --no-overlay",
            ) from error
        self._container, self._stream = container, stream

    def _video_frame(self, painted: NDArray[np.uint8]) -> Any:
        height, width = painted.shape[:2]
        if painted.shape != self._canvas.shape:
            self._canvas[:height, :width] = painted
            self._canvas[height:, :width] = painted[-1:]
            self._canvas[:, width:] = self._canvas[:, width - 1 : width]
            painted = self._canvas
        rgb = av.VideoFrame.from_ndarray(painted, format="rgb24")
        return self._reformatter.reformat(
            rgb,
            format="yuv420p",
            src_color_range="JPEG",
            dst_color_range="MPEG",
            dst_colorspace=self._colorspace,
            interpolation="AREA",  # averages the four pixels of a colour sample without rounding down
        )

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._last_duration()  # of the others, mp4 knows it by the next one's time
            packet.stream = self._stream
            self._writable = False  # after a failure the next packet would end the process (PyAV 18)
            self._container.mux_one(packet)
            self._writable = True

    def _last_duration(self) -> int:
        """For how many ticks of the clock the last frame so far is shown."""
        stated = min(round((self._shown or 0) / self._clock), LONGEST_STEP)
        if stated > 0 and (self._count == 1 or stated >= self._shortest):  # or it is a guess of ffmpeg's
            return stated
        if self._count > 1:
            return max(1, round(Fraction(self._last, self._count - 1)))
        return max(1, round(1 / (self._info.rate or STILL_RATE) / self._clock))

    def _finish_part(self) -> None:
        try:
            if self._writable:
                self._mux(self._stream.codec_context.encode(None))
        finally:
            container, self._container = self._container, None
            container.close()
        require_whole(self._part)


def overlay_clock(source: Fraction | None, rate: Fraction | None) -> Fraction:
    """Return the length in seconds of the overlay's time unit, in which the source's own times are whole numbers.

    Those of a clock finer than a microsecond are rounded to one, and made-up times to 6 of them: mp4 shows no frame for
    more than 2^31 ticks.

    Args:
        source: the time unit of the source's own stream, None for pictures.
        rate: frames per second, at which a source places frames without a time; None if unknown.
    """
    ticks = min(source.denominator if source is not None else FINE_CLOCK, FINEST_CLOCK)
    for other in (1000, rate.numerator if rate is not None else 1):  # sources mend coinciding times by milliseconds
        finer = math.lcm(ticks, other)
        ticks = finer if finer <= FINER_CLOCK else ticks
    return Fraction(1, ticks)


def encoder_name() -> str:
    """Return the H.264 encoder to use.

    Raises:
        OutputError: there is none.
    """
    for name in ENCODERS:
        if name in av.codecs_available:
            return name
    raise OutputError(
        "this PyAV has no H.264 encoder",
        cure="reinstall it with 'pip install --force-reinstall av', or use --no-overlay",
    )
