"""Exact times and rates of a video's frames, from what its container says.

Enters: time stamps in units of the stream's time base. Leaves: strictly increasing ``Fraction`` seconds.
Beside ``sources/video.py``; plain numbers only.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rvos_cli.sources.frames import NOMINAL_RATE

FASTEST = 1000  # frames per second; containers without a rate state their clock instead, 90000 for example
REORDERED = 16  # frames that a codec may reorder; a longer way back is that of a clock that was reset
NUDGE = Fraction(1, 1000)  # seconds between frames whose stamps coincide: as little as every container can store


class FrameClock:
    """Turns stamps into seconds since the first frame.

    Stamps are kept exactly as they are. Four kinds of broken ones are mended: missing stamps follow at the average
    rate, coinciding ones are pushed on by a millisecond, and a jump backwards (a clock that was reset) goes on where
    it was. Where presentation times step back a little and decoding times do not, the writer of the file has put down
    decoding times as both, and from there on these count.
    """

    def __init__(self, time_base: Fraction, rate: Fraction, *, by_decoding_time: bool = False) -> None:
        """Start before the first frame."""
        self._time_base = time_base
        self._step = 1 / rate
        self._by_decoding_time = by_decoding_time
        self._origin: Fraction | None = None
        self._last: Fraction | None = None
        self._longest_nudge = 2 * self._step
        self._stamps: tuple[int | None, int | None] = (None, None)  # the last presentation and decoding time
        self._steps_back = 0  # of presentation times
        self._resets = 0  # of decoding times

    @property
    def origin(self) -> Fraction | None:
        """Where time 0 stands on the file's clock, in seconds: elsewhere after a reset; None until a stamp has told."""
        return self._origin

    def time(self, pts: int | None, dts: int | None) -> Fraction:
        """Return the next frame's time in seconds."""
        self._choose(pts, dts)
        stamp = dts if self._by_decoding_time or pts is None else pts
        following = Fraction(0) if self._last is None else self._last + self._step
        seconds = following
        if stamp is not None:
            stamped = stamp * self._time_base
            if self._origin is None:
                self._origin = stamped - following
            seconds = stamped - self._origin
            if self._last is not None and seconds <= self._last:
                if seconds > self._last - self._longest_nudge:
                    seconds = self._last + NUDGE
                else:
                    seconds = following
                    self._origin = stamped - following
        self._last = seconds
        return seconds

    def _choose(self, pts: int | None, dts: int | None) -> None:
        """Go over to decoding times once they are the better ones, much as ffmpeg does (``guess_correct_pts``)."""
        if self._by_decoding_time:
            return
        last_pts, last_dts = self._stamps
        self._stamps = (last_pts if pts is None else pts, last_dts if dts is None else dts)
        self._resets += dts is not None and last_dts is not None and dts <= last_dts
        if pts is None or last_pts is None or pts >= last_pts:
            return
        self._steps_back += 1
        little = (last_pts - pts) * self._time_base < REORDERED * self._step
        if little and dts is not None and self._steps_back > self._resets:
            self._by_decoding_time = True
            self._longest_nudge = REORDERED * self._step  # until they have reached what presentation times ran ahead to


def average_rate(stream: Any, timed: bool) -> Fraction:
    """Return frames per second as a fraction; *timed* says whether the stream's frames carry stamps.

    A bare stream of pictures has no clock, and ffmpeg then states 25 as its average but guesses from the coded data.
    """
    stated = [stream.average_rate, stream.guessed_rate] if timed else [stream.guessed_rate, stream.average_rate]
    for rate in stated:
        if rate and 0 < rate <= FASTEST:
            return Fraction(rate)
    return NOMINAL_RATE


def expected_frames(stream: Any, length: Fraction, rate: Fraction) -> int | None:
    """Estimate the number of displayed frames, None where the file does not tell.

    *length* is the container's, in seconds, 0 if unknown. An edit list hides frames that the file still counts, hence
    the minimum.
    """
    estimates = [stream.frames] if stream.frames else []
    if stream.duration and stream.time_base:
        estimates.append(round(stream.duration * stream.time_base * rate))
    elif length and not estimates:
        estimates.append(round(length * rate))
    return min((count for count in estimates if count > 0), default=None)
