"""The mean of two networks, the second trained on from the first: it keeps what the one knew and gains the other.

``python -m rvos_cli.training.averaging FIRST SECOND SHARE OUTPUT``, where SHARE, 0..1, says how much the second counts.

After Wortsman et al., Robust fine-tuning of zero-shot models (CVPR 2022).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from rvos_cli.errors import RvosError, UsageError, WeightsError
from rvos_cli.training.start import network_differences, with_boxes
from rvos_cli.weights import Weights, build_model, load_weights, save_weights


def average(first: str | Path, second: str | Path, share: float, target: Path) -> None:
    """Write the mean of two networks' weights, in 32 bits.

    Args:
        first: name or file of weights; the result has their configuration.
        second: weights of the same network. If these know points and the first know boxes alone, points tell the first
            nothing, and the result knows them.
        share: how much the second ones count, 0..1.
        target: the file to write.

    Raises:
        UsageError: *share* is no share.
        WeightsError: one of them holds no weights, or they are of different networks.
        OutputError: *target* cannot be written.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"{share} is no share", cure="give a number from 0 to 1")
    one, other = load_weights(first), load_weights(second)
    if one.config.boxes and other.config.points and not one.config.points:
        one = _with_points(one)
    differences = network_differences(other.config, one.config)
    shapes = [{name: tensor.shape for name, tensor in weights.tensors.items()} for weights in (one, other)]
    if differences or shapes[0] != shapes[1]:
        raise WeightsError(
            f"{first} and {second} are of different networks ({', '.join(differences) or 'other tensors'})",
            cure="average weights of one recipe's line",
        )
    mixed = {
        name: (tensor.float().lerp(other.tensors[name].float(), share) if tensor.is_floating_point() else tensor)
        for name, tensor in one.tensors.items()
    }
    save_weights(target, one.config, mixed)


def _with_points(weights: Weights) -> Weights:
    config = replace(weights.config, points=True)
    model = with_boxes(build_model(weights, torch.device("cpu")), config)
    return replace(weights, config=config, tensors=model.state_dict())


def main(arguments: list[str]) -> None:
    """Average what four words say.

    Raises:
        RvosError: as ``average``; UsageError also where there are not four words, or the share is no number.
    """
    if len(arguments) != 4:
        raise UsageError("averaging needs four words", cure="give FIRST SECOND SHARE OUTPUT")
    first, second, share, target = arguments
    try:
        number = float(share)
    except ValueError as error:
        raise UsageError(f"{share} is no share", cure="give a number from 0 to 1") from error
    average(first, second, number, Path(target))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RvosError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
