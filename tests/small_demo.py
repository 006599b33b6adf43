"""The demo clip, half as high and wide, its mask, and the shipped network that looks at them at a small size."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_cli.cli.demo import demo_files
from rvos_cli.config import InferenceOptions
from rvos_cli.masks import read_labels
from rvos_cli.model import RVOS
from rvos_cli.segmenter import load_model
from rvos_cli.session import Session
from rvos_cli.sources import open_source

Picture = NDArray[np.uint8]
SMALL = InferenceOptions(size=192)


@dataclass
class Pictured:
    image: Picture


@functools.cache
def lite() -> RVOS:
    return load_model("lite", device="cpu", half=False, compiled=False)._model


@functools.cache
def clip() -> list[Picture]:
    """Return 28 frames."""
    with open_source(demo_files()[0]) as source:
        return [frame.image[::2, ::2].copy() for frame in itertools.islice(source, 28)]


def first_mask() -> Picture:
    return read_labels(demo_files()[1])[::2, ::2].copy()


def labels_of(session: Session, frames: Sequence[Picture]) -> list[Picture]:
    answers = [session.step(frame.image) for frame in session.looking_ahead(map(Pictured, frames))]
    session.close()
    return answers
