"""The matching cue: a frame's keys and the reference frames enter, a first guess of every object's mask leaves.

Every position of the new frame looks for its like in reference frames and reads their masks there. Two readings are
made: one from the kept references, wherever the like may be, and one from the last frame, where what is near counts
more; how near is learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rvos_cli.model.quantized import LOWEST_LOGIT, QuantizedKeys, quantize
from rvos_cli.model.reading import BegunReading, Reading, read_fused, read_in_blocks, read_where_needed
from rvos_cli.model.references import References, of_shares, values_with_shares

LARGEST_LOGIT = 74.0  # the sum of the exponentials of a million such is still a float32
LEAST_WIDTH = 0.5  # as far as 8-bit channels reach at least: there may be more in a frame than in its references
LARGEST_EXCESS = 30.0  # taken from every logit, leaves what is alike at all, -0.5 and more, above what exp makes zero


class MatchingCue(nn.Module):
    """Keys at stride 8 from the features at strides 8 and 16, and attention over reference frames."""

    def __init__(self, key_dim: int, channels_8: int, channels_16: int) -> None:
        """Build the key projections; temperature and locality are learned."""
        super().__init__()
        self.fine = nn.Conv2d(channels_8, key_dim, 3, padding=1)
        self.coarse = nn.Conv2d(channels_16, key_dim, 1)
        self.log_temperature = nn.Parameter(torch.tensor(2.5))
        # Standard deviation of the distance at which a match counts, in short sides: kept frames, last frame.
        self.log_reach = nn.Parameter(torch.tensor([0.7, -1.4]))
        self.quantized = False  # whether to compare in 8 bits where that can be done, see ``quantized``
        self._rounded: dict[int, tuple[Tensor, object, list[QuantizedKeys]]] = {}  # of each kind the newest

    @property
    def temperature(self) -> float:
        """What the cosine of two keys is multiplied by to be a logit, before any sharpness."""
        return float(self.log_temperature.detach().exp())

    def keys(self, x8: Tensor, x16: Tensor) -> Tensor:
        """Return keys (B, D, h/8, w/8) of unit length from the trunk's features at strides 8 and 16."""
        return unit_keys(self.project(x8, x16))

    def project(self, x8: Tensor, x16: Tensor) -> Tensor:
        """Return keys (B, D, h/8, w/8) of any length."""
        coarse = F.interpolate(self.coarse(x16), size=x8.shape[-2:], mode="bilinear", align_corners=False)
        projected: Tensor = self.fine(x8) + coarse
        return projected

    def forward(self, query: Tensor, kept: References, last: References, begun: BegunReading | None = None) -> Tensor:
        """Read the masks at the places like each position of the frame.

        Args:
            query: keys of the frame, (B, D, h/8, w/8).
            kept: the first frame and some later ones, N objects.
            last: the frame before, N objects.
            begun: what ``begin`` returned for this query and these kept frames.

        Returns:
            (B, 2, N, h/8, w/8), 0..1: the reading of the kept frames, then of the last frame.
        """
        if _on_a_processor(query):
            rounds = [begun or self.begin(query, kept), self._begun(query, last, 1)]
            return read_where_needed(rounds, last.masks[:, :, -1])
        readings = [self._reading(query, kept, 0), self._reading(query, last, 1)]
        everywhere = torch.arange(query.shape[-2] * query.shape[-1], device=query.device)
        read = torch.stack([reading(everywhere) for reading in readings], dim=1)
        return read.reshape(*read.shape[:3], *query.shape[-2:])

    def begin(self, query: Tensor, kept: References) -> BegunReading:
        """Begin to read the kept frames, for which the frame before is not needed; on a processor, without gradients.

        Args:
            query: keys of a frame, (B, D, h/8, w/8).
            kept: as ``forward`` will get them.
        """
        return self._begun(query, kept, 0)

    def _begun(self, query: Tensor, references: References, kind: int) -> BegunReading:
        reading = self._reading(query, references, kind)

        def read(positions: Tensor) -> Tensor:
            # Whatever precision is set around it: 16 bits take longer than 8, and where these are missing, than 32.
            with torch.autocast("cpu", enabled=False):
                return reading(positions)

        return BegunReading(read, (query.shape[-2], query.shape[-1]))

    def _reading(self, query: Tensor, references: References, kind: int) -> Reading:
        in_blocks, in_8_bits, less = False, False, 0.0
        if _on_a_processor(query):  # elsewhere the range is not asked for, since the device would be waited for
            lowest, highest = self._range(query, references, kind)
            excess = max(0.0, highest - LARGEST_LOGIT)
            in_blocks = excess < LARGEST_EXCESS
            less = excess if in_blocks else 0.0
            in_8_bits = in_blocks and self.quantized and lowest - less > LOWEST_LOGIT
        q = self._query_with_places(query, references, kind)
        if not in_blocks:
            return _fused(q, self._keys_with_places(references, kind, less), references, self._nearness(kind))
        values = values_with_shares(references)
        if in_8_bits:
            small = self._quantized_keys(references, kind, less)
            ways = [partial(keys.read, values=planes) for keys, planes in zip(small, values, strict=True)]
        else:
            k = self._keys_with_places(references, kind, less)
            ways = [partial(read_in_blocks, k=keys, values=planes) for keys, planes in zip(k, values, strict=True)]

        def read(positions: Tensor) -> Tensor:
            here = q[:, :, positions] if len(positions) < q.shape[2] else q
            return of_shares(torch.stack([way(one) for way, one in zip(ways, here, strict=True)]), references)

        return read

    def _range(self, query: Tensor, references: References, kind: int) -> tuple[float, float]:
        """Return between what the logits lie, of which a softmax may take the same from all."""
        h, w = query.shape[-2:]
        farthest = ((h / min(h, w)) ** 2 + (w / min(h, w)) ** 2) / 4  # squared, from the middle to a corner
        nearness = farthest / 2 * float(self._nearness(kind).detach())
        likeness = float(self._sharpness(references).detach())
        return -likeness - 3 * nearness, likeness + nearness + references.favour

    # -|p - q|^2 / 2s^2 = (p.q - |p|^2 / 2) / s^2 + a term that the softmax over p cancels: three more channels make the
    # attention prefer what is near, without a matrix of distances. The last of them also takes what counts for all
    # positions of a reference frame alike.

    def _query_with_places(self, query: Tensor, references: References, kind: int) -> Tensor:
        """Return (B, D + 3, h*w)."""
        place = _places(query)
        sharp = query * self._sharpness(references)
        three = torch.cat([place, torch.ones_like(place[:1])]) * self._nearness(kind)
        return torch.cat([sharp, _batch(three, len(query))], dim=1).flatten(2)

    def _keys_with_places(self, references: References, kind: int, less: float) -> Tensor:
        """Return (B, D + 3, R*h*w), which make every logit smaller by *less*."""
        b, _, frames = references.keys.shape[:3]
        place = _places(references.keys)
        half_square = -0.5 * place.square().sum(dim=0, keepdim=True)
        places = _batch(torch.cat([place, half_square]), b).unsqueeze(2).expand(-1, -1, frames, -1, -1)
        k = torch.cat([references.keys, places], dim=1)
        if references.favour or less:
            nearness = self._nearness(kind)
            k[:, -1] -= less / nearness
            k[:, -1, : references.trusted] += references.favour / nearness
        return k.flatten(2)

    def _quantized_keys(self, references: References, kind: int, less: float) -> list[QuantizedKeys]:
        """Return the same for each clip of the batch, rounded; kept frames stay the same for a while."""
        settings = (references.sharpness, references.trusted, references.favour, less)
        of, then, rounded = self._rounded.get(kind, (None, None, []))
        if of is not references.keys or then != settings:
            k = self._keys_with_places(references, kind, less)
            widths = k.abs().amax(dim=(0, 2)).clamp(min=LEAST_WIDTH)
            widths[:-3] = widths[:-3].amax()  # a later frame may have more of one channel
            sharpness, nearness = (float(x) for x in (self._sharpness(references), self._nearness(kind)))
            query_widths = torch.cat([widths[:-3] * sharpness, widths[-3:-1] * nearness, widths.new_tensor([nearness])])
            rounded = [quantize(one, widths, query_widths) for one in k]
            self._rounded[kind] = (references.keys, settings, rounded)
        return rounded

    def _sharpness(self, references: References) -> Tensor:
        return self.log_temperature.exp() * references.sharpness

    def _nearness(self, kind: int) -> Tensor:
        return torch.exp(-2 * self.log_reach[kind])


