"""EfficientNet-Lite, the small trunk: a frame enters, what its blocks make of it at strides 4 to 32 leaves.

The network of Tan and Le (2019, table 1) as Google published it in 2020 for small devices: ReLU6, and neither
squeezing nor exciting. Parameters have the names that timm gives them, under which ImageNet weights are passed around.
It stands here because importing timm, and torchvision with it, takes as long as importing torch and building the
network.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

# Width and depth, as factors on those of the first.
SCALES = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
STEM = 32
# Blocks, kernel, stride, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LEAVING = (1, 2, 4, 6)  # the last stages at strides 4, 8, 16 and 32
EPSILON = 1e-3  # of the norms, TensorFlow's


class EfficientNetLite(nn.Module):
    """The trunk without its classifier."""

    def __init__(self, name: str) -> None:
        """Build the network *name* with random weights.

        Raises:
            KeyError: it is none of ``SCALES``.
        """
        super().__init__()
        width, depth = SCALES[name]
        self.conv_stem = SameConv2d(3, STEM, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM, eps=EPSILON)
        self.act = nn.ReLU6(inplace=True)
        stages: list[nn.Module] = []
        channels, leaving = STEM, []
        for index, (blocks, kernel, stride, expansion, wanted) in enumerate(STAGES):
            if 0 < index < len(STAGES) - 1:  # the first and the last are as deep in all of them
                blocks = math.ceil(blocks * depth)
            out = _whole_eights(wanted * width)
            widths = [channels] + [out] * (blocks - 1)
            steps = [stride] + [1] * (blocks - 1)
            made = (_block(c_in, out, kernel, step, expansion) for c_in, step in zip(widths, steps, strict=True))
            stages.append(nn.Sequential(*made))
            channels = out
            leaving.append(out)
        self.blocks = nn.Sequential(*stages)
        self.channels = tuple(leaving[index] for index in reversed(LEAVING))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / _fan_out(module)))  # as it was published

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Return the features (B, C, h/s, w/s) of frames (B, 3, h, w), stride 32 first."""
        return self.deep(self.shallow(frame))

    def shallow(self, frame: Tensor) -> Tensor:
        """Return what the first stage makes of frames, (B, C, h/2, w/2)."""
        first: Tensor = self.blocks[0](self.act(self.bn1(self.conv_stem(frame))))
        return first

    def deep(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features from the answer of ``shallow``."""
        features: list[Tensor] = []
        for index in range(1, len(self.blocks)):
            x = self.blocks[index](x)
            if index in LEAVING:
                features.append(x)
        return tuple(reversed(features))


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does: what is odd comes behind."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, h, w): the answer has h / stride rows, rounded up."""
        rows, columns = (
            max((math.ceil(n / step) - 1) * step + size - n, 0)
            for n, size, step in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)
        )
        padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, groups=self.groups)


class _Separable(nn.Module):
    """The first stage's block: each channel for itself, then all together."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(c_in, c_in, kernel, stride, groups=c_in)
        self.bn1 = nn.BatchNorm2d(c_in, eps=EPSILON)
        self.act = nn.ReLU6(inplace=True)
        self.conv_pw = _convolution(c_in, c_out)
        self.bn2 = nn.BatchNorm2d(c_out, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x)))))
        return answer


class _Inverted(nn.Module):
    """The other stages' block: more channels, each for itself, fewer; added to its input where the sizes agree."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.conv_pw = _convolution(c_in, wide)
        self.bn1 = nn.BatchNorm2d(wide, eps=EPSILON)
        self.conv_dw = _convolution(wide, wide, kernel, stride, groups=wide)
        self.bn2 = nn.BatchNorm2d(wide, eps=EPSILON)
        self.act = nn.ReLU6(inplace=True)
        self.conv_pwl = _convolution(wide, c_out)
        self.bn3 = nn.BatchNorm2d(c_out, eps=EPSILON)
        self._added = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        wide = self.act(self.bn2(self.conv_dw(self.act(self.bn1(self.conv_pw(x))))))
        answer: Tensor = self.bn3(self.conv_pwl(wide))
        return x + answer if self._added else answer


def _block(c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    if expansion == 1:
        return _Separable(c_in, c_out, kernel, stride)
    return _Inverted(c_in, c_out, kernel, stride, expansion)


def _convolution(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride > 1:
        return SameConv2d(c_in, c_out, kernel, stride=stride, groups=groups, bias=False)
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)


def _fan_out(convolution: nn.Conv2d) -> int:
    return math.prod(convolution.kernel_size) * convolution.out_channels // convolution.groups


def _whole_eights(channels: float) -> int:
    """Round to a multiple of eight, and never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
