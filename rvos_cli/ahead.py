"""Done before its turn: frames that are read ahead, and the encoding of the next ones while this one is decoded.

Encoding needs nothing of the frame before, decoding much of it. On a processor each gets half of the threads, at the
same time, which keeps them busier than all of them at one small step after the other. On a GPU each has a queue of its
own, and several frames are encoded at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch

from rvos_cli.graphs import closed, queue
from rvos_cli.threads import torch_threads

LARGEST_LEAD = 4  # answers that may wait; of more, the oldest were forgotten by whoever announced them
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class ReadAhead(Generic[ItemT]):
    """Items that can be looked at before their turn; a failure to read one waits until those before it are taken."""

    def __init__(self, items: Iterator[ItemT]) -> None:
        """Read from *items*, and nothing before it is asked for."""
        self._items = items
        self._waiting: deque[ItemT] = deque()
        self._end: Exception | None = None

    def peek(self, count: int) -> list[ItemT]:
        """Return the next *count* items, or as many as there are, which will still be taken."""
        while self._end is None and len(self._waiting) < count:
            try:
                self._waiting.append(next(self._items))
            except StopIteration:
                self._end = StopIteration()  # a new one: what was caught holds this frame, and so the whole video
            except Exception as error:
                self._end = error
        return list(self._waiting)[:count]

    def __bool__(self) -> bool:
        """Whether there is another item; raises the failure that it became instead."""
        if self.peek(1) or isinstance(self._end, StopIteration):
            return bool(self._waiting)
        assert self._end is not None  # or there would have been an item
        raise self._end

    def take(self) -> ItemT:
        """Return the next item, which there must be."""
        return self._waiting.popleft()


class _Coming(Generic[ResultT]):
    """An answer that is being computed, and whether anybody has asked for it."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.answer: Future[ResultT] = Future()
        self.asked = False


class Ahead(Generic[ResultT]):
    """A function that may be told its next arguments before it is asked for the answers; a thread computes them.

    If that is done and nobody has asked for the answer yet, the thread goes on to what can be done with it.
    """

    def __init__(self, function: Callable[..., ResultT], further: Callable[[ResultT], bool]) -> None:
        """Compute *function*; the thread begins with the first announcement and ends with ``close``.

        Args:
            function: from the arguments to the answer.
            further: does a bit more with an answer; returns whether there is still more to do.
        """
        self._function, self._further = function, further
        self._thread: ThreadPoolExecutor | None = None
        self._coming: deque[_Coming[ResultT]] = deque(maxlen=LARGEST_LEAD)

    def announce(self, *arguments: Any) -> None:
        """Begin to compute the answer to *arguments*, with half of the threads."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rvos-ahead")
            with torch_threads():
                # A thread takes on the number that is set when it first asks for it, and keeps it.
                self._thread.submit(torch.get_num_threads).result()
        coming: _Coming[ResultT] = _Coming(arguments)
        self._coming.append(coming)
        self._thread.submit(self._compute, coming)

    def __call__(self, *arguments: Any) -> ResultT:
        """Return the answer to *arguments*, whether they were announced or not; those announced before are let go."""
        if not any(_same(coming.arguments, arguments) for coming in self._coming):
            return self._function(*arguments)
        while True:
            coming = self._coming.popleft()
            coming.asked = True  # or those before it will never be
            if _same(coming.arguments, arguments):
                return coming.answer.result()

    def settle(self) -> None:
        """Wait until the thread has done what was announced; until the next announcement nothing runs beside."""
        if self._thread is not None:
            self._thread.submit(int).result()

    def _compute(self, coming: _Coming[ResultT]) -> None:
        try:
            answer = self._function(*coming.arguments)
        except BaseException as error:
            coming.answer.set_exception(error)
            return
        coming.answer.set_result(answer)
        while not coming.asked and self._further(answer):
            pass

    def close(self) -> None:
        """End the thread when it has done what it is at, and forget both functions; no call may follow."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None
        self._function = self._further = closed


class AheadOnGPU(Generic[ResultT]):
    """The same with a GPU, which computes what it is asked for while nobody waits: it needs no thread, but a queue.

    An announcement is only noted. ``begin`` reads the arguments and asks for the answers, several at once, when this
    processor would do nothing but wait for the GPU, and the GPU computes them when it would wait for this processor.
    """

    def __init__(self, function: Callable[[Sequence[tuple[Any, ...]]], list[ResultT]], device: torch.device) -> None:
        """Compute *function*, from the arguments of several calls to the answers of all or the first, on *device*.

        The answers are good until it is called again.
        """
        self._function, self._device = function, device
        self._announced: Callable[[], Sequence[tuple[Any, ...]]] | None = None
        self._coming: deque[tuple[tuple[Any, ...], ResultT]] = deque()
        self._computed: torch.cuda.Event | None = None  # until it has been waited for

    def announce(self, arguments: Callable[[], Sequence[tuple[Any, ...]]]) -> None:
        """Note who knows with what the next calls will be, in the order of their turn; or the first few of them."""
        self._announced = arguments

    def begin(self) -> None:
        """Ask for the answers to what was announced last, to be computed once all that was asked for before is done.

        As long as answers wait for their turn, nothing is read.
        """
        read, self._announced = self._announced, None
        if read is None or self._coming:
            return
        with torch.inference_mode(False), torch.autocast(self._device.type, enabled=False):
            calls = read()  # which may be anybody's code
        if not calls:
            return
        beside = queue(self._device)
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside):
            answers = self._function(calls)
        self._coming.extend(zip(calls, answers, strict=False))
        self._computed = beside.record_event()

    def __call__(self, *arguments: Any) -> ResultT:
        """Return the answer to *arguments*, whether they were announced or not; those announced before are let go."""
        self._wait()
        while self._coming:
            announced, answer = self._coming.popleft()
            if _same(announced, arguments):
                return answer
        return self._function([arguments])[0]

    def settle(self) -> None:
        """There is no thread to wait for."""

    def close(self) -> None:
        """Forget what was announced, and the function; no call may follow."""
        self._wait()
        self._coming.clear()
        self._announced, self._function = None, closed

    def _wait(self) -> None:
        """Let all that is asked for from now on wait for the answers that are coming."""
        computed, self._computed = self._computed, None
        if computed is not None:
            torch.cuda.current_stream(self._device).wait_event(computed)


def _same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether these are the same arguments, not only equal ones."""
    return all(one is other for one, other in zip(some, others, strict=True))
