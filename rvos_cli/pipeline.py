"""Decode, compute and write at the same time.

Enters: a source, what follows its frames, sinks. Leaves: the number of frames, when all of them are written.
The source runs in one thread, each sink in one of its own, the rest in the caller's; between them stand short queues,
so memory does not grow when one of them is slow.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rvos_cli.results import FrameMasks
from rvos_cli.sinks.sink import Sink

if TYPE_CHECKING:
    from rvos_cli.sources import Frame, FrameSource

QUEUE_SIZE = 4
POLL = 0.1  # seconds between two looks at whether another stage has stopped
ItemT = TypeVar("ItemT")


class _StoppedError(Exception):
    """Another stage has failed or ended; unwinds this one."""


class _Stop:
    """What makes every stage stop, and the failure to tell, if there was one: the first."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    def __call__(self) -> None:
        self._event.set()

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def raise_failure(self) -> None:
        """Raise a thread's failure, with its own traceback, in the caller's thread."""
        if self._failure is not None:
            raise self._failure


class _Channel(Generic[ItemT]):
    """A short queue whose both ends give up when the run stops; None ends it."""

    def __init__(self, size: int, stop: _Stop) -> None:
        self._queue: queue.Queue[ItemT | None] = queue.Queue(size)
        self._stop = stop

    def put(self, item: ItemT | None) -> None:
        while not self._stop:
            try:
                return self._queue.put(item, timeout=POLL)
            except queue.Full:
                continue
        raise _StoppedError

    def __iter__(self) -> Iterator[ItemT]:
        while not self._stop:
            try:
                item = self._queue.get(timeout=POLL)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item
            del item  # a frame that is done must not stay alive while the next one is awaited
        raise _StoppedError


def run(
    source: FrameSource,
    follow: Callable[[Iterator[Frame]], Iterator[FrameMasks]],
    sinks: Sequence[Sink],
    *,
    on_frame: Callable[[FrameMasks], None] | None = None,
    queue_size: int = QUEUE_SIZE,
) -> int:
    """Send every frame of *source* through *follow* into all *sinks*.

    Neither the source nor the sinks are closed: that is the caller's part, and tells the sinks whether to finish or
    to abort. A failure anywhere, an interrupt included, stops all stages after the frame they are at, but *follow*
    after those that it has read ahead and gives nothing for yet; no thread is left when this returns or raises.

    Args:
        source: the frames, read in a thread.
        follow: from frames in display order to the same with their labels, in the caller's thread.
        sinks: each gets every frame, in order, in a thread of its own.
        on_frame: called in the caller's thread for each frame that has its labels, before it is written.
        queue_size: frames that may wait before the step, and before each sink.

    Returns:
        The number of frames.

    Raises:
        BaseException: whatever the source, the step, a sink or *on_frame* raised first, unchanged.
    """
    count = 0
    stop = _Stop()
    # Whoever stops the run early has told why; the exception that unwinds the other stages ends here.
    with (
        suppress(_StoppedError),
        _writing(sinks, queue_size, stop) as channels,
        _decoding(source, queue_size, stop) as frames,
    ):
        for frame in follow(frames):
            if on_frame is not None:
                on_frame(frame)
            for channel in channels:
                channel.put(frame)
            count += 1
            del frame
    stop.raise_failure()
    return count


def with_labels(frame: Frame, labels: NDArray[np.uint8], confidence: Mapping[int, float] | None = None) -> FrameMasks:
    """Return a frame of a source with its *labels*, (H, W) uint8, and the *confidence* of its objects, 0..1."""
    return FrameMasks(
        index=frame.index,
        time=frame.time,
        name=frame.name,
        image=frame.image,
        labels=labels,
        duration=frame.duration,
        origin=frame.origin,
        confidence=confidence or {},
    )


@contextmanager
def _decoding(source: FrameSource, size: int, stop: _Stop) -> Iterator[Iterator[Frame]]:
    """Read *source* in a thread while the body takes all its frames, or fails; afterwards the thread is gone."""
    channel: _Channel[Frame] = _Channel(size, stop)
    failures: list[BaseException] = []

    def decode() -> None:
        try:
            for frame in source:
                channel.put(frame)
                del frame
        except _StoppedError:
            return
        except BaseException as error:
            failures.append(error)
        with suppress(_StoppedError):
            channel.put(None)

    def frames() -> Iterator[Frame]:
        yield from channel
        if failures:  # after the frames that were decoded before it
            raise failures[0]

    thread = threading.Thread(target=decode, name="rvos-decode", daemon=True)
    thread.start()
    try:
        yield frames()
    except BaseException:
        stop()
        raise
    finally:
        _join(thread)


@contextmanager
def _writing(sinks: Sequence[Sink], size: int, stop: _Stop) -> Iterator[list[_Channel[FrameMasks]]]:
    """Feed every sink in a thread while the body runs; after a good body everything is written."""
    channels: list[_Channel[FrameMasks]] = [_Channel(size, stop) for _ in sinks]

    def write(sink: Sink, channel: _Channel[FrameMasks]) -> None:
        try:
            for frame in channel:
                sink.write(frame)
                del frame
        except _StoppedError:
            return
        except BaseException as error:
            stop.fail(error)

    threads = [
        threading.Thread(target=write, args=pair, name=f"rvos-write-{type(pair[0]).__name__}", daemon=True)
        for pair in zip(sinks, channels, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield channels
        for channel in channels:
            channel.put(None)
        for thread in threads:
            _join(thread)
    finally:
        stop()
        for thread in threads:
            _join(thread)


def _join(thread: threading.Thread) -> None:
    """Wait for a thread in short slices, so that a second interrupt gets through everywhere."""
    while thread.is_alive():
        thread.join(POLL)
