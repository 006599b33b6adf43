"""The small trunk is the one that timm builds: the same names, the same answers."""

import pytest
import timm
import torch
from torch import nn

from rvos_cli.model.efficientnet import SCALES, EfficientNetLite


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("size", [(64, 96), (33, 47)])
def test_it_is_timms(name: str, size: tuple[int, int]):
    torch.manual_seed(0)
    theirs = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    ours = EfficientNetLite(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    frame = torch.randn(2, 3, *size)
    for training in (False, True):
        features = ours.train(training)(frame)
        for mine, yours in zip(features, reversed(theirs.train(training)(frame)), strict=True):
            assert torch.allclose(mine, yours, atol=1e-6 * float(yours.detach().abs().max()))
    assert tuple(feature.shape[1] for feature in features) == ours.channels


def test_all_of_it_learns():
    trunk = EfficientNetLite("tf_efficientnet_lite0")
    sum(feature.square().mean() for feature in trunk(torch.randn(2, 3, 64, 64))).backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in trunk.parameters())
