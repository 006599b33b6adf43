"""What a batch has to do: a folder tree enters, a job for each input leaves, with its mask and a place of its own.

Says also what has been done before: which job is finished, and whose results lie in its place. ``batch.py`` does the
jobs.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from rvos_cli.config import InferenceOptions, OutputOptions
from rvos_cli.errors import InputError, MaskError, OutputError
from rvos_cli.given_masks import GivenMasks
from rvos_cli.outputs import (
    DEFAULT_ROOT,
    FINAL_NAMES,
    UNFINISHED,
    finished_digest,
    is_output_folder,
    results_of_another,
)
from rvos_cli.segmenter import Segmenter
from rvos_cli.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, image_names, natural_key, number_of, stem_of
from rvos_cli.unreadable import UNREADABLE

MASK_FOLDERS = frozenset({"masks", "annotations"})
# Tried one by one: to list a folder for each of its videos takes long where there are thousands.
PNG_SUFFIXES = tuple("." + "".join(letters) for letters in itertools.product("pP", "nN", "gG"))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One input with the mask of its first frame, the folder of whole masks of any frames, and that for its outputs."""

    input: Path
    first_mask: Path | None
    output: Path
    frame_masks: Path | None = None

    @property
    def mode(self) -> Literal["segment", "track"]:
        """What is to be done: without a mask the objects are found."""
        return GivenMasks(self.first_mask, frame_masks=self.frame_masks).task


def plan(
    folder: str | Path,
    *,
    output: str | Path = DEFAULT_ROOT,
    masks: str | Path | None = None,
    frame_masks: str | Path | None = None,
) -> tuple[Job, ...]:
    """List the jobs below *folder* in the order of their names, folder by folder.

    Inputs are video files and frame folders: folders that directly hold images (first masks do not count; where the
    first of the others is a palette image, all are taken for masks) and no video. Hidden folders, folders of masks and
    folders of outputs are left out, the root of the outputs and the folder of the masks above all.

    The first mask of ``a/b.mp4`` or of the frame folder ``a/b`` is the first of these that is there: in *masks*
    ``a/b.png``, the first PNG of ``a/b/``, ``b.png``, the first PNG of ``b/``; beside the input ``b.png``. The suffix
    may be in capitals.

    Whole masks of its frames lie in *frame_masks* under the name of its folder of outputs, ``a/b/`` or else ``b/``. If
    one is of the first frame, the first mask is left out.

    Raises:
        InputError: there is no such folder, or no input in it.
        MaskError: there is no folder *masks* or *frame_masks*, or the masks in the latter are of none of the inputs.
    """
    root, out = (Path(os.path.expanduser(path)) for path in (folder, output))
    mask_root, frame_mask_root = (
        None if path is None else Path(os.path.expanduser(path)) for path in (masks, frame_masks)
    )
    if os.path.isfile(root):
        raise InputError(f"{root} is a file, not a folder", cure="give it to 'rvos segment' or 'rvos track'")
    # Not Path.is_dir(), which raises where a folder above may not be searched.
    if not os.path.isdir(root):
        raise InputError(f"there is no folder {root} that can be read", cure="give the folder that holds the videos")
    for path, cure in (
        (mask_root, "give the folder of the first masks with --masks"),
        (frame_mask_root, "give the folder of the inputs' folders of masks with --frame-masks"),
    ):
        if path is not None and not os.path.isdir(path):
            raise MaskError(f"there is no folder {path} that can be read", cure=cure)
    # Not Path.resolve(), which raises where links lead in a circle.
    barred = {Path(os.path.realpath(path)) for path in (out, mask_root, frame_mask_root) if path is not None}
    jobs: list[Job] = []
    for place in _walk(root, barred):
        inputs = _inputs_of(place, barred)
        if place == root and _is_frame_folder(root):
            inputs.append(root)
        parent = Path() if place == root else place.relative_to(root)
        for path, stem in zip(inputs, distinct_stems(inputs), strict=True):
            whole = _find_frame_masks(parent, stem, frame_mask_root)
            mask = None if whole is not None and _has_first(whole, path) else _find_mask(path, parent, mask_root)
            jobs.append(Job(input=path, first_mask=mask, output=out / parent / stem, frame_masks=whole))
    if not jobs:
        raise InputError(f"there is no video and no frame folder below {root}", cure="check the folder's name")
    if frame_mask_root is not None and not any(job.frame_masks for job in jobs) and unused_masks(jobs, frame_mask_root):
        raise MaskError(
            f"{frame_mask_root} has masks, but of no input below {root}",
            cure=f"put those of {stem_of(jobs[0].input)} into {frame_mask_root / jobs[0].output.name}",
        )
    places = {_folded(job.output) for job in jobs}
    return tuple(replace(job, output=_outside_results(job.output, places)) for job in jobs)


