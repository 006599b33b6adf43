"""The output folder of one run: may it be written, where the unfinished work lies, how it becomes the result.

Enters: the folder, the inputs that must not be harmed, which outputs are wanted. Leaves: paths for the sinks, then
the whole result at once, ``summary.json`` last. Stands around the sinks; knows files only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rvos_cli.config import InferenceOptions, OutputOptions
from rvos_cli.errors import BusyError, OutputError
from rvos_cli.locks import FileLock
from rvos_cli.results import RunSummary
from rvos_cli.sinks import MaskFolder, ObjectFolders, OverlayVideo, Sink, write_summary
from rvos_cli.sources import SourceInfo, image_names

OVERLAY, MASKS, OBJECTS, SUMMARY = "overlay.mp4", "masks", "objects", "summary.json"
UNFINISHED = "unfinished"
MARK = ".rvos"  # in there: a folder without it is somebody else's
FINAL_NAMES = (OVERLAY, MASKS, OBJECTS, SUMMARY)
DEFAULT_ROOT = Path("rvos-out")
ATTEMPTS, PAUSE = 5, 0.01  # and seconds between them


class OutputFolder:
    """Collects the outputs of one run below ``unfinished/`` and moves them to their final names when all are whole.

    Until then the results of an earlier run stay as they are, so an interrupted run never looks finished and never
    mixes its files with older ones. As a context manager it keeps what a failed run has written in ``unfinished/``,
    and leaves no trace of a run that has written nothing.

    Args:
        folder: where the outputs go; made when needed.
        options: which outputs are written, and whether older ones may be replaced.
        inputs: paths that must never be touched (the video or frame folder, the masks).

    Raises:
        BusyError: another run is writing there.
        OutputError: older outputs are there without ``force``, an input would be overwritten, ``unfinished/`` is not
            that of an earlier run, or the folder cannot be made.
    """

    def __init__(self, folder: str | Path, *, options: OutputOptions, inputs: Sequence[Path] = ()) -> None:
        """Check everything and make the folder for the unfinished work."""
        self.folder = Path(os.path.expanduser(folder))
        self.options = options
        self.staging = self.folder / UNFINISHED
        self._lock = FileLock(self.staging / MARK)
        self._made: Path | None = None
        try:
            self._check_inputs(inputs)
            self._refuse_older()
            above = reversed([self.folder, *self.folder.parents])
            self._made = next((path for path in above if not path.exists()), None)
            self._begin_anew()
        except OSError as error:
            self._leave_no_trace()
            raise OutputError(
                f"{self.folder} cannot be written ({error.strerror or error})", cure="choose another with --output"
            ) from error

    def _refuse_older(self) -> None:
        """Refuse a folder that holds anything under the name of a result, unless that may be replaced."""
        # Not Path.exists(), which sees no link that leads nowhere.
        existing = ", ".join(name for name in FINAL_NAMES if os.path.lexists(self.folder / name))
        if not existing or self.options.force:
            return
        if not is_output_folder(self.folder):  # then --force would remove what cannot be made again
            raise OutputError(
                f"{self.folder} holds {existing}, which no run of rvos has made", cure="choose another with --output"
            )
        raise OutputError(
            f"{self.folder} holds results already ({existing})",
            cure="choose another folder with --output, or replace them with --force",
        )

    def _begin_anew(self) -> None:
        """Take the place of unfinished work, if it is an earlier run's and that run is over."""
        if not self._take_place():
            raise BusyError(
                f"another run is writing to {self.folder}", cure="wait for its end, or choose another with --output"
            )
        try:
            self._refuse_older()  # which a run may have put there that held the lock until now
        except OutputError:
            self._leave_no_trace()
            raise
        self._empty()

    def _take_place(self) -> bool:
        """Make the folder for the unfinished work, and return whether no other run has it."""
        for left in reversed(range(ATTEMPTS)):
            try:
                if self.staging.is_dir() and any(self.staging.iterdir()) and not _is_unfinished(self.folder):
                    raise OutputError(
                        f"{self.staging} is not the work of an earlier run",
                        cure="choose another folder with --output, or rename that one",
                    )
                self.staging.mkdir(parents=True, exist_ok=True)
                return self._lock.acquire()
            except (OutputError, FileNotFoundError, FileExistsError):  # or another run, at its end, is removing it
                if not left:
                    raise
                time.sleep(PAUSE)
        return False

    def _empty(self) -> None:
        """Remove what is in the folder for the unfinished work, but for the mark, which says whose it is."""
        for left in self.staging.iterdir():
            if left.name == MARK:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()

    def _leave_no_trace(self) -> None:
        """Remove the folder for the unfinished work, and what was made for it and is empty."""
        with contextlib.suppress(OSError):
            if self._lock.held:  # or it may be another run's
                self._empty()
                if os.name == "nt":
                    self._lock.release()  # an open file cannot be removed there
                if all(path.name == MARK for path in self.staging.iterdir()):  # or it says whose the rest is
                    (self.staging / MARK).unlink(missing_ok=True)
            self.staging.rmdir()
        self._lock.release()
        path = self.folder
        with contextlib.suppress(OSError):
            while self._made is not None and path != self._made.parent:
                path.rmdir()
                path = path.parent

    def _check_inputs(self, inputs: Sequence[Path]) -> None:
        for path in map(_real, inputs):
            if path == _real(self.folder):
                raise OutputError(
                    f"the output folder {self.folder} is the input itself", cure="choose another with --output"
                )
            for name in (*FINAL_NAMES, UNFINISHED):
                target = _real(self.folder / name)
                if target == path or target in path.parents:
                    raise OutputError(
                        f"the input {path} lies where results are written",
                        cure="choose another folder with --output, or copy the input elsewhere",
                    )

    @property
    def outputs(self) -> dict[str, str]:
        """The final path of each output, by name."""
        wanted = {
            "overlay": (self.options.overlay, OVERLAY),
            "masks": (self.options.masks, MASKS),
            "objects": (self.options.objects, OBJECTS),
            "summary": (True, SUMMARY),
        }
        return {name: str(self.folder / file) for name, (on, file) in wanted.items() if on}

    def sinks(self, info: SourceInfo, ids: tuple[int, ...]) -> Iterator[Sink]:
        """Open, one after the other, the sinks that were asked for; *ids* are the objects known beforehand."""
        if self.options.overlay:
            yield OverlayVideo(self.staging / OVERLAY, info)
        if self.options.masks:
            yield MaskFolder(self.staging / MASKS)
        if self.options.objects:
            yield ObjectFolders(self.staging / OBJECTS, ids)

    def commit(self, summary: RunSummary) -> None:
        """Put the finished outputs in the place of older ones, the summary last.

        Raises:
            OutputError: the summary cannot be written, or a file not moved or removed.
        """
        write_summary(self.staging / SUMMARY, summary)  # so that all that can fail for want of room has been done
        try:
            (self.folder / SUMMARY).unlink(missing_ok=True)
            for name in (OVERLAY, MASKS, OBJECTS):
                final, staged = self.folder / name, self.staging / name
                if os.path.lexists(final):
                    os.replace(final, self.staging / f"replaced-{name}")
                if staged.exists():
                    os.replace(staged, final)
            # Until here the mark says whose results these are.
            os.replace(self.staging / SUMMARY, self.folder / SUMMARY)
        except OSError as error:
            raise OutputError(
                f"the results cannot be moved to {self.folder} ({error.strerror or error})",
                cure=f"they are whole and lie in {self.staging}",
            ) from error
        self._leave_no_trace()

    def __enter__(self) -> OutputFolder:
        """Start the run."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Leave no empty folders behind a run that failed before its first frame."""
        if kind is not None and not any(path.is_file() and path.name != MARK for path in self.staging.rglob("*")):
            self._leave_no_trace()
        self._lock.release()


