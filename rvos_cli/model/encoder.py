"""The image encoder: a frame enters, features at strides 32, 16, 8 and 4 leave.

Run once per frame, whatever the number of objects (paper, section 3.1). The trunk comes from torchvision or timm;
a skip projection per stride brings its channels down to those of the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
import torchvision
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn

from rvos_cli.config import ModelConfig

# Channels of layer4, layer3, layer2 and layer1, or of the last four max-pools: strides 32, 16, 8, 4.
TORCHVISION_CHANNELS = {
    "resnet34": (512, 256, 128, 64),
    "resnet50": (2048, 1024, 512, 256),
    "resnet101": (2048, 1024, 512, 256),
    "vgg16": (512, 512, 256, 128),
}
VGG_POOLS = (9, 16, 23, 30)


@dataclass(frozen=True)
class Features:
    """One frame as the network sees it; every tuple goes from stride 32 to stride 4.

    Args:
        skips: (B, C, h/s, w/s) each, projected for the decoder.
        trunk: (B, C, h/s, w/s) each, as they leave the trunk (the matching keys are made of them).
        size: (h, w) of the frame.
    """

    skips: tuple[Tensor, ...]
    trunk: tuple[Tensor, ...]
    size: tuple[int, int]


class Encoder(nn.Module):
    """Trunk and skip projections; parameter names are the published ones (``base``, ``sk5``, ``bn5``, ...)."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the trunk without weights."""
        super().__init__()
        self.trunk_name = config.trunk
        self.base, channels = _trunk(config.trunk)
        hidden, padding = config.hidden_size, config.kernel_size // 2
        for name, c_in, c_out in zip("5432", channels, (hidden, hidden, hidden // 2, hidden // 4), strict=True):
            self.add_module(f"sk{name}", nn.Conv2d(c_in, c_out, config.kernel_size, padding=padding))
            self.add_module(f"bn{name}", nn.BatchNorm2d(c_out))
        self.trunk_channels = channels

    def forward(self, frame: Tensor) -> Features:
        """Encode frames (B, 3, h, w), normalised, into features."""
        trunk = self.trunk_features(frame)
        return self.project(trunk, (frame.shape[-2], frame.shape[-1]))

    def trunk_features(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Return the trunk's features of (B, 3, h, w), stride 32 first."""
        if self.trunk_name == "vgg16":
            return _vgg_features(self.base, frame)
        if self.trunk_name.startswith("resnet"):
            return _resnet_features(self.base, frame)
        return tuple(reversed(self.base(frame)))

    def shallow(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Return the trunk's features at strides 8 and 4 where it can be left there, at all four strides otherwise."""
        if not isinstance(self.base, EfficientNetFeatures):
            return self.trunk_features(frame)
        return _block_features(self.base, self.base.bn1(self.base.conv_stem(frame)), range(_cut(self.base)))

    def deep(self, shallow: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the trunk's features at all four strides, stride 32 first, from those of ``shallow``."""
        if not isinstance(self.base, EfficientNetFeatures):
            return shallow
        deeper = _block_features(self.base, shallow[0], range(_cut(self.base), len(self.base.blocks)))
        return (*deeper, *shallow)

    def project(self, trunk: tuple[Tensor, ...], size: tuple[int, int]) -> Features:
        """Turn the trunk's features into the decoder's."""
        skips = (
            self.get_submodule(f"bn{name}")(self.get_submodule(f"sk{name}")(feature))
            for name, feature in zip("5432", trunk, strict=True)
        )
        return Features(skips=tuple(skips), trunk=trunk, size=size)


def _trunk(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    if name not in TORCHVISION_CHANNELS:
        base: Any = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
        return base, tuple(reversed(base.feature_info.channels()))
    if name == "vgg16":  # not the whole network: its classifier is most of it and costs seconds
        vgg = nn.Module()
        vgg.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
        return vgg, TORCHVISION_CHANNELS[name]
    base = getattr(torchvision.models, name)(weights=None)
    base.fc, base.avgpool = nn.Identity(), nn.Identity()
    return base, TORCHVISION_CHANNELS[name]


def _cut(base: EfficientNetFeatures) -> int:
    """Return the number of blocks up to stride 8."""
    return int(base.feature_info.get_dicts()[1]["stage"])


def _block_features(base: EfficientNetFeatures, x: Tensor, blocks: range) -> tuple[Tensor, ...]:
    """Run some blocks and return the features that leave the trunk among their outputs, the last first."""
    leaving = {info["stage"] for info in base.feature_info.get_dicts()}
    features: list[Tensor] = []
    for index in blocks:
        x = base.blocks[index](x)
        if index + 1 in leaving:
            features.append(x)
    return tuple(reversed(features))


def _resnet_features(base: nn.Module, frame: Tensor) -> tuple[Tensor, ...]:
    x = base.maxpool(base.relu(base.bn1(base.conv1(frame))))  # type: ignore[operator]
    features = []
    for layer in (base.layer1, base.layer2, base.layer3, base.layer4):
        x = layer(x)  # type: ignore[operator]
        features.append(x)
    return tuple(reversed(features))


def _vgg_features(base: nn.Module, frame: Tensor) -> tuple[Tensor, ...]:
    x, features = frame, []
    for index, layer in enumerate(base.features):  # type: ignore[arg-type]
        x = layer(x)
        if index in VGG_POOLS:
            features.append(x)
    return tuple(reversed(features))
