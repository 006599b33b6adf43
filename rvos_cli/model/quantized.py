"""Attention in 8 bits: keys and queries of float32 enter, for each query the mean of the values leaves.

A processor with instructions for it (VNNI) multiplies 8-bit numbers several times as fast as float32 ones, and what it
adds up, an integer, is the logit in small steps. Such a step can be chosen so that the integer, plus a constant, is the
bit pattern of the exponential as a float32, straight lines between the powers of two aside: the exponent stands in the
upper bits (Schraudolph, A Fast, Compact Approximation of the Exponential Function, 1999). So one multiplication of
integers takes the place of a conversion and an exponential. The lines are at most 6% above the curve; a softmax divides
most of that out again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rvos_cli.model.reading import read_blockwise

LOWEST_LOGIT = -84.0  # some way above the logarithm of the smallest float32 that has an exponent of its own
LARGEST_INTEGER = 127
DOUBLING = 1 << 23  # a float32's bits, read as an integer, grow by this from one power of two to the next
ONE = 127 * DOUBLING  # the bits of 1.0


@dataclass(frozen=True)
class QuantizedKeys:
    """Keys in 8 bits, and what makes queries of their kind.

    Args:
        keys: (D, M) int8.
        factors: (D, 1), by which a query is multiplied before it is rounded.
        step: the logit that 1 in a product of the two stands for.
    """

    keys: Tensor
    factors: Tensor
    step: float

    def read(self, q: Tensor, values: Tensor) -> Tensor:
        """Attend with (D, L) and read (N, M): (N, L); no product may be beyond what ``exp`` can bear."""
        small = q.mul(self.factors).round_().clamp_(-LARGEST_INTEGER, LARGEST_INTEGER).to(torch.int8)
        slope = round(DOUBLING * self.step / math.log(2))
        one = torch.tensor(ONE, dtype=torch.int32)

        def weigh(keys: slice, queries: slice, out: Tensor) -> Tensor:
            bits = out.view(torch.int32)
            torch._int_mm(self.keys[:, keys].t(), small[:, queries], out=bits)
            torch.add(one, bits, alpha=slope, out=bits)
            return out

        return read_blockwise(weigh, values, q.shape[1])


def quantize(k: Tensor, widths: Tensor, query_widths: Tensor) -> QuantizedKeys:
    """Round keys (D, M) to 8 bits.

    A channel's queries and keys are brought to one range, so that neither of them rounds away more than the other.

    Args:
        k: no channel reaches further from zero than *widths*.
        widths: (D,), more than 0.
        query_widths: (D,), more than 0; queries are cut off there.
    """
    step = float((widths * query_widths).amax()) / LARGEST_INTEGER**2
    balance = (query_widths / widths).sqrt()[:, None] / math.sqrt(step)
    return QuantizedKeys(k.mul(balance).round_().to(torch.int8), 1 / (balance * step), step)


@functools.cache
def can_quantize() -> bool:
    """Whether this processor has the instructions, and this torch uses them and adds up correctly."""
    # torch 2.11 has both of these; older ones may not.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not (capabilities.get("avx512_vnni") or capabilities.get("avx_vnni")):
        return False
    left, right = (torch.full((32, 32), value, dtype=torch.int8) for value in (127, -127))
    try:
        return bool((torch._int_mm(left, right) == -32 * 127 * 127).all())
    except (AttributeError, RuntimeError):  # a build without it
        return False
