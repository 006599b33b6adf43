"""Pictures of coloured squares, and a network that follows them by their colours."""

from __future__ import annotations

import numpy as np
import torch

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS

SIZE = (96, 160)
RED, GREEN = (230, 20, 20), (20, 230, 20)


def matching_network() -> RVOS:
    """Return a network that follows by its matching cue alone: its decoder is silent."""
    torch.manual_seed(0)
    model = RVOS(ModelConfig(hidden_size=16, key_dim=16, size=64)).eval()
    torch.nn.init.zeros_(model.decoder.conv_out.weight)
    torch.nn.init.constant_(model.decoder.conv_out.bias, -0.2)
    return model


def picture(*boxes: tuple[int, int, tuple[int, int, int]]) -> np.ndarray:
    """Return a picture of squares of 32 pixels: top, left and colour of each."""
    image = np.full((*SIZE, 3), 90, np.uint8)
    image[::8] = 110
    for top, left, colour in boxes:
        image[top : top + 32, left : left + 32] = colour
    return image


def square(top: int, left: int, identity: int) -> np.ndarray:
    """Return the labels of one such square."""
    labels = np.zeros(SIZE, np.uint8)
    labels[top : top + 32, left : left + 32] = identity
    return labels
