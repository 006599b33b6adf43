"""What scripts have in common that measure weights on folders of clips, frames with true masks.

Enters: a script's words. Leaves: what was chosen, the model, and the two lines that stand above every table; and of a
folder, its frames and masks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from speed_machine import processor, shown_command

import rvos_cli as rvos
from rvos_cli.errors import DatasetError
from rvos_cli.evaluation import read_mask

Labels = NDArray[np.uint8]


def clip_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of clips, weights and device; *doc* is the script's."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="a folder of frames and masks")
    parser.add_argument("--weights", default="lite", metavar="NAME|PATH")
    parser.add_argument("--device", default="auto")
    return parser


def begin(
    parser: argparse.ArgumentParser, words: Sequence[str] | None, script: str
) -> tuple[argparse.Namespace, rvos.Segmenter]:
    """Return what the words choose and the model; print the day, the machine, the weights and the command."""
    chosen = parser.parse_args(words)
    model = rvos.load_model(chosen.weights, device=chosen.device)
    print(f"{date.today()}, {processor()}, torch {torch.__version__}, {chosen.weights} {model.sha256[:8]}\n")
    print(f"`{shown_command(script, sys.argv[1:])}`\n", flush=True)
    return chosen, model


def read_clip(folder: Path) -> tuple[list[Labels], list[Labels]]:
    """Return the frames (H, W, 3) of a folder and its true masks (H, W), beside them or as DAVIS has them.

    Raises:
        DatasetError: not every frame has its mask.
    """
    beside = Path(*("Annotations" if part == "JPEGImages" else part for part in folder.parts))
    frames, masks = sorted(folder.glob("*.jpg")), sorted(beside.glob("*.png"))
    if not frames or [path.stem for path in frames] != [path.stem for path in masks]:
        raise DatasetError(f"{folder} is no clip", cure="every frame (.jpg) needs a mask (.png)")
    return [np.asarray(Image.open(path).convert("RGB")) for path in frames], [read_mask(path) for path in masks]
