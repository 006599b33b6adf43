"""The recurrent state: what one frame leaves for the next; a value, passed in and handed out.

For every slot the hidden states of its four ConvLSTMs; the cells are not carried over time (paper, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Hidden = tuple[Tensor, ...]  # stride 32 to stride 4, each (B, C, h/s, w/s)


@dataclass(frozen=True)
class RecurrentState:
    """Temporal states per slot; None in a slot's place starts it from zeros."""

    slots: tuple[Hidden | None, ...] = ()

    def slot(self, index: int) -> Hidden | None:
        """Return the hidden states of slot *index*, None where it has none yet."""
        return self.slots[index] if index < len(self.slots) else None

    def select(self, indices: Sequence[int]) -> RecurrentState:
        """Return the state of some slots, in the order given."""
        return RecurrentState(tuple(self.slot(index) for index in indices))

    def without(self, indices: Collection[int]) -> RecurrentState:
        """Return the same where some slots start anew."""
        return RecurrentState(tuple(None if index in indices else one for index, one in enumerate(self.slots)))

    def map(self, change: Callable[[Tensor], Tensor]) -> RecurrentState:
        """Return what *change* makes of each hidden state."""
        return RecurrentState(tuple(None if one is None else tuple(map(change, one)) for one in self.slots))

    def clone(self) -> RecurrentState:
        """Return a copy in memory of its own."""
        return self.map(torch.clone)
