"""Scores stored masks: one folder of PNGs per sequence, predicted and true.

Enters: two folders. Leaves: a ``DatasetScore``. Sequences are scored in parallel processes, each frame by frame,
so memory does not grow with the data set.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos_cli.errors import DatasetError
from rvos_cli.evaluation.late_objects import make_scorer
from rvos_cli.evaluation.protocols import Task
from rvos_cli.evaluation.scores import DatasetScore, SequenceScore
from rvos_cli.sources import natural_key
from rvos_cli.threads import cores
from rvos_cli.unreadable import UNREADABLE

# Below this many frames one process is done before others have started.
PARALLEL_FROM = 100


def evaluate_folders(
    pred_dir: str | Path,
    gt_dir: str | Path,
    task: Task,
    *,
    sequences: Iterable[str] | None = None,
    workers: int | None = None,
    on_sequence: Callable[[SequenceScore], None] | None = None,
) -> DatasetScore:
    """Score the masks of *pred_dir* against those of *gt_dir*.

    Args:
        pred_dir: one folder of PNGs per sequence, or of what ``rvos batch`` wrote (``<sequence>/masks``).
        gt_dir: likewise, or a DAVIS root (``Annotations/480p``; for the task unsupervised
            ``Annotations_unsupervised/480p`` if it is there). Its frames are the frames that count.
        task: ``semi-supervised``, ``unsupervised`` or ``foreground`` (see ``SequenceScorer``), or ``youtube-vos`` (see
            ``LateObjectScorer``).
        sequences: their names; None takes every sequence of *gt_dir*.
        workers: processes; None takes one per core. More than one starts fresh interpreters, so a script that
            calls this needs the usual ``if __name__ == "__main__"``.
        on_sequence: called in this process as each sequence is done, in no fixed order.

    Raises:
        DatasetError: a folder, sequence or frame is missing or cannot be read, or the protocol refuses a mask.
        UsageError: there is no such task.
    """
    make_scorer(task)
    names = list(dict.fromkeys(sequences)) if sequences is not None else sequence_names(gt_dir, task)
    truths = find_annotations(gt_dir, task)
    predictions = _existing(pred_dir, "folder of predictions")
    jobs = [(name, predictions, truths, task) for name in names]
    frames = sum(len(_pngs(_sequence_folder(truths, name))) for name in names)
    for name in names:
        _sequence_folder(predictions, name)
    workers = min(len(jobs), workers or cores())
    scores: dict[str, SequenceScore] = {}
    if workers <= 1 or frames < PARALLEL_FROM:
        for job in jobs:
            scores[job[0]] = _evaluate_job(job)
            if on_sequence is not None:
                on_sequence(scores[job[0]])
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_leave_interrupts) as pool:
            try:
                for done in as_completed([pool.submit(_evaluate_job, job) for job in jobs]):
                    score = done.result()
                    scores[score.name] = score
                    if on_sequence is not None:
                        on_sequence(score)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return DatasetScore(task=task, sequences=tuple(scores[name] for name in names if scores[name].objects))


def evaluate_sequence(
    pred_dir: str | Path, gt_dir: str | Path, task: Task, *, name: str | None = None
) -> SequenceScore:
    """Score the PNGs of one folder against those of another, matched by file name.

    Raises:
        DatasetError: a frame is missing or cannot be read, or the protocol refuses a mask.
        UsageError: there is no such task.
    """
    predictions = _pngs(Path(os.path.expanduser(pred_dir)))
    truths = _pngs(Path(os.path.expanduser(gt_dir)))
    name = name if name is not None else Path(gt_dir).name
    scorer = make_scorer(task, name=name)
    last = len(truths) - 1
    for index, (stem, path) in enumerate(truths.items()):
        truth = read_mask(path)
        if scorer.skips_ends and index in (0, last):
            scorer.feed(np.zeros_like(truth), truth)
            continue
        if stem not in predictions:
            raise DatasetError(
                f"{name}: no prediction for frame {stem} in {pred_dir}", cure="every true mask needs a PNG of its name"
            )
        scorer.feed(read_mask(predictions[stem]), truth)
    return scorer.finish()


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the (H, W) uint8 ids of a PNG: palette indices or grey values.

    Raises:
        DatasetError: it cannot be read or is in colour.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise DatasetError(
                    f"{path} has mode {image.mode}", cure="masks are palette (P) or grey (L) PNGs of ids"
                )
            return np.asarray(image).astype(np.uint8, copy=False)
    except UNREADABLE as error:
        raise DatasetError(f"{path} cannot be read ({error})", cure="write it again") from error


def find_annotations(root: str | Path, task: str) -> Path:
    """Return the folder of sequence folders below *root*, which may be a DAVIS root.

    Raises:
        DatasetError: *root* is no folder.
    """
    root = _existing(root, "folder of true masks")
    names = ["Annotations"] if task != "unsupervised" else ["Annotations_unsupervised", "Annotations"]
    for name in names:
        for folder in (root / name / "480p", root / name):
            if os.path.isdir(folder):
                return folder
    return root / "480p" if os.path.isdir(root / "480p") else root


def _existing(path: str | Path, what: str) -> Path:
    folder = Path(os.path.expanduser(path))
    if not os.path.isdir(folder):
        raise DatasetError(
            f"{folder} is no folder", cure=f"name the {what}, which holds one folder of PNGs per sequence"
        )
    return folder


def sequence_names(gt_dir: str | Path, task: str) -> list[str]:
    """Return the names of all sequences with true masks, sorted.

    Raises:
        DatasetError: there is none.
    """
    truths = find_annotations(gt_dir, task)
    folders = (entry for entry in entries(truths) if os.path.isdir(entry))
    names = sorted(folder.name for folder in folders if _pngs(folder) or _pngs(folder / "masks"))
    if not names:
        raise DatasetError(f"{truths} holds no folder with PNG masks", cure="expected <sequence>/<frame>.png")
    return names


def _sequence_folder(root: Path, name: str) -> Path:
    folder = root / name
    for candidate in (folder, folder / "masks"):
        if os.path.isdir(candidate) and _pngs(candidate):
            return candidate
    raise DatasetError(f"{folder} holds no PNG masks", cure="choose the sequences to score with --sequences")


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read ({error.strerror})", cure="check who may read it") from error


def list_files(folder: Path, suffixes: Container[str]) -> dict[str, Path]:
    """Return stem -> path of the files with one of *suffixes*, in natural order; nothing if there is no folder.

    Raises:
        DatasetError: two files have one stem, or the folder cannot be read.
    """
    if not os.path.isdir(folder):
        return {}
    names = [entry.name for entry in entries(folder) if not entry.name.startswith(".")]
    paths = [folder / name for name in sorted(names, key=natural_key) if Path(name).suffix.lower() in suffixes]
    found = {path.stem: path for path in paths}
    if len(found) < len(paths):
        double = next(path for path in paths if found[path.stem] != path)
        raise DatasetError(f"{folder} holds {double.name} and {found[double.stem].name}", cure="remove one of them")
    return found


def _pngs(folder: Path) -> dict[str, Path]:
    return list_files(folder, {".png"})


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the process that gives out the jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _evaluate_job(job: tuple[str, Path, Path, Task]) -> SequenceScore:
    name, predictions, truths, task = job
    return evaluate_sequence(_sequence_folder(predictions, name), _sequence_folder(truths, name), task, name=name)
