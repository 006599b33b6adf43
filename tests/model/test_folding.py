"""Folded networks answer as the plain ones do."""

import copy

import pytest
import torch
from torch import nn

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.model.folding import fold_norms


@pytest.mark.parametrize(
    ("trunk", "size"),
    [
        ("tf_efficientnet_lite0", (64, 96)),
        ("tf_efficientnet_lite0", (65, 98)),
        ("resnet34", (64, 96)),
        ("resnet50", (64, 96)),
        ("vgg16", (64, 96)),
    ],
)
def test_folded_features_equal_the_plain_ones(trunk, size):
    torch.manual_seed(0)
    model = RVOS(ModelConfig(trunk=trunk, hidden_size=16, key_dim=0))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
    model = model.eval()
    folded = fold_norms(copy.deepcopy(model))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    frame = torch.randn(1, 3, *size)
    with torch.inference_mode():
        plain, fast = model.encode(frame), folded.encode(frame)
    for one, other in zip((*plain.skips, *plain.trunk), (*fast.skips, *fast.trunk), strict=True):
        assert torch.allclose(one, other, atol=1e-5 * float(one.abs().max()))


def test_a_network_in_training_is_left_alone():
    with pytest.raises(ValueError, match="eval"):
        fold_norms(RVOS(ModelConfig(hidden_size=16, key_dim=8)).train())
