"""Reference frames of random keys, some of which know not of an object."""

from __future__ import annotations

from dataclasses import replace

import torch

from rvos_cli.model import References


def unit(*shape: int) -> torch.Tensor:
    """Return random vectors of unit length along the second axis."""
    return torch.nn.functional.normalize(torch.randn(*shape), dim=1)


def known_late() -> tuple[References, References, References]:
    """Return three frames of which the last two know of one object more, these two alone, and the last frame."""
    torch.manual_seed(3)
    first = References.of(unit(1, 64, 8, 14), torch.rand(1, 2, 8, 14))
    second, third = (References.of(unit(1, 64, 8, 14), torch.rand(1, 3, 8, 14)) for _ in range(2))
    return replace(first + second + third, sharpness=2.0), replace(second + third, sharpness=2.0), third
