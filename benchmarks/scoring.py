"""How fast masks are scored: this package against a straight port of the definitions.

    python benchmarks/scoring.py --pred DIR --gt DIR --task semi-supervised

Enters: folders of masks as for ``rvos evaluate``. Leaves: processor seconds on stdout, reading of the PNGs apart. The
straight port goes mask by mask on whole images: NumPy for the boundaries, ``scipy.ndimage.binary_dilation`` for the
disk and, where OpenCV is installed, ``cv2.dilate`` as in the official tool. All run in one process on one thread;
loading the libraries does not count.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize  # noqa: F401 (the scorer loads it when it first assigns proposals)

from rvos_cli.errors import RvosError
from rvos_cli.evaluation import DAVIS_TASKS, VOID, SequenceScorer, find_annotations, read_mask, sequence_names

Mask = NDArray[np.bool_]
Dilate = Callable[[Mask, Mask], Mask]
Pairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def port_boundary(mask: Mask) -> Mask:
    """Return the pixels that differ from the right, lower or lower right one."""
    edge = np.zeros_like(mask)
    edge[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def port_scores(prediction: Mask, truth: Mask, dilate: Dilate) -> tuple[float, float]:
    """Return J and F, written down as they are defined."""
    union = np.sum(prediction | truth)
    region = np.sum(prediction & truth) / union if union else 1.0
    radius = math.ceil(0.008 * math.hypot(*truth.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x * x + y * y <= radius * radius
    first, second = port_boundary(prediction), port_boundary(truth)
    matched_first, matched_second = first & dilate(second, disk), second & dilate(first, disk)
    if not first.any() or not second.any():
        return float(region), float(first.any() == second.any())
    precision, recall = np.sum(matched_first) / np.sum(first), np.sum(matched_second) / np.sum(second)
    return float(region), float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def run_port(pairs: Pairs, task: str, dilate: Dilate) -> float:
    """Score *pairs* object by object (unsupervised: every proposal with every object); return the mean of J and F."""
    objects = int(pairs[0][1][pairs[0][1] != VOID].max())
    proposals = max(objects, *(int(prediction.max()) for prediction, _ in pairs))
    values = []
    for prediction, truth in pairs if task == "unsupervised" else pairs[1:-1]:
        void = truth == VOID
        for row in range(1, proposals + 1) if task == "unsupervised" else range(1, objects + 1):
            for column in range(1, objects + 1) if task == "unsupervised" else (row,):
                values.append(port_scores((prediction == row) & ~void, truth == column, dilate))
    return float(np.mean(values))


def run_ours(pairs: Pairs, task: str) -> float:
    """Score *pairs* with this package."""
    scorer = SequenceScorer(task)  # type: ignore[arg-type]
    for prediction, truth in pairs:
        scorer.feed(prediction, truth)
    return scorer.finish().jf


def dilations() -> dict[str, Dilate]:
    """Return the ports that can be run here."""
    found: dict[str, Dilate] = {"port, scipy binary_dilation": lambda mask, disk: ndimage.binary_dilation(mask, disk)}
    try:
        import cv2

        cv2.setNumThreads(1)
        found["port, cv2.dilate"] = lambda mask, disk: cv2.dilate(mask.view(np.uint8), disk.view(np.uint8)) > 0
    except ImportError:
        pass
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred", type=Path, required=True)
    parser.add_argument("--gt", type=Path, required=True)
    parser.add_argument(
        "--task", choices=[task for task in DAVIS_TASKS if task != "foreground"], default="semi-supervised"
    )
    parser.add_argument("--frames", type=int, default=5, help="of each sequence")
    chosen = parser.parse_args()
    runs: dict[str, Callable[[Pairs], float]] = {"rvos": lambda pairs: run_ours(pairs, chosen.task)}
    for name, dilate in dilations().items():
        runs[name] = lambda pairs, dilate=dilate: run_port(pairs, chosen.task, dilate)
    seconds = dict.fromkeys(["reading", *runs], 0.0)
    frames = 0
    try:
        truths = find_annotations(chosen.gt, chosen.task)
        for sequence in sequence_names(chosen.gt, chosen.task):
            start = time.process_time()
            paths = sorted((truths / sequence).glob("*.png"))[: chosen.frames]
            pairs = [(read_mask(chosen.pred / sequence / path.name), read_mask(path)) for path in paths]
            seconds["reading"] += time.process_time() - start
            frames += len(pairs)
            for name, run in runs.items():
                start = time.process_time()
                run(pairs)
                seconds[name] += time.process_time() - start
    except RvosError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{chosen.task}, {frames} frames")
    for name, spent in seconds.items():
        print(f"{name:30} {spent:8.3f} s  {1000 * spent / frames:8.2f} ms a frame  {spent / seconds['rvos']:6.1f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