def _outside_results(output: Path, places: set[Path]) -> Path:
    """Return *output*, moved if it is where the results of another job will lie; *places* are those of all, folded."""
    for folder in output.parents:
        if _folded(folder.parent) in places and folder.name.casefold() in (*FINAL_NAMES, UNFINISHED):
            others = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
            taken = {above for place in places for above in (place, *place.parents)}
            free = next(other for other in others if _folded(other) not in taken)
            return free / output.relative_to(folder)
    return output


def _folded(path: Path) -> Path:
    """Return what *path* has in common with those that differ from it in case only, which may be one folder."""
    return Path(str(path).casefold())


def distinct_stems(inputs: Sequence[Path]) -> list[str]:
    """Name the output folder of each input: its stem, or ``stem-suffix``, ``stem-2``, ... where two would meet.

    Names that differ in case only meet, too: macOS and Windows have one folder for both.
    """
    stems = [stem_of(path) for path in inputs]
    counts = Counter(stem.casefold() for stem in stems)
    taken = {*FINAL_NAMES, UNFINISHED}
    names = []
    for path, stem in zip(inputs, stems, strict=True):
        alone = counts[stem.casefold()] == 1 or os.path.isdir(path)
        name = stem if alone else f"{stem}-{path.suffix.lstrip('.').lower()}"
        choices = (name, *(f"{name}-{number}" for number in range(2, len(inputs) + 3)))
        names.append(next(choice for choice in choices if choice.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def _walk(folder: Path, barred: set[Path], above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield *folder* and those below it that may hold inputs; a link to a folder above is not followed."""
    yield folder
    above |= {folder.resolve()}
    for child in _children(folder):
        if os.path.isdir(child) and child.resolve() not in above and not _is_left_out(child, barred):
            yield from _walk(child, barred, above)


def _inputs_of(folder: Path, barred: set[Path]) -> list[Path]:
    """Return the videos and the frame folders directly in *folder*."""
    return [
        child
        for child in _children(folder)
        if (child.suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(child))
        or (os.path.isdir(child) and not _is_left_out(child, barred) and _is_frame_folder(child))
    ]


def _children(folder: Path) -> list[Path]:
    try:
        children = (child for child in folder.iterdir() if not child.name.startswith("."))
        return sorted(children, key=lambda child: natural_key(child.name))
    except PermissionError:
        return []


def _is_left_out(folder: Path, barred: set[Path]) -> bool:
    return folder.resolve() in barred or folder.name.lower() in MASK_FOLDERS or is_output_folder(folder)


def _is_frame_folder(folder: Path) -> bool:
    children = _children(folder)
    if any(child.suffix.lower() in VIDEO_SUFFIXES for child in children):
        return False  # images beside videos are masks and thumbnails
    masked = {child.name for child in children if os.path.isdir(child)}
    images = [
        child
        for child in children
        if child.suffix.lower() in IMAGE_SUFFIXES
        and os.path.isfile(child)
        and not (child.suffix.lower() == ".png" and child.stem in masked)
    ]
    return bool(images) and not _is_palette_image(images[0])


def _is_palette_image(path: Path) -> bool:
    """Tell whether a PNG is a mask by its make: photographs are neither palette nor bilevel images."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path) as image:
            return image.mode in ("P", "1")
    except UNREADABLE:
        return False  # its own job will tell


def _find_mask(path: Path, parent: Path, masks: Path | None) -> Path | None:
    stem = stem_of(path)
    # A frame folder may be given as "." and then has neither name nor parent in its path.
    places = [Path(os.path.abspath(path)).parent if path.name in ("", "..") else path.parent]
    if masks is not None:
        places = [masks / parent, masks, *places]
    for place in places:
        beside = (place / f"{stem}{suffix}" for suffix in PNG_SUFFIXES)
        mask = next((path for path in beside if os.path.isfile(path)), None)
        if mask is not None:
            return mask
        if masks is not None and place in (masks / parent, masks) and os.path.isdir(place / stem):
            images = [child for child in _children(place / stem) if child.suffix.lower() == ".png"]
            if images:
                return images[0]
    return None


def _find_frame_masks(parent: Path, stem: str, masks: Path | None) -> Path | None:
    places = [] if masks is None else [masks / parent / stem, masks / stem]
    return next((place for place in places if os.path.isdir(place)), None)


def unused_masks(jobs: Sequence[Job], frame_masks: Path) -> list[Path]:
    """Return the folders of *frame_masks*, itself included, that hold images which are of none of the jobs."""
    inputs = {path for job in jobs for path in (job.input, job.frame_masks)}
    first = {job.first_mask for job in jobs}
    below = (Path(folder) for folder, _, _ in os.walk(frame_masks))
    shown = (path for path in below if not any(part.startswith(".") for part in path.relative_to(frame_masks).parts))
    return [
        folder
        for folder in sorted(shown)
        if folder not in inputs
        and any(child.suffix.lower() in IMAGE_SUFFIXES and child not in first for child in _children(folder))
    ]


def no_first_mask_of(jobs: Sequence[Job], root: Path, masks: Path) -> bool:
    """Return whether *masks* has no first mask of any of the jobs below *root*."""

    def is_from_there(job: Job) -> bool:
        places = (masks, masks / os.path.relpath(job.input.parent, root))
        stem, mask = stem_of(job.input), job.first_mask
        return mask is not None and (mask.parent in places or mask.parent in [place / stem for place in places])

    return not any(is_from_there(job) or (job.frame_masks and _has_first(job.frame_masks, job.input)) for job in jobs)


def _has_first(masks: Path, path: Path) -> bool:
    """Return whether a folder of masks has one of the first frame of an input."""
    try:
        stems = {Path(name).stem for name in image_names(masks)}
        if os.path.isdir(path):
            return Path(image_names(path)[0]).stem in stems
    except OSError:
        return False  # its own job will tell
    return any(number_of(stem) == 0 for stem in stems)


def is_finished(model: Segmenter, job: Job, inference: InferenceOptions, outputs: OutputOptions) -> bool:
    """Return whether a job's outputs are complete, of the same input with the same mask, options and weights."""
    found = finished_digest(job.output)
    if found is None:
        return False
    inference = replace(inference, half=model.half)
    if job.mode == "track":
        inference = replace(inference, max_objects=InferenceOptions.max_objects)  # the masks say how many
    return found == model.digest(job.input, job.first_mask, job.frame_masks, inference=inference, outputs=outputs)


def may_replace(job: Job) -> bool:
    """Return whether all that lies in the place of a job's outputs was left there by runs of the same input.

    Raises:
        OutputError: they are the results of another input.
    """
    other = results_of_another(job.output, job.input)
    if other is not None:
        raise OutputError(
            f"{job.output} holds the results of {other}",
            cure="choose another root with --output, or replace them with --force",
        )
    return is_output_folder(job.output)
