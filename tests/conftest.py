"""What many tests share: small random networks and a small clip with two moving squares."""

from __future__ import annotations

import importlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import media
import pytest
import torch
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, ColourSession, square_labels, squares
from trees import write_mask

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.segmenter import Segmenter, load_model
from rvos_cli.weights import save_weights


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Let Ctrl-C through: tests that a shell starts in the background, and their children, are deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A video with a mask, one without in a subfolder, a frame folder with a mask, and things that are no inputs."""
    root = tmp_path / "videos"
    clip = media.encode(tmp_path / "clip.mp4", frames=[squares(index) for index in range(FRAMES)], size=(HEIGHT, WIDTH))
    (root / "day" / "two").mkdir(parents=True)
    shutil.copy(clip, root / "a.MP4")
    write_mask(root / "a.png", square_labels())
    shutil.copy(clip, root / "day" / "b.mp4")
    frames = root / "day" / "two" / "shots"
    frames.mkdir()
    for index in range(FRAMES):
        Image.fromarray(squares(index)).save(frames / f"{index}.jpg")
    write_mask(root / "day" / "two" / "shots.png", square_labels())
    write_mask(root / "day" / "Annotations" / "x" / "0.png", square_labels())
    write_mask(root / "palette" / "0.png", square_labels())
    (root / ".hidden").mkdir()
    shutil.copy(clip, root / ".hidden" / "c.mp4")
    (root / "notes.txt").write_text("no video")
    return root


@pytest.fixture
def fixes(tmp_path: Path) -> Path:
    """A folder of masks for the clip: of the red square in frame 0, of the blue one, too, in frame 2."""
    folder = tmp_path / "fixes"
    folder.mkdir()
    write_mask(folder / "00000.png", square_labels(right=False))
    write_mask(folder / "00002.png", square_labels(2))
    (folder / "00002.xcf").write_bytes(b"what the editor keeps")
    (folder / ".DS_Store").write_bytes(b"what the system keeps")
    return folder


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every session of the test be a ``ColourSession``."""
    monkeypatch.setattr("rvos_cli.segmenter.Session", ColourSession)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of benchmarks/ by its name, for this test only."""
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