def unit_keys(projected: Tensor) -> Tensor:
    """Bring keys (B, D, h/8, w/8) to unit length."""
    return F.normalize(projected.float(), dim=1)


def _fused(q: Tensor, k: Tensor, references: References, nearness: Tensor) -> Reading:
    """Read unequal objects by themselves, of the frames that count for them, each as much as it does."""
    masks, unequal = references.masks.flatten(2), references.unequal
    by_frame = k.view(*k.shape[:2], len(references), -1)
    planes = references.masks.flatten(3)
    keys = [_weighed(by_frame, shares, nearness) for shares, _ in unequal]
    values = [_weighed(torch.stack([planes[:, n] for n in places], 1), shares) for shares, places in unequal]

    def read(positions: Tensor) -> Tensor:
        here = q[:, :, positions] if len(positions) < q.shape[2] else q
        answer = read_fused(here, k, masks)
        for (_, places), *one in zip(unequal, keys, values, strict=True):
            for place, read in zip(places, read_fused(here, *one).unbind(1), strict=True):
                answer[:, place] = read
        return answer

    return read


def _weighed(x: Tensor, shares: Sequence[float], nearness: Tensor | None = None) -> Tensor:
    """Return (B, C, F*h*w) of the frames of (B, C, R, h*w) that count; keys so that each counts as much as it does."""
    frames = []  # no index is sent to a GPU for it
    for place, share in enumerate(shares):
        frame = x[:, :, place]
        if 0 < share < 1 and nearness is not None:
            frame = torch.cat([frame[:, :-1], frame[:, -1:] + math.log(share) / nearness], dim=1)
        if share:
            frames.append(frame)
    return torch.cat(frames, dim=2)


def _places(like: Tensor) -> Tensor:
    """Return where the positions of (..., h, w) are from the middle, in short sides: (2, h, w)."""
    h, w = like.shape[-2:]
    rows, columns = (torch.arange(n, device=like.device, dtype=like.dtype) / min(h, w) for n in (h, w))
    return torch.stack(torch.meshgrid(rows - rows.mean(), columns - columns.mean(), indexing="ij"))


def _on_a_processor(query: Tensor) -> bool:
    """Whether the form for processors can be taken, which knows no gradients."""
    return query.device.type == "cpu" and not torch.is_grad_enabled()


def _batch(x: Tensor, b: int) -> Tensor:
    return x.unsqueeze(0).expand(b, *x.shape)
