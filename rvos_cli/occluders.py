"""What slid in front of an object and is followed in its place: the keys of a frame and of those before it tell.

A network that has followed an object to the edge of what hides it goes on with that. But such a thing was in the
picture a moment before, beside the object, and looks more like what it was then than like the object. Used by
``matching_tracker.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.continuity import Cells
from rvos_cli.motion import positions


@dataclass(frozen=True, kw_only=True)
class OccluderRules:
    """When a mask is of something else than its object. Distances are logits of matching.

    Args:
        places: so many of a mask's places are looked at, evenly thinned out,
        share: and of these, those most like the object: at its rim an object looks like what is around it.
        unlike: they are farther than this from what the object looks like, on average,
        nearer: and by more than this nearer to what nobody was in
        since: so many frames before.
        sure: those that are no farther than this tell how it looks from then on as well: where the picture is blurred,
            shaken or dazzled bit by bit, all in it comes to look like something else.
    """

    places: int = 128
    share: float = 0.5
    unlike: float = 8.0
    nearer: float = 3.0
    since: int = 4
    sure: float = 4.0


@dataclass(frozen=True)
class _Frame:
    """Keys (D, P) of a frame, and where each object was followed in it, (P,)."""

    keys: Tensor
    where: dict[int, Cells]

    def shows(self, identity: int) -> bool:
        """Say whether an object was followed in it."""
        return identity in self.where and bool(self.where[identity].any())

    @cached_property
    def of_nobody(self) -> Tensor:
        """The keys (Q, D) of the places in which no object was followed."""
        return self.at(np.flatnonzero(~np.logical_or.reduce(list(self.where.values()))))

    def at(self, places: NDArray[np.int64]) -> Tensor:
        """Return the keys (..., D) of *places* (...)."""
        return self.keys.T[torch.from_numpy(places).to(self.keys.device, non_blocking=True)].float()


class Occluders:
    """Remembers how the last frames looked, and says whose masks are of what slid in front of their objects."""

    rules = OccluderRules()

    def __init__(self, temperature: float, looks: Mapping[int, Tensor] | None = None) -> None:
        """Know of no frame.

        Args:
            temperature: makes logits of matching of the keys' cosines.
            looks: keys (K, D) of what objects look like, as far as that is known.
        """
        self._temperature = temperature
        self._looks = dict(looks or {})  # where each was given or found, first and last: (2K, D)
        self._lately = {identity: look[-self._half :] for identity, look in self._looks.items()}
        self._frames: deque[_Frame] = deque(maxlen=self.rules.since)
        self._asked: list[int] = []
        self._answers: Tensor | None = None

    @property
    def _half(self) -> int:
        return round(self.rules.share * self.rules.places)

    def anew(self) -> Occluders:
        """Return another one that knows what the objects look like, and of no frame."""
        return Occluders(self._temperature, self._looks)

    def instead(self) -> frozenset[int]:
        """Return the objects in whose place something else was followed in the last frame."""
        answers = [] if self._answers is None else self._answers.tolist()
        return frozenset(one for one, nearer in zip(self._asked, answers, strict=True) if nearer > self.rules.nearer)

    def note(self, ids: Sequence[int], places: Sequence[Cells], keys: Tensor, *, sure: Collection[int]) -> None:
        """Look at a frame that has been dealt with, and remember it.

        Args:
            ids: of the objects, slot by slot.
            places: where they are, (h/4, w/4) each.
            keys: (1, D, h/8, w/8), of the frame, in memory of their own.
            sure: those that were given or found in it: so they look.
        """
        self._looks = {identity: look for identity, look in self._looks.items() if identity in ids}
        where = {identity: positions(cells).ravel() for identity, cells in zip(ids, places, strict=True)}
        frame = _Frame(keys[0].flatten(1), where)
        before = self._frames[0] if len(self._frames) == self.rules.since else _Frame(frame.keys, {})
        asked = (one for one in ids if one in self._looks and one not in sure)
        self._asked = [one for one in asked if frame.shows(one) and before.shows(one)]
        # Read in the next frame: by then a GPU has answered, which nobody has waited for.
        answers = self._nearer(frame, before) if self._asked else None
        self._answers = None if answers is None else answers.to("cpu", non_blocking=answers.is_cuda)
        self._frames.append(frame)
        for identity, cells in zip(ids, places, strict=True):
            if identity in sure and cells.any():
                self._know(identity, frame.at(_some(_inner(cells), self.rules.places)))

    def _know(self, identity: int, look: Tensor) -> None:
        """Know an object by how it looked at first, and by how it does now."""
        first = self._looks.get(identity, look)[: self.rules.places]
        self._looks[identity] = torch.cat([first, look])
        self._lately[identity] = look[: self._half]

    def _nearer(self, frame: _Frame, before: _Frame) -> Tensor:
        """Return how much nearer the places of those N *asked* for are to what was around than to them, (N,).

        Returns:
            0 for those that are like themselves.
        """
        places = frame.at(np.stack([_some(frame.where[one], self.rules.places) for one in self._asked]))
        lately = torch.stack([self._lately[one] for one in self._asked])
        looks = torch.cat([torch.stack([self._looks[one] for one in self._asked]), lately], dim=1)
        likest = (places @ looks.mT).amax(dim=2).topk(self._half, dim=1)
        places = places.gather(1, likest.indices[..., None].expand(-1, -1, places.shape[2]))
        own = self._temperature * (1 - likest.values)
        lately = torch.where((own <= self.rules.sure)[..., None], places, lately)
        self._lately |= zip(self._asked, lately, strict=True)
        far = own.mean(dim=1)
        unlike = far > self.rules.unlike
        # On a processor there is mostly nothing more to do; a GPU would have to be waited for.
        if not len(before.of_nobody) or (unlike.is_cpu and not unlike.any()):
            return torch.zeros_like(far)
        around = self._temperature * (1 - (places @ before.of_nobody.T).amax(dim=2).mean(dim=1))
        return unlike * (far - around)


def _some(inside: Cells, count: int) -> NDArray[np.int64]:
    """Return so many of the places (P,) that are inside, spread evenly over them; of few some several times."""
    places = np.flatnonzero(inside)
    return places[np.arange(count) * len(places) // count]


def _inner(cells: Cells) -> Cells:
    """Return the places (P,) of which all is in *cells* (h/4, w/4); where there are none, those of which some is."""
    inner = ~positions(~cells)
    return (inner if inner.any() else positions(cells)).ravel()
