"""What many tests share: small random networks and a small clip with two moving squares."""

from __future__ import annotations

from pathlib import Path

import media
import numpy as np
import pytest
import torch
from PIL import Image

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.segmenter import Segmenter, load_model
from rvos_cli.weights import save_weights

FRAMES, HEIGHT, WIDTH = 6, 96, 128
LEFT_COLOUR, RIGHT_COLOUR = (220, 40, 40), (30, 60, 220)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the weights of whoever runs the tests out of them."""
    monkeypatch.setenv("RVOS_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("RVOS_DEBUG", raising=False)


def save_random_weights(path: Path, config: ModelConfig) -> Path:
    """Write a network of random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(path, config, RVOS(config).state_dict())
    return path


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small lite network with random weights, which can segment and track."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return save_random_weights(path, ModelConfig(size=64, hidden_size=16, key_dim=16))


@pytest.fixture(scope="session")
def zero_shot_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published network with random weights that can segment, but not track."""
    path = tmp_path_factory.mktemp("weights") / "zero.safetensors"
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, mask_input=False, slots=2, size=64)
    return save_random_weights(path, config)


@pytest.fixture(scope="session")
def tiny_model(tiny_weights: Path) -> Segmenter:
    """The tiny network, ready on the CPU."""
    return load_model(tiny_weights, device="cpu")


def squares(index: int, *, right: bool = True) -> media.Image:
    """Return frame *index* of the clip: a red square that moves right, and a blue one that stands still."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[20:60, 10 + 3 * index : 50 + 3 * index] = LEFT_COLOUR
    if right:
        image[50:90, 76:116] = RIGHT_COLOUR
    return image


def square_labels(index: int = 0, *, right: bool = True) -> media.Image:
    """Return the true labels of ``squares``: 1 the moving one, 2 the other."""
    image = squares(index, right=right).astype(int)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[(image == LEFT_COLOUR).all(axis=2)] = 1
    labels[(image == RIGHT_COLOUR).all(axis=2)] = 2
    return labels


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """The clip as a video."""
    return media.encode(tmp_path / "clip.mp4", frames=[squares(index) for index in range(FRAMES)], size=(HEIGHT, WIDTH))


@pytest.fixture
def frame_folder(tmp_path: Path) -> Path:
    """The clip as a folder of images."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(FRAMES):
        Image.fromarray(squares(index)).save(folder / f"shot{index + 8}.png")
    return folder


@pytest.fixture
def first_mask(tmp_path: Path) -> Path:
    """The mask of the clip's first frame."""
    Image.fromarray(square_labels()).save(tmp_path / "first.png")
    return tmp_path / "first.png"


class ColourSession:
    """Stands in for the network where only what is around it is tested: it knows the squares by their colours."""

    def __init__(self, *_: object, first_mask: media.Image | None = None, **__: object) -> None:
        self.ids = None if first_mask is None else set(np.unique(first_mask).tolist()) - {0}

    def step(self, image: media.Image, mask: media.Image | None = None) -> media.Image:
        if mask is not None and self.ids is not None:
            self.ids |= set(np.unique(mask).tolist()) - {0}
        nearest = np.stack(
            [np.abs(image.astype(int) - colour).sum(axis=2) for colour in ((90, 90, 90), LEFT_COLOUR, RIGHT_COLOUR)]
        ).argmin(axis=0)
        if self.ids is not None:
            nearest = np.where(np.isin(nearest, sorted(self.ids)), nearest, 0)
        return nearest.astype(np.uint8)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every session of the test be a ``ColourSession``."""
    monkeypatch.setattr("rvos_cli.segmenter.Session", ColourSession)
