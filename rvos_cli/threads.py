"""How many cores there are, and threads for whatever stands beside the network: decoding, encoding, packing PNGs.

With more threads than half of the processors a codec does not end sooner where the network needs them all; it only
works more: a quarter for decoding, some 5% for encoding (480p, two cores of an AMD EPYC, 2026-11-25, four tries each).
"""

from __future__ import annotations

import os


def cores() -> int:
    """Return how many cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MOST_THREADS = 4  # more cost memory (each holds a frame), and a network hardly waits for them
SIDE_THREADS = max(1, min(MOST_THREADS, cores() // 2))
