"""How many cores there are, and who gets how many threads: torch, and whatever stands beside the network.

Beside it stand decoding, encoding and packing PNGs.

With more threads than half of the processors a codec does not end sooner where the network needs them all; it only
works more: a quarter for decoding, some 5% for encoding (480p, two cores of an AMD EPYC, 2026-11-25, four tries each).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local


def cores() -> int:
    """Return how many cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MOST_THREADS = 4  # more cost memory (each holds a frame), and a network hardly waits for them
SIDE_THREADS = max(1, min(MOST_THREADS, cores() // 2))


class _Default:
    """What torch had before any block changed it: a number that is set counts for threads that are new to torch, too.

    A thread that comes to torch while another one is in a block is given that block's number, and must not take it for
    its own: it would leave it behind.
    """

    def __init__(self) -> None:
        self._lock, self._open, self._number = Lock(), 0, 0
        self._here = local()

    def enter(self, now: int) -> int:
        """Begin a block in a thread that has *now* threads; return how many it had before any block."""
        with self._lock:
            if not self._open:
                self._number = now
            self._open += 1
            depth = getattr(self._here, "depth", 0)
            self._here.depth = depth + 1
            return now if depth else max(now, self._number)

    def leave(self) -> None:
        """End a block."""
        with self._lock:
            self._open -= 1
            self._here.depth -= 1


_default = _Default()


@contextmanager
def torch_threads(number: int | None = None) -> Iterator[None]:
    """Let torch compute with *number* of threads, in this thread, while the block runs; by default half, rounded up."""
    import torch  # here: commands that compute nothing also ask for cores

    before = _default.enter(torch.get_num_threads())
    torch.set_num_threads((before + 1) // 2 if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _default.leave()
