"""The three stages work at the same time, in order, in little memory, and fall together when one falls."""

from __future__ import annotations

import _thread
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import decode, encode, index_of

from rvos_cli.pipeline import QUEUE_SIZE, run, with_labels
from rvos_cli.results import FrameMasks
from rvos_cli.sinks import MaskFolder, ObjectFolders, OverlayVideo, Sink
from rvos_cli.sources import Frame, SourceInfo, open_source

SIZE = (8, 10)


class Picture(np.ndarray):
    """An array that can be watched by a weak reference."""


class Source:
    """Makes *count* frames; counts those that are alive."""

    def __init__(self, count: int, *, fail_at: int | None = None, pause: float = 0.0) -> None:
        self.info = SourceInfo("x", "x", "arrays", *SIZE, count, None, False, None)
        self.warnings: list[str] = []
        self.count, self.fail_at, self.pause = count, fail_at, pause
        self.made = self.alive = self.most_alive = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            time.sleep(self.pause)
            if index == self.fail_at:
                raise OSError("the tape has torn")
            image = np.full((*SIZE, 3), index % 256, np.uint8).view(Picture)
            with self._lock:
                self.made += 1
                self.alive += 1
                self.most_alive = max(self.most_alive, self.alive)
            weakref.finalize(image, self._gone)
            yield Frame(index, f"{index:05d}", Fraction(index, 25), image)
            del image

    def _gone(self) -> None:
        with self._lock:
            self.alive -= 1

    def close(self) -> None:
        pass

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Recorder(Sink):
    """Remembers what happened to it."""

    def __init__(self, *, fail_at: int | None = None, pause: float = 0.0) -> None:
        self.seen: list[int] = []
        self.threads: set[str] = set()
        self.ended = ""
        self.fail_at, self.pause = fail_at, pause

    def write(self, frame: FrameMasks) -> None:
        time.sleep(self.pause)
        if frame.index == self.fail_at:
            raise ValueError("the disk is full")
        assert int(frame.labels[0, 0]) == int(frame.image[0, 0, 0])
        self.seen.append(frame.index)
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def step(frame: Frame) -> np.ndarray:
    return np.array(frame.image[..., 0])


def each(step: Callable[[Frame], np.ndarray]) -> Callable[[Iterator[Frame]], Iterator[FrameMasks]]:
    def follow(frames: Iterator[Frame]) -> Iterator[FrameMasks]:
        for frame in frames:
            yield with_labels(frame, step(frame))
            del frame

    return follow


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def within(seconds: float, action: Callable[[], object]) -> None:
    """Run *action*, and interrupt it (which fails the test) if it hangs."""
    watch = threading.Timer(seconds, _thread.interrupt_main)
    watch.start()
    try:
        action()
    finally:
        watch.cancel()
        watch.join()


def test_every_sink_gets_every_frame_in_order() -> None:
    sinks = [Recorder(), Recorder(pause=0.002)]
    told: list[int] = []
    assert run(Source(50), each(step), sinks, on_frame=lambda frame: told.append(frame.index)) == 50
    for sink in sinks:
        assert sink.seen == list(range(50))
        assert len(sink.threads) == 1
        assert sink.ended == ""  # the caller closes
    assert told == list(range(50))


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("sinks", [0, 1])
def test_short_sources_and_no_sinks(count: int, sinks: int) -> None:
    assert run(Source(count), each(step), [Recorder() for _ in range(sinks)]) == count


def test_step_runs_in_the_callers_thread() -> None:
    names: set[str] = set()

    def watched(frame: Frame) -> np.ndarray:
        names.add(threading.current_thread().name)
        return step(frame)

    run(Source(5), each(watched), [Recorder()], on_frame=lambda _: names.add(threading.current_thread().name))
    assert names == {threading.current_thread().name}


def test_stages_overlap() -> None:
    """A step may wait until the next frame has been made and the last one written: both happen meanwhile."""
    count, met = 10, []
    made, written = threading.Semaphore(0), threading.Semaphore(0)

    class Announcing(Source):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                made.release()
                yield frame

    class Noting(Recorder):
        def write(self, frame: FrameMasks) -> None:
            super().write(frame)
            written.release()

    def waiting(frame: Frame) -> np.ndarray:
        index = len(met)
        ahead = {0: 2, count - 1: 0}.get(index, 1)  # the first step waits for its own frame and the second one
        met.append(all(made.acquire(timeout=20) for _ in range(ahead)) and (index == 0 or written.acquire(timeout=20)))
        return step(frame)

    run(Announcing(count), each(waiting), [Noting()])
    assert met == [True] * count


