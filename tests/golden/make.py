"""Make published.npz: the reference network's answers to the cases, run with ``python tests/golden/make.py``.

The answers come from ``reference.py``, which reproduces the outputs of the authors' own code to 3e-7 and shares no
code with the package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cases import CASES, FRAMES, HEIGHT, SLOTS, STEPS, WIDTH
from reference import deterministic_frames, deterministic_masks, published_states, reference_clip


def main() -> None:
    answers = {}
    frames = deterministic_frames(FRAMES, HEIGHT, WIDTH)
    for name, case in CASES.items():
        masks = None if case.objects is None else deterministic_masks(SLOTS, case.objects, HEIGHT, WIDTH)
        encoder, decoder = published_states(case.args, oneshot=case.objects is not None)
        probs = reference_clip(encoder, decoder, case.args, frames, masks).numpy()
        answers[name] = np.rint(probs * STEPS).astype(np.uint16)
    np.savez_compressed(Path(__file__).with_name("published.npz"), **answers)


if __name__ == "__main__":
    main()
