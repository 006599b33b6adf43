"""The shipped weights and scenes with nothing on them: no object is found."""

import numpy as np
import pytest
from numpy.typing import NDArray

import rvos_cli as rvos

HEIGHT, WIDTH, FRAMES = 240, 426, 3
Y, X = np.mgrid[:HEIGHT, :WIDTH]


def plain(frame: int) -> NDArray[np.float64]:
    return np.array([205.0, 198, 185]) + np.linspace(-20, 20, WIDTH)[None, :, None]


def bricks(frame: int) -> NDArray[np.float64]:
    row, along = Y // 20, X + 2 * frame + 20 * ((Y // 20) % 2)
    mortar = (Y % 20 < 3) | (along % 40 < 3)
    shade = (row * 73 + along // 40 * 151) % 17
    return np.where(mortar[..., None], [190.0, 185, 178], np.array([150, 80, 60]) + 2 * shade[..., None])


def planks(frame: int) -> NDArray[np.float64]:
    grain = 12 * np.sin(Y / 3 + 3 * np.sin((X + frame) / 60)) + X // 70 % 2 * 8
    return np.array([140.0, 100, 60]) + grain[..., None]


@pytest.mark.parametrize("scene", [plain, bricks, planks])
def test_a_wall_has_no_objects(scene):
    noise = np.random.default_rng(0)
    frames = [
        (scene(frame) + noise.normal(0, 5, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8) for frame in range(FRAMES)
    ]
    results = list(rvos.load_model("lite", device="cpu").stream(frames))
    assert len(results) == FRAMES and not any(result.labels.any() for result in results)
