"""What tests of training share: very small data in the layouts of the real ones, and a small network."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trees
from PIL import Image, ImageDraw

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS

SIZE = (160, 96)


def _scenery(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    noise = rng.integers(90, 140, (6, 10, 1)).astype(np.uint8)
    return Image.fromarray(np.repeat(noise, 3, axis=2)).resize(SIZE, Image.Resampling.BICUBIC)


def _save_pair(folder: Path, name: str, boxes: dict[int, tuple[int, int, int, int]], seed: int = 0) -> None:
    """Write a grey picture with red boxes, and its mask."""
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = _scenery(seed), Image.new("P", SIZE)
    mask.putpalette(bytes(range(256)) * 3)
    for label, box in boxes.items():
        if label != 255:
            ImageDraw.Draw(image).rectangle(box, fill=(220, 30, 30))
        ImageDraw.Draw(mask).rectangle(box, fill=label)
    image.save(folder / f"{name}.jpg", quality=95)
    mask.save(folder / f"{name}.png")


def _save_disc(folder: Path, name: str, colour: tuple[int, int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    disc = Image.new("RGBA", (48, 48))
    ImageDraw.Draw(disc).ellipse((2, 2, 45, 45), fill=(*colour, 255))
    disc.save(folder / f"{name}.webp", lossless=True)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Pairs, clips, cut-outs and backgrounds, a few of each."""
    root = tmp_path / "data"
    train = root / "train"
    for index in range(7):
        box = (20 + 9 * index, 30, 55 + 9 * index, 70)
        _save_pair(train / "clips/davis2016/box", f"{2 * index:05d}", {1: box})
        _save_pair(train / "clips/ytvos_ffvi/three", f"{index:05d}", {2: box, 5: (10, 5, 40, 20)}, seed=1)
    _save_pair(train / "pairs/free/things", "one", {1: (40, 20, 100, 70)}, seed=2)
    _save_pair(train / "pairs/free/things", "two", {3: (10, 20, 50, 70), 7: (90, 20, 140, 80)}, seed=3)
    _save_pair(train / "pairs/research/coco_person", "person", {1: (50, 10, 90, 80)}, seed=4)
    _save_disc(train / "cutouts/free/discs", "green", (20, 220, 20))
    _save_disc(train / "cutouts/free/openclipart", "blue", (20, 20, 220))
    for name in ("free/hills", "research/imagenet_sample"):
        (train / "backgrounds" / name).mkdir(parents=True)
        _scenery(5).save(train / "backgrounds" / name / "scene.jpg")
    return root


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DAVIS 2017, two training sequences of it."""
    return trees.davis2017(tmp_path_factory.mktemp("davis"), split="train")


@pytest.fixture
def small_network() -> RVOS:
    """A small lite network with random weights, always the same."""
    torch.manual_seed(0)
    return RVOS(ModelConfig(hidden_size=16, key_dim=8))
