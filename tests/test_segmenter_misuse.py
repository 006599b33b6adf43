"""Programs that are not quite right, or not as expected, around a ``Segmenter``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rvos_cli.errors import DeviceError
from rvos_cli.segmenter import load_model


def test_a_gpu_that_is_full_when_the_network_comes_is_named(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(DeviceError, match="not enough memory for the network; end what else uses it, or use --device"):
        load_model(tiny_weights, device="cpu")
