"""Clips whose things share one label are taken apart: outlines on a few frames enter, masks of every frame leave.

The outlines (:mod:`rvos_cli.training.outlines`) were drawn by hand for this project. From each frame that has them the
network follows the things to the middle of the gap to the next such frame, forwards and backwards. It decides only who
is who: where there is something stays what the clip's own mask says. Before a run, see ``start.py``.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rvos_cli.config import InferenceOptions
from rvos_cli.errors import DatasetError, OutputError
from rvos_cli.masks import write_indexed_png
from rvos_cli.model import RVOS
from rvos_cli.session import Session
from rvos_cli.training.library import Library, Sequence
from rvos_cli.training.outlines import IGNORED, Outline, Outlines, divide_mask, misfit, read_outlines
from rvos_cli.weights import require_task

Labels = NDArray[np.uint8]
SHORT_SIDE = 288  # of the network's frames


def _silent(name: str) -> None:
    """Take a name and say nothing."""


def divide_clips(
    library: Library,
    output: Path,
    model: RVOS,
    *,
    outlines: Outlines | None = None,
    on_clip: Callable[[str], None] = _silent,
) -> tuple[str, ...]:
    """Write the masks ``output/<clip>/<stem>.png`` of every clip of *library* that has outlines.

    A clip appears when it is whole, and one that is there is left as it is. So a call that was killed goes on where it
    was, and another one changes nothing.

    Args:
        library: the clips; those that are divided already are not looked at.
        output: a folder for this alone; made if need be.
        model: a network that can follow given objects; it is left as it is.
        outlines: None takes those of the package.
        on_clip: gets the name of each clip before the work on it.

    Returns:
        The names of the clips with outlines, whether they were there or not.

    Raises:
        DatasetError: the outlines do not fit the clips, or a picture cannot be read.
        OutputError: *output* cannot be written.
        WeightsError: the network cannot follow given objects.
    """
    outlines = outlines or read_outlines()
    clips = [clip for clip in library.sequences if clip.name in outlines.clips and not clip.divided]
    missing = [clip for clip in clips if not _is_whole(output / clip.name, clip)]
    if missing:
        require_task(model.config, "track")
        # Of its own, because what a network computes without gradients may stay with it.
        network = copy.deepcopy(model).eval()
        for clip in missing:
            on_clip(clip.name)
            _write(output / clip.name, clip, _divided(library, clip, outlines, network))
    return tuple(clip.name for clip in clips)


def _is_whole(folder: Path, clip: Sequence) -> bool:
    return {path.name for path in folder.glob("*.png")} == {path.with_suffix(".png").name for path in clip.images}


def _write(folder: Path, clip: Sequence, masks: Iterator[tuple[int, Labels]]) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a call that was killed
    try:
        part.mkdir(parents=True)
        for place, labels in masks:
            write_indexed_png(part / f"{clip.images[place].stem}.png", labels)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}", cure="choose another place") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _divided(library: Library, clip: Sequence, outlines: Outlines, network: RVOS) -> Iterator[tuple[int, Labels]]:
    """Yield each frame's place in the clip and its mask, in the order in which they are known."""
    keys = _keys(clip, outlines.clips[clip.name])
    first = [_divided_by_hand(library, clip, place, drawn, outlines) for place, drawn in keys.items()]
    places = list(keys)
    # The middle of a gap goes with the frame before it.
    ends = [(one + other) // 2 for one, other in pairwise(places)]
    stops = [*ends, len(clip.images) - 1]
    starts = [0, *(end + 1 for end in ends)]
    for place, labels, start, stop in zip(places, first, starts, stops, strict=True):
        yield place, labels
        yield from _followed(library, clip, place, labels, range(place + 1, stop + 1), network)
        yield from _followed(library, clip, place, labels, range(place - 1, start - 1, -1), network)


def _keys(clip: Sequence, drawn: Mapping[str, tuple[Outline, ...]]) -> dict[int, tuple[Outline, ...]]:
    places = {path.stem: place for place, path in enumerate(clip.images)}
    unknown = sorted(drawn.keys() - places.keys())
    if unknown:
        raise DatasetError(
            f"{clip.name} has outlines for frame {unknown[0]}, and no such frame",
            cure="copy the clip again, all its frames under their own names",
        )
    return {places[stem]: drawn[stem] for stem in sorted(drawn, key=places.__getitem__)}


def _divided_by_hand(
    library: Library, clip: Sequence, place: int, drawn: tuple[Outline, ...], outlines: Outlines
) -> Labels:
    mask, name = library.labels(clip.masks[place]), str(clip.masks[place])
    union = _union(mask)
    if library.rgb(clip.images[place]).shape[:2] != mask.shape or len(np.unique(mask[union])) > 1:
        raise misfit(f"{name} is not of the size of its picture, or has several labels already")
    labels = divide_mask(union, drawn, outlines.size, name)
    return np.where(mask == IGNORED, mask, labels)


def _followed(
    library: Library, clip: Sequence, place: int, labels: Labels, order: range, network: RVOS
) -> Iterator[tuple[int, Labels]]:
    """Follow the things of the frame at *place*, whose mask is *labels*, through the frames at *order*."""
    if not order:
        return
    inside = _union(library.labels(clip.masks[place]))
    given = np.where(inside, labels, 0).astype(np.uint8)
    # What is to be ignored is followed like a thing, so that no other thing gets it.
    stand_in = int(given[given != IGNORED].max(initial=0)) + 1
    given[given == IGNORED] = stand_in
    session = Session(
        network,
        options=InferenceOptions(size=SHORT_SIDE),
        device=next(network.parameters()).device,
        first_mask=given,
    )
    with closing(session):
        session.step(library.rgb(clip.images[place]))
        for index in order:
            mask = library.labels(clip.masks[index])
            found = _spread(session.step(library.rgb(clip.images[index])), _union(mask))
            found[(found == stand_in) | (mask == IGNORED)] = IGNORED
            yield index, found


def _union(mask: Labels) -> NDArray[np.bool_]:
    union: NDArray[np.bool_] = (mask > 0) & (mask != IGNORED)
    return union


def _spread(labels: Labels, union: NDArray[np.bool_]) -> Labels:
    """Give each pixel of *union* its nearest label in there, and the others none; without any label it is object 1."""
    known = (labels > 0) & union
    if not known.any():
        return union.astype(np.uint8)
    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.where(union, labels[rows, columns], 0).astype(np.uint8)
