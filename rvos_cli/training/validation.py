"""How good the network is by now: averaged weights enter; scores, a picture and the best weights leave.

Some frames of each sequence of a data set are run as ``rvos track`` and ``rvos segment`` would run them, and scored by
J&F of all objects as one (the task foreground of ``evaluation``). Only the first process of a run does this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Several
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rvos_cli.config import InferenceOptions
from rvos_cli.device import choose_dtype
from rvos_cli.errors import DatasetError
from rvos_cli.evaluation import Sequence, SequenceScorer, load_dataset
from rvos_cli.model import RVOS
from rvos_cli.session import Session
from rvos_cli.training.contact_sheet import ContactSheet
from rvos_cli.training.run_options import TrainOptions
from rvos_cli.weights import save_weights

BEST = "best.safetensors"
MODES = ("one-shot", "zero-shot")
FEWEST_MASKS = 3  # the first and the last frame are not scored
# Where a DAVIS root lists the sequences that nobody trains on.
HELD_OUT = {
    "ImageSets/2017/val.txt": "davis2017",
    "ImageSets/480p/val.txt": "davis2016",
    "ImageSets/2016/val.txt": "davis2016",
}


@dataclass(frozen=True)
class ValidationReport:
    """After how many steps, J&F (0..1) of what the network can do, their mean, whether it is the best, the picture."""

    step: int
    scores: Mapping[str, float]
    score: float
    best: bool
    picture: Path
    seconds: float


class Validation:
    """The validations of one run: when one is due, what they gave, and when patience is at its end."""

    def __init__(self, options: TrainOptions, device: torch.device, before: Several[tuple[int, float]]) -> None:
        """Prepare the validations of a run.

        Args:
            options: of the run.
            device: that the network runs on.
            before: step and score of the validations that an earlier start of the run made.

        Raises:
            DatasetError: the folder has not the layout of a data set, or too few masks.
        """
        config = options.recipe.model
        self.modes = [mode for mode, able in zip(MODES, (config.can_track, config.can_segment), strict=True) if able]
        self.sequences = held_out_sequences(options)
        self._options, self._device = options, device
        self._steps, self._scores = [step for step, _ in before], [score for _, score in before]
        self._network: RVOS | None = None

    def due(self, step: int) -> bool:
        """Return whether a validation is wanted after *step* steps, and has not been made."""
        on_time = step % self._options.validate_every == 0 or step == self._options.recipe.steps
        return on_time and step > 0 and step not in self._steps

    @property
    def exhausted(self) -> bool:
        """Whether the last *patience* validations were no better than one before them."""
        patience, scores = self._options.patience, self._scores
        return 0 < patience < len(scores) and max(scores[:-patience]) >= max(scores[-patience:])

    def run(self, step: int, tensors: Mapping[str, Tensor], stopped: Callable[[], bool]) -> ValidationReport | None:
        """Score the network of *tensors*, draw it, and keep it as best.safetensors if there was no better one.

        Returns:
            None if *stopped* said yes on the way; then the validation is still due.

        Raises:
            OutputError: a file cannot be written.
        """
        began = time.monotonic()
        network = self._load(tensors)
        sheet = ContactSheet()
        scores: dict[str, list[float]] = {mode: [] for mode in self.modes}
        for sequence in self.sequences:
            for mode in self.modes:
                score = self._score(network, sequence, mode, sheet, stopped)
                if score is None:
                    return None
                scores[mode].append(score)
        means = {mode: sum(values) / len(values) for mode, values in scores.items()}
        score = sum(means.values()) / len(means)
        best = score > max(self._scores, default=-1.0)
        if best:
            save_weights(self._options.output / BEST, network.config, tensors)
        picture = self._options.output / "validation" / f"step-{step:06d}.png"
        sheet.save(picture)
        self._steps.append(step)
        self._scores.append(score)
        return ValidationReport(step, means, score, best, picture, time.monotonic() - began)

    def _load(self, tensors: Mapping[str, Tensor]) -> RVOS:
        if self._network is None:
            self._network = RVOS(self._options.recipe.model).to(self._device).eval()
        self._network.load_state_dict(tensors)
        return self._network

    def _score(
        self, network: RVOS, sequence: Sequence, mode: str, sheet: ContactSheet, stopped: Callable[[], bool]
    ) -> float | None:
        scorer = SequenceScorer("foreground", name=sequence.name)
        first = next(sequence.given(late=False)) if mode == MODES[0] else None
        session = Session(
            network,
            options=InferenceOptions(),
            device=self._device,
            dtype=choose_dtype(self._device),
            first_mask=first,
        )
        row = sheet.row(len(sequence.frames))
        with closing(session), closing(sequence.images()) as images:
            for path, image in zip(sequence.frames, images, strict=True):
                if stopped():
                    return None
                labels = session.step(image)
                truth = sequence.truth(path.stem)
                if truth is not None:
                    scorer.feed(labels, truth)
                row.add(image, labels)
        score = scorer.finish().jf
        row.caption = f"{sequence.name}, {mode}, J&F {score:.3f}"
        return score


def held_out_sequences(options: TrainOptions) -> list[Sequence]:
    """Return the sequences to look at, cut to the frames from their first mask on.

    Raises:
        DatasetError: the folder has not the layout of a data set, or not the list of what is held out.
    """
    if options.validate is None:
        return []
    root = Path(os.path.expanduser(options.validate))
    name = next((name for held_out, name in HELD_OUT.items() if (root / held_out).is_file()), "folder")
    if name == "folder" and (root / "ImageSets").is_dir():  # all of it would be looked at, what is trained on as well
        raise DatasetError(
            f"{root} lists no held-out sequences", cure=f"it should have one of {', '.join(HELD_OUT)}; unpack it again"
        )
    dataset = load_dataset(name, root)
    return [_cut(sequence, options.validate_frames) for sequence in dataset.sequences]


def _cut(sequence: Sequence, masks: int) -> Sequence:
    places = [place for place, path in enumerate(sequence.frames) if path.stem in sequence.masks]
    while places and not _shows_something(sequence, places[0]):
        del places[0]
    del places[masks:]
    if len(places) < FEWEST_MASKS:
        raise DatasetError(
            f"{sequence.name} has {len(places)} true masks from its first object on, of which none can be scored",
            cure=f"validate with sequences of {FEWEST_MASKS} masks or more",
        )
    return replace(sequence, frames=sequence.frames[places[0] : places[-1] + 1])


def _shows_something(sequence: Sequence, place: int) -> bool:
    truth = sequence.truth(sequence.frames[place].stem)
    return truth is not None and bool(truth.any())
