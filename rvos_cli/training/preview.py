"""A contact sheet of training clips, to be looked at before a training is started.

A dataset of clips enters; a PNG leaves: a clip per row, its labels coloured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.utils.data import Dataset

from rvos_cli.overlay import blend
from rvos_cli.png import DAVIS_PALETTE
from rvos_cli.training.datasets import ClipSample
from rvos_cli.training.synthesis import IGNORE
from rvos_cli.whole_files import writing_beside

GAP = 4


def contact_sheet(dataset: Dataset[ClipSample], path: Path, *, clips: int = 24) -> None:
    """Write the first *clips* clips of *dataset* as a PNG at *path*.

    Each clip is a row: its frames as the network gets them, then the same with the labels over them (ignored pixels
    grey), with its index, kind and whether it is complete.

    Raises:
        OutputError: *path* cannot be written.
    """
    rows = [_row(dataset[index], index) for index in range(clips)]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    with writing_beside(path) as beside:
        sheet.save(beside, "PNG")


def _row(sample: ClipSample, index: int) -> NDArray[np.uint8]:
    frames = sample["frames"].permute(0, 2, 3, 1).numpy()
    labels = sample["labels"].numpy()
    palette = DAVIS_PALETTE.copy()
    palette[IGNORE] = 128
    overlays = [
        blend(np.ascontiguousarray(frame), mask, palette=palette) for frame, mask in zip(frames, labels, strict=True)
    ]
    row = Image.fromarray(np.concatenate([*frames, *overlays], axis=1))
    note = f"{index} {sample['kind']}{'' if bool(sample['complete']) else ', partly labelled'}"
    draw = ImageDraw.Draw(row)
    draw.text((4, 3), note, fill=(0, 0, 0))
    draw.text((3, 2), note, fill=(255, 255, 255))
    return np.pad(np.asarray(row), ((0, GAP), (0, 0), (0, 0)))