def run_digest(
    input: Path,
    *,
    first_mask: Path | None,
    frame_masks: Path | None,
    mode: str,
    inference: InferenceOptions,
    outputs: OutputOptions,
    weights_sha256: str,
) -> str:
    """Name the work of one run: 64 hexadecimal digits that change with anything that changes the result.

    A video or image counts by its name, length and time of change, a frame folder by those of its frames, a first
    mask by its content, a folder of masks by their names and contents. Where the input lies does not count.

    Raises:
        OSError: a file cannot be read.
    """
    files = sorted(input / name for name in image_names(input)) if input.is_dir() else [input]
    facts: list[Any] = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    facts.append(_content(first_mask) if first_mask else None)
    if frame_masks is not None:
        facts.append([(name, _content(frame_masks / name)) for name in image_names(frame_masks)])
    facts += [mode, asdict(inference), outputs.overlay, outputs.masks, outputs.objects, weights_sha256]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def finished_at(folder: Path) -> int | None:
    """Return when the run ended whose outputs lie in *folder*, in nanoseconds of the file system's clock, or None."""
    try:
        return (folder / SUMMARY).stat().st_mtime_ns
    except OSError:
        return None


def finished_digest(folder: Path) -> str | None:
    """Return the digest of the run whose outputs lie complete in *folder*, or None."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        frames, objects = int(summary["frames"]), summary["objects"]
        wanted = summary["outputs"]
        complete = (
            ("overlay" not in wanted or (folder / OVERLAY).stat().st_size > 0)
            and ("masks" not in wanted or _count(folder / MASKS) >= frames)
            and (
                "objects" not in wanted
                or all(_count(folder / OBJECTS / f"{each['id']:02d}") >= frames for each in objects)
            )
        )
        return str(summary["digest"]) or None if complete else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_output_folder(folder: Path) -> bool:
    """Tell whether *folder* holds the outputs of a run, finished or not."""
    if _is_unfinished(folder):
        return True
    return _summary(folder) is not None


def results_of_another(folder: Path, input: Path) -> str | None:
    """Return the input, as it was named, whose results lie in *folder*; None if it is *input* or there are none.

    Where it cannot be told whether it is the same, it is another.
    """
    summary = _summary(folder)
    if summary is None:
        return None
    name = str(summary.get("input") or "another input")
    place = Path(str(summary.get("path") or name))  # the name alone may be relative to any folder
    try:
        same = place.is_absolute() and os.path.samefile(place, input)
    except (OSError, ValueError):
        same = False
    return None if same else name


def _summary(folder: Path) -> dict[str, Any] | None:
    """Return what ``summary.json`` of a run says; None where there is none, or another program's."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and {"frames", "objects", "weights"} <= set(summary) else None


def _real(path: Path) -> Path:
    """Return *path* without links: unlike Path.resolve(), also where some of them lead in a circle."""
    return Path(os.path.realpath(path))


def _is_unfinished(folder: Path) -> bool:
    return os.path.isfile(folder / UNFINISHED / MARK)  # not Path.is_file(), which raises where it may not look


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _count(folder: Path) -> int:
    return sum(1 for path in folder.iterdir() if path.suffix == ".png")
