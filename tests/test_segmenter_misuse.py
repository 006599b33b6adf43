"""Programs that are not quite right, or not as expected, around a ``Segmenter``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import square_labels, squares

from rvos_cli.errors import DeviceError, MaskError, UsageError
from rvos_cli.segmenter import Segmenter, load_model


@pytest.fixture
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_a_gpu_that_is_full_when_the_network_comes_is_named(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(DeviceError, match="not enough memory for the network; end what else uses it, or use --device"):
        load_model(tiny_weights, device="cpu")


def test_loading_and_steps_do_not_depend_on_the_default_type_of_torch(
    tiny_model: Segmenter, tiny_weights: Path, zero_shot_weights: Path, in_double: None
) -> None:
    frames = [squares(index) for index in range(3)]
    for model in (tiny_model, load_model(tiny_weights, device="cpu")):
        assert len(list(model.stream(frames))) == 3
        assert len(list(model.stream(frames, first_mask=square_labels()))) == 3
    assert len(list(load_model(zero_shot_weights, device="cpu").stream(frames))) == 3


@pytest.mark.parametrize("channels", [3, 4])
def test_one_mask_of_colours_is_not_taken_for_one_of_each_frame(tiny_model: Segmenter, channels: int) -> None:
    mask = np.zeros((96, 128, channels), np.uint8)
    with pytest.raises(UsageError, match="masks= is one mask; give it as first_mask="):
        tiny_model.stream([squares(0)], masks=mask)


def test_a_frame_that_is_named_by_text_is_told_as_text(tiny_model: Segmenter) -> None:
    with pytest.raises(MaskError, match=r"masks= has one of frame '1', and arrays has frames 0 to 2"):
        list(tiny_model.stream([squares(index) for index in range(3)], masks={"1": square_labels()}))  # type: ignore[dict-item]