@pytest.mark.parametrize("queue_size", [1, QUEUE_SIZE])
@pytest.mark.parametrize("slow", ["sink", "step", "source"])
def test_a_slow_stage_never_makes_the_queues_grow(slow: str, queue_size: int) -> None:
    source = Source(150, pause=0.002 if slow == "source" else 0)
    sinks = [Recorder(pause=0.002 if slow == "sink" else 0), Recorder()]

    def paced(frame: Frame) -> np.ndarray:
        time.sleep(0.002 if slow == "step" else 0)
        return step(frame)

    run(source, each(paced), sinks, queue_size=queue_size)
    assert source.made == 150
    # Two queues, and one frame each in the hands of the source, the step and the slowest sink.
    assert source.most_alive <= 2 * queue_size + 3
    assert source.alive <= 1  # numpy may keep the last one for a moment


def failing_step(frame: Frame) -> np.ndarray:
    if frame.image[0, 0, 0] == 7:
        raise ArithmeticError("not a number")
    return step(frame)


@pytest.mark.parametrize(
    "stage,kind", [("source", OSError), ("step", ArithmeticError), ("sink", ValueError), ("on_frame", KeyError)]
)
@pytest.mark.parametrize("pause", [0.0, 0.003])
def test_a_failure_anywhere_stops_all_and_is_raised_as_it_is(stage: str, kind: type[Exception], pause: float) -> None:
    source = Source(10**9, fail_at=7 if stage == "source" else None, pause=pause)
    sinks = [Recorder(), Recorder(fail_at=7 if stage == "sink" else None), Recorder(pause=pause)]

    def on_frame(frame: FrameMasks) -> None:
        if stage == "on_frame" and frame.index == 7:
            raise KeyError("progress")

    def attempt() -> None:
        with pytest.raises(kind) as caught, ExitStack() as stack:
            for sink in sinks:
                stack.enter_context(sink)
            run(source, each(failing_step if stage == "step" else step), sinks, on_frame=on_frame)
        where = {"source": "__iter__", "step": "failing_step", "sink": "write", "on_frame": "on_frame"}[stage]
        assert traceback.extract_tb(caught.value.__traceback__)[-1].name == where
        assert caught.value.__context__ is None

    within(10, attempt)
    assert source.made < 60
    assert [sink.ended for sink in sinks] == ["aborted"] * 3
    for sink in sinks:
        assert sink.seen == list(range(len(sink.seen)))


def test_a_failing_source_still_gives_the_frames_before_it_to_the_step() -> None:
    told: list[int] = []
    with pytest.raises(OSError, match="torn"):
        run(Source(20, fail_at=12), each(step), [Recorder()], on_frame=lambda frame: told.append(frame.index))
    assert told == list(range(12))


def test_an_interrupt_in_the_step_stops_all_and_the_sinks_abort() -> None:
    source, sink = Source(10**9), Recorder()

    def interrupted(frame: Frame) -> np.ndarray:
        if frame.image[0, 0, 0] == 5:
            raise KeyboardInterrupt
        return step(frame)

    def attempt() -> None:
        with pytest.raises(KeyboardInterrupt), sink:
            run(source, each(interrupted), [sink])

    within(10, attempt)
    assert sink.ended == "aborted"
    assert source.made < 60


@pytest.mark.parametrize("slow", ["source", "sink"])
def test_an_interrupt_while_waiting_gets_through(slow: str) -> None:
    """Ctrl-C arrives while the caller's thread waits for another stage."""
    source, sink = Source(10**9, pause=0.4 if slow == "source" else 0), Recorder(pause=0.4 if slow == "sink" else 0)
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), sink:
        run(source, each(step), [sink])
    timer.join()
    assert time.perf_counter() - start < 3
    assert sink.ended == "aborted"


def test_a_sink_that_fails_on_the_last_frame_is_told() -> None:
    with pytest.raises(ValueError, match="disk is full"):
        run(Source(9), each(step), [Recorder(fail_at=8, pause=0.01)])


def test_a_real_video_goes_through_all_sinks(tmp_path: Path) -> None:
    video = encode(tmp_path / "in.mp4", 30, (96, 128), sound=True)

    def found(frame: Frame) -> np.ndarray:
        labels = np.zeros(frame.image.shape[:2], np.uint8)
        labels[30:60, 40:90] = 1 + (index_of(frame.image) >= 20)
        return labels

    with open_source(video) as source, ExitStack() as stack:
        sinks: list[Sink] = [
            OverlayVideo(tmp_path / "overlay.mp4", source.info),
            MaskFolder(tmp_path / "masks"),
            ObjectFolders(tmp_path / "objects"),
        ]
        for sink in sinks:
            stack.enter_context(sink)
        assert run(source, each(found), sinks) == 30
    assert len(decode(tmp_path / "overlay.mp4", (96, 128))) == 30
    names = [f"{index:05d}.png" for index in range(30)]
    for folder in ("masks", "objects/01", "objects/02"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
