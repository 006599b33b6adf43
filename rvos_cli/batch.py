"""Whole folders: do the planned jobs, skip the finished, collect the failures.

Enters: a folder tree with videos, frame folders and masks beside them, which ``batch_plan.py`` looks through. Leaves:
the same tree of outputs and a ``BatchReport``. Stands above the facade, which does each job.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rvos_cli.batch_plan import Job, is_finished, may_replace, plan
from rvos_cli.config import InferenceOptions, OutputOptions
from rvos_cli.errors import BusyError, OutputError, RvosError
from rvos_cli.outputs import DEFAULT_ROOT, finished_at
from rvos_cli.results import RunSummary
from rvos_cli.segmenter import Segmenter

WAIT = 1.0  # seconds from one look at what other runs are busy with to the next


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What became of a job; ``error`` is one line, ``failure`` the exception itself without its frames' variables."""

    job: Job
    status: Literal["done", "skipped", "failed"]
    seconds: float = 0.0
    summary: RunSummary | None = None
    error: str | None = None
    failure: Exception | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "input": str(self.job.input),
            "first_mask": None if self.job.first_mask is None else str(self.job.first_mask),
            "frame_masks": None if self.job.frame_masks is None else str(self.job.frame_masks),
            "output": str(self.job.output),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "error": self.error,
            "summary": None if self.summary is None else self.summary.to_dict(),
        }


@dataclass(frozen=True)
class BatchReport:
    """All results, in the order of the jobs."""

    results: tuple[JobResult, ...]

    @property
    def failed(self) -> tuple[JobResult, ...]:
        """The jobs that gave an error."""
        return tuple(result for result in self.results if result.status == "failed")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        counts = Counter(result.status for result in self.results)
        return {
            **{status: counts[status] for status in ("done", "skipped", "failed")},
            "jobs": [result.to_dict() for result in self.results],
        }


class Listener:
    """Is told how a batch goes; override what is of interest."""

    def planned(self, jobs: Sequence[Job]) -> None:
        """All jobs are known."""

    def started(self, job: Job) -> None:
        """A job begins, or one that was postponed is tried once more."""

    def progressed(self, job: Job, done: int, total: int | None) -> None:
        """*done* frames of *total* (None: unknown) are finished."""

    def noticed(self, job: Job, kind: str, line: str) -> None:
        """There is something to know about a job, in one line; see ``Segmenter.segment``."""

    def postponed(self, job: Job) -> None:
        """Another run is busy with a job, which comes again when the others are done."""

    def ended(self, result: JobResult) -> None:
        """A job is done, skipped or failed."""


def run_batch(
    model: Segmenter,
    folder: str | Path,
    *,
    output: str | Path = DEFAULT_ROOT,
    masks: str | Path | None = None,
    frame_masks: str | Path | None = None,
    inference: InferenceOptions | None = None,
    outputs: OutputOptions | None = None,
    listener: Listener | None = None,
) -> BatchReport:
    """Process every video and frame folder below *folder*; one failure does not stop the others.

    A job whose outputs are complete, from the same input with the same masks, options and weights, is skipped unless
    ``outputs.force``; other outputs that a run of the same input has left in its place are replaced, and unfinished
    work. Results of another input are not, nor what no run has made: then the job fails.

    What another run is busy with comes last, and what another run has finished since this one began is skipped, even
    with ``outputs.force``. So several runs of one batch, in several processes or on several machines, share its jobs.

    Args:
        model: does the work.
        folder: searched for inputs, at any depth; see ``plan``.
        output: the root of the tree of outputs.
        masks: folder of first masks; see ``plan``.
        frame_masks: folder of folders of whole masks of any frames; see ``plan``.
        inference: how masks are computed; ``half`` is the model's.
        outputs: what is written.
        listener: is told how it goes.

    Raises:
        InputError: there is no such folder, or nothing to do in it.
        MaskError: there is no folder *masks* or *frame_masks*.
    """
    inference, outputs, listener = inference or InferenceOptions(), outputs or OutputOptions(), listener or Listener()
    jobs = plan(folder, output=output, masks=masks, frame_masks=frame_masks)
    listener.planned(jobs)
    results: dict[Job, JobResult] = {}
    left, postponed = list(jobs), set[Job]()
    before = {job: finished_at(job.output) for job in jobs}
    while left:
        for job in left:
            listener.started(job)
            again = outputs.force and finished_at(job.output) == before[job]
            try:
                results[job] = _run_job(model, job, inference, outputs, listener, again=again)
            except BusyError:
                if job not in postponed:
                    listener.postponed(job)
                postponed.add(job)
            else:
                listener.ended(results[job])
        busy = [job for job in left if job not in results]
        if len(busy) == len(left):
            time.sleep(WAIT)
        left = busy
    return BatchReport(tuple(results[job] for job in jobs))


def _run_job(
    model: Segmenter,
    job: Job,
    inference: InferenceOptions,
    outputs: OutputOptions,
    listener: Listener,
    *,
    again: bool,
) -> JobResult:
    """Do a job, *again* even if it is finished.

    Raises:
        BusyError: another run is at it.
    """
    start = time.perf_counter()
    try:
        if not again and is_finished(model, job, inference, outputs):
            return JobResult(job=job, status="skipped")
        keywords: dict[str, Any] = {
            "output": job.output,
            "size": inference.size,
            "threshold": inference.threshold,
            "overlay": outputs.overlay,
            "masks": outputs.masks,
            "objects": outputs.objects,
            "force": outputs.force or may_replace(job),
            "progress": lambda done, total: listener.progressed(job, done, total),
            "notice": lambda kind, line: listener.noticed(job, kind, line),
        }
        if job.mode == "segment":
            summary = model.segment(job.input, max_objects=inference.max_objects, **keywords)
        else:
            summary = model.track(job.input, first_mask=job.first_mask, frame_masks=job.frame_masks, **keywords)
    except BusyError:
        raise
    except OutputError as error:
        if not again and is_finished(model, job, inference, outputs):  # by another run, just now
            return JobResult(job=job, status="skipped")
        return _failure(job, start, error)
    except Exception as error:  # whatever happens to one input must not cost the others
        return _failure(job, start, error)
    return JobResult(job=job, status="done", seconds=time.perf_counter() - start, summary=summary)


def _failure(job: Job, start: float, error: Exception) -> JobResult:
    seconds = time.perf_counter() - start
    _let_go(error)
    return JobResult(job=job, status="failed", seconds=seconds, error=failure_line(error), failure=error)


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that a failure came through: they hold the job's network states and pictures."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def failure_line(error: Exception) -> str:
    """Return any failure as one line: a named one in its own words, another as what it is."""
    line = str(error) if isinstance(error, RvosError) else f"unexpected {type(error).__name__}: {error}"
    return " ".join(line.split())
