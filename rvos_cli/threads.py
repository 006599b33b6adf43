"""How many cores there are, and who gets how many threads: torch, and whatever stands beside the network.

Beside it stand decoding, encoding and packing PNGs.

With more threads than half of the processors a codec does not end sooner where the network needs them all; it only
works more: a quarter for decoding, some 5% for encoding (480p, two cores of an AMD EPYC, 2026-11-25, four tries each).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def cores() -> int:
    """Return how many cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MOST_THREADS = 4  # more cost memory (each holds a frame), and a network hardly waits for them
SIDE_THREADS = max(1, min(MOST_THREADS, cores() // 2))


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch compute with *number* of threads, in this thread, while the block runs."""
    import torch  # here: commands that compute nothing also ask for cores

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
