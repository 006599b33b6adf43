"""The golden cases of this repository: what the options of the published network change, on very small frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FRAMES, SLOTS, HEIGHT, WIDTH = 3, 2, 32, 64
STEPS = 65535  # probabilities are stored as 16-bit whole numbers of this many steps


@dataclass(frozen=True)
class Case:
    """One network: the arguments it was published with, and its number of given masks (None: zero-shot)."""

    objects: int | None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def args(self) -> dict[str, Any]:
        plain = {"base_model": "resnet34", "hidden_size": 32, "kernel_size": 3, "skip_mode": "concat"}
        return {**plain, "maxseqlen": SLOTS, "only_temporal": False, "only_spatial": False, **self.options}


CASES = {
    "plain": Case(None),
    "vgg16-oneshot-mul": Case(1, {"base_model": "vgg16", "skip_mode": "mul"}),
    "oneshot-only_temporal-none": Case(2, {"only_temporal": True, "skip_mode": "none"}),
    "only_spatial-kernel1": Case(None, {"only_spatial": True, "kernel_size": 1}),
    "resnet50-oneshot-sum": Case(2, {"base_model": "resnet50", "skip_mode": "sum"}),
}
