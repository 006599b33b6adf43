"""The image encoder: a frame enters, features at strides 32, 16, 8 and 4 leave.

Run once per frame, whatever the number of objects (paper, section 3.1). The published trunks come from torchvision;
a skip projection per stride brings its channels down to those of the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rvos_cli.config import ModelConfig
from rvos_cli.model.efficientnet import EfficientNetLite

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
        keys: (B, D, h/8, w/8), by which the frame's positions are compared; None without matching.
    """

    skips: tuple[Tensor, ...]
    trunk: tuple[Tensor, ...]
    size: tuple[int, int]
    keys: Tensor | None = None

    @property
    def like(self) -> Tensor:
        """A tensor (B, ...) of the batch, the type and on the device of all of them."""
        return self.skips[-1]


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
        features: tuple[Tensor, ...] = self.base(frame)
        return features

    def shallow(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Return what the trunk's first stage makes of frames where it can be left there, its features otherwise."""
        return (self.base.shallow(frame),) if isinstance(self.base, EfficientNetLite) else self.trunk_features(frame)

    def deep(self, shallow: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the trunk's features, stride 32 first, from the answer of ``shallow``."""
        return self.base.deep(*shallow) if isinstance(self.base, EfficientNetLite) else shallow

    def project(self, trunk: tuple[Tensor, ...], size: tuple[int, int]) -> Features:
        """Turn the trunk's features into the decoder's."""
        skips = (
            self.get_submodule(f"bn{name}")(self.get_submodule(f"sk{name}")(feature))
            for name, feature in zip("5432", trunk, strict=True)
        )
        return Features(skips=tuple(skips), trunk=trunk, size=size)


def _trunk(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    if name not in TORCHVISION_CHANNELS:
        base = EfficientNetLite(name)
        return base, base.channels
    import torchvision  # here: it takes as long as torch itself, and the default network has no use for it

    if name == "vgg16":  # not the whole network: its classifier is most of it and costs seconds
        vgg = nn.Module()
        vgg.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
        return vgg, TORCHVISION_CHANNELS[name]
    resnet: Any = getattr(torchvision.models, name)(weights=None)
    resnet.fc, resnet.avgpool = nn.Identity(), nn.Identity()
    return resnet, TORCHVISION_CHANNELS[name]


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
