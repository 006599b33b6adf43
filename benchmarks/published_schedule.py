"""The published schedule, plainly: what rvos is measured against.

Written from the paper (section 3; docs/paper.md) on torch and torchvision alone, with none of rvos' own code:
ResNet-101, float32, one frame at a time, ten slots decoded in every frame however many objects there are, every slot's
gates computed from everything it sees, batch norms where training left them. No gradients are kept. Weights are random,
since speed does not depend on them; parameter names are the published ones.

Enters: frames (H, W, 3) uint8 and a first mask (H, W). Leaves: one label map (H, W) uint8 after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

HIDDEN = 128
SLOTS = 10
SIZE = (256, 448)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What the published argument file says of such a network, for rvos to load the same one.
ARGUMENTS = {
    "base_model": "resnet101",
    "skip_mode": "concat",
    "hidden_size": HIDDEN,
    "kernel_size": 3,
    "maxseqlen": SLOTS,
    "only_spatial": False,
    "only_temporal": False,
}


class Encoder(nn.Module):
    """ResNet-101 and, at strides 32, 16, 8 and 4, a convolution with a batch norm."""

    def __init__(self) -> None:
        """Start from random weights of a size that keeps values within bounds from end to end."""
        super().__init__()
        self.base = torchvision.models.resnet101(weights=None)
        for module in self.base.modules():
            if isinstance(module, torchvision.models.resnet.Bottleneck):
                nn.init.constant_(module.bn3.weight, 0.2)
        channels, projected = (2048, 1024, 512, 256), (HIDDEN, HIDDEN, HIDDEN // 2, HIDDEN // 4)
        for number, c_in, c_out in zip((5, 4, 3, 2), channels, projected, strict=True):
            self.add_module(f"sk{number}", nn.Conv2d(c_in, c_out, 3, padding=1))
            self.add_module(f"bn{number}", nn.BatchNorm2d(c_out))

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Return the projected features of (1, 3, h, w), coarse to fine."""
        base = self.base
        x = base.maxpool(base.relu(base.bn1(base.conv1(frame))))
        features = []
        for layer in (base.layer1, base.layer2, base.layer3, base.layer4):
            x = layer(x)
            features.append(x)
        return [
            self.get_submodule(f"bn{number}")(self.get_submodule(f"sk{number}")(feature))
            for number, feature in zip((5, 4, 3, 2), reversed(features), strict=True)
        ]


class ConvLSTM(nn.Module):
    """One convolution for the four gates over the input and the hidden states of both recurrences."""

    def __init__(self, inputs: int, hidden: int) -> None:
        """Build the cell."""
        super().__init__()
        self.Gates = nn.Conv2d(inputs + 2 * hidden, 4 * hidden, 3, padding=1)

    def forward(self, x: Tensor, space: tuple[Tensor, Tensor], time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden and the cell state of this object in this frame."""
        hidden, cell = space
        enter, remember, leave, candidate = self.Gates(torch.cat([x, hidden, time], dim=1)).chunk(4, dim=1)
        cell = torch.sigmoid(remember) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(leave) * torch.tanh(cell), cell


class Decoder(nn.Module):
    """Four ConvLSTMs, coarse to fine, and the mask's convolution; run once per slot."""

    def __init__(self) -> None:
        """Build the decoder of a one-shot network: every cell sees the previous mask."""
        super().__init__()
        self.hidden = [HIDDEN, HIDDEN // 2, HIDDEN // 4, HIDDEN // 8]
        inputs = [HIDDEN + 1, 2 * HIDDEN + 1, HIDDEN + 1, HIDDEN // 2 + 1]
        self.clstm_list = nn.ModuleList(ConvLSTM(*pair) for pair in zip(inputs, self.hidden, strict=True))
        self.conv_out = nn.Conv2d(self.hidden[-1], 1, 3, padding=1)

    def forward(
        self,
        skips: list[Tensor],
        masks: list[Tensor],
        space: list[tuple[Tensor, Tensor]] | None,
        time: list[Tensor] | None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return a slot's logits (1, 1, h/2, w/2) and its states."""
        states: list[tuple[Tensor, Tensor]] = []
        for scale, cell in enumerate(self.clstm_list):
            x = skips[scale]
            if scale:
                x = torch.cat([_enlarge(states[-1][0], x.shape[-2:]), x], dim=1)
            nothing = x.new_zeros(1, self.hidden[scale], *x.shape[-2:])
            before = (nothing, nothing) if space is None else space[scale]
            earlier = nothing if time is None else time[scale]
            states.append(cell(torch.cat([x, masks[scale]], dim=1), before, earlier))
        fine = states[-1][0]
        return self.conv_out(_enlarge(fine, (2 * fine.shape[-2], 2 * fine.shape[-1]))), states


class PublishedSchedule(nn.Module):
    """Encoder and decoder, and the order in which the paper runs them over a video."""

    def __init__(self) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def probabilities(self, frames: Iterable[Tensor], masks: Tensor) -> Iterator[Tensor]:
        """Yield (1, ten, h, w), 0..1, for every frame (1, 3, h, w); *masks* (1, ten, h, w) are the first frame's."""
        times: list[list[Tensor] | None] = [None] * SLOTS
        for index, frame in enumerate(frames):
            skips = self.encoder(frame)
            space: list[tuple[Tensor, Tensor]] | None = None
            found = []
            for slot in range(SLOTS):
                logits, space = self.decoder(skips, _pyramid(masks[:, slot : slot + 1]), space, times[slot])
                times[slot] = [hidden for hidden, _ in space]
                found.append(torch.sigmoid(_enlarge(logits, frame.shape[-2:])))
            answer = torch.cat(found, dim=1)
            if index:  # the first two frames see the given mask
                masks = answer
            yield answer


def stream(
    frames: Iterable[NDArray[np.uint8]], mask: NDArray[np.uint8], device: torch.device, network: PublishedSchedule
) -> Iterator[NDArray[np.uint8]]:
    """Yield the label map (H, W) of every frame (H, W, 3); labels are enlarged, not probabilities, which is cheap."""
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))

    def prepared() -> Iterator[Tensor]:
        for frame in frames:
            pixels = torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float() / 255
            yield (F.interpolate(pixels, size=SIZE, mode="bilinear", align_corners=False) - mean) / std

    planes = torch.stack([torch.from_numpy(mask == number + 1) for number in range(SLOTS)]).to(device).float()
    given = F.interpolate(planes[None], size=SIZE, mode="nearest")
    with torch.inference_mode():
        for probabilities in network.probabilities(prepared(), given):
            best, index = probabilities[0].max(dim=0)
            labels = torch.where(best > 0.5, index + 1, 0).to(torch.uint8)
            yield F.interpolate(labels[None, None], size=mask.shape, mode="nearest")[0, 0].cpu().numpy()


def _enlarge(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _pyramid(mask: Tensor) -> list[Tensor]:
    """Return the mask at strides 32, 16, 8 and 4."""
    planes = [F.max_pool2d(mask, 2)]
    for _ in range(4):
        planes.append(F.max_pool2d(planes[-1], 2))
    return list(reversed(planes[1:]))
