"""From a run's weights to those that the wheel carries: 16 bits, with their entry in the manifest.

``python -m rvos_cli.training.release runs/lite/weights.safetensors weights/lite.safetensors [SIZE]``
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from rvos_cli.config import InferenceOptions
from rvos_cli.errors import RvosError, UsageError
from rvos_cli.weights import load_weights, register_weights, save_weights


@dataclass(frozen=True)
class Terms:
    """What the manifest says of weights: under which licence they come, what they are, whether they are the default."""

    license: str
    summary: str
    default: bool


TERMS = Terms(
    "Apache-2.0 (file); training data partly non-commercial, see the card",
    "Finds and follows objects; trained by rvos on DAVIS-2016 training clips and photographs set in motion.",
    default=True,
)
FREE_TERMS = Terms(
    "Apache-2.0 (file); all training data under free licences, see the card",
    "The same, trained by rvos on freely licensed photographs and cut-outs alone; finds less well.",
    default=False,
)


def release(source: Path, target: Path, *, size: int | None = None) -> None:
    """Write *source* with 16-bit convolutions to *target* and enter it in the manifest of its folder.

    A name that ends in ``-free`` promises that the weights saw nothing but free media; it never becomes the default.

    Args:
        source: weights of a run.
        target: the file to write.
        size: default short side in pixels from now on; None keeps the one of *source*.

    Raises:
        UsageError: nothing is run at this *size*.
        WeightsError: *source* holds no weights.
        OutputError: *target* cannot be written.
    """
    InferenceOptions(size=size)  # which refuses what is out of bounds
    weights = load_weights(source)
    tensors = {name: _shrink(name, tensor) for name, tensor in weights.tensors.items()}
    config = weights.config if size is None else replace(weights.config, size=size)
    terms = FREE_TERMS if target.stem.endswith("-free") else TERMS
    save_weights(target, config, tensors)
    card = f"{target.stem}.md"
    register_weights(target, license=terms.license, card=card, summary=terms.summary, default=terms.default)


def _shrink(name: str, tensor: Tensor) -> Tensor:
    # Statistics and learned scales are few, and some would leave the range of 16 bits.
    return tensor.half() if tensor.ndim >= 2 else tensor


def main(arguments: list[str]) -> None:
    """Release with two paths, from and to, and where it changes the default size.

    Raises:
        RvosError: as ``release``; UsageError also where there are not two paths, or the size is no number.
    """
    if len(arguments) not in (2, 3) or not all(size.isdecimal() for size in arguments[2:]):
        raise UsageError(
            "release needs two paths and maybe a size", cure="give the run's weights and the file to write"
        )
    release(Path(arguments[0]), Path(arguments[1]), size=int(arguments[2]) if len(arguments) == 3 else None)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RvosError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
