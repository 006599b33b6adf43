"""The device that is asked for is the device that is used; ``auto`` explains itself."""

from __future__ import annotations

import warnings

import pytest
import torch

from rvos_cli.device import choose_device, choose_dtype
from rvos_cli.errors import DeviceError, UsageError


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, no_gpu: None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA Test")
    monkeypatch.setattr("rvos_cli.device._probe", lambda device: None)


def test_auto_without_a_gpu_takes_the_cpu_and_says_why(no_gpu: None) -> None:
    choice = choose_device("auto")
    assert choice.device == torch.device("cpu")
    assert choice.reason == "cpu: no GPU found"


def test_auto_tells_that_this_torch_has_no_cuda(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    assert choose_device().reason == "cpu: no GPU found (this torch was built without CUDA)"


def test_auto_reports_the_drivers_complaint_and_stays_silent(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def complain() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old. Please update it.", stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", complain)
    assert choose_device("auto").reason == "cpu: no GPU found (The NVIDIA driver on your system is too old)"


def test_auto_prefers_cuda(two_gpus: None) -> None:
    choice = choose_device("auto")
    assert choice.device == torch.device("cuda:0")
    assert choice.reason == "cuda:0: NVIDIA Test"


def test_auto_prefers_mps_to_the_cpu(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr("rvos_cli.device._probe", lambda device: None)
    choice = choose_device("auto")
    assert choice.device.type == "mps" and choice.reason == "mps: Apple GPU"


def test_auto_passes_over_a_gpu_that_cannot_compute(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise DeviceError(f"{device} is there but cannot be used (out of memory)")

    monkeypatch.setattr("rvos_cli.device._probe", fail)
    choice = choose_device("auto")
    assert choice.device.type == "cpu" and "out of memory" in choice.reason
    with pytest.raises(DeviceError, match="out of memory"):
        choose_device("cuda")


def test_explicit_cuda_never_falls_back(no_gpu: None) -> None:
    for name in ("cuda", "cuda:0"):
        with pytest.raises(DeviceError, match="no CUDA device: no GPU found; use --device cpu"):
            choose_device(name)


def test_explicit_mps_never_falls_back(no_gpu: None) -> None:
    with pytest.raises(DeviceError, match="no MPS device"):
        choose_device("mps")


def test_cuda_number_out_of_range_lists_the_devices(two_gpus: None) -> None:
    assert choose_device("cuda:1").device == torch.device("cuda:1")
    with pytest.raises(DeviceError, match=r"no cuda:2; choose one of cuda:0 \(NVIDIA Test\), cuda:1"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "", "cpu:0"])
def test_unknown_names_are_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="choose one of auto, cpu, cuda, cuda:N, mps"):
        choose_device(name)


def test_the_device_of_a_model_is_a_choice_for_another(two_gpus: None) -> None:
    for name in ("cpu", "cpu:0"):
        assert choose_device(torch.device(name)).device == torch.device("cpu")
    assert choose_device(torch.device("cuda", 1)).device == torch.device("cuda:1")


def test_a_device_that_fails_its_first_sum_is_an_error(monkeypatch: pytest.MonkeyPatch, two_gpus: None) -> None:
    monkeypatch.undo()

    def fail(*args: object, **named: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available\nmore lines")

    monkeypatch.setattr(torch, "ones", fail)
    from rvos_cli import device

    with pytest.raises(DeviceError, match=r"cannot be used \(CUDA error: no kernel image is available\); use"):
        device._probe(torch.device("cpu"))


def test_cpu_computes_in_32_bits_unless_asked() -> None:
    cpu = choose_device("cpu").device
    assert choose_dtype(cpu) is torch.float32
    assert choose_dtype(cpu, half=False) is torch.float32
    assert choose_dtype(cpu, half=True) is torch.bfloat16


def test_cuda_computes_in_16_bits_where_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert choose_dtype(cuda) is torch.float16
    assert choose_dtype(cuda, half=False) is torch.float32
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert choose_dtype(cuda) is torch.float32
    assert choose_dtype(cuda, half=True) is torch.float16


def test_mps_computes_in_32_bits_unless_asked() -> None:
    mps = torch.device("mps")
    assert choose_dtype(mps) is torch.float32
    assert choose_dtype(mps, half=True) is torch.float16


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_only_the_driver_knows_is_an_error(name: str, no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **named: object) -> int:
        raise RuntimeError("CUDA unknown error")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", fail)
    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(DeviceError, match=rf"{name} is there but cannot be used \(CUDA unknown error\)"):
        choose_device(name)
    assert choose_device("auto").device == torch.device("cpu")
