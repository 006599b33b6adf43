"""The compiled network against the plain one, and when the plain one is used."""

import os
import pickle
import subprocess
import sys
import threading
from copy import deepcopy

import pytest
import torch

from rvos_cli.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig
from rvos_cli.model import RVOS, References, compiled, compiling
from rvos_cli.model.compiled import CompiledRVOS
from rvos_cli.model.encoder import Encoder
from rvos_cli.model.folding import fold_norms

SIZE = (64, 96)
needs_openvino = pytest.mark.skipif(not compiling.can_compile(), reason="OpenVINO is not installed")


@pytest.fixture(scope="module")
def lite() -> RVOS:
    torch.manual_seed(0)
    model = RVOS(ModelConfig(hidden_size=32, key_dim=16)).eval()
    return fold_norms(model).to(memory_format=torch.channels_last)


def three_frames(model: RVOS, *, slots: int = 3) -> list[torch.Tensor]:
    """Follow two objects and look for more over three frames; return logits, states and keys of each."""
    torch.manual_seed(1)
    frames = [torch.randn(1, 3, *SIZE).contiguous(memory_format=torch.channels_last) for _ in range(3)]
    masks = torch.zeros(1, slots, *SIZE)
    masks[0, 0, 8:40, 8:40], masks[0, 1, 20:60, 50:90] = 1, 1
    known = torch.tensor([[1.0, 1.0] + [0.0] * (slots - 2)])
    state, kept, last, answers = None, None, None, []
    with torch.inference_mode():
        for frame in frames:
            out = model.step(frame, state, slots=slots, masks=masks, known=known, kept=kept, last=last)
            state, masks = out.state, out.logits.sigmoid() * known[..., None, None]
            last = References.of(out.keys, masks)
            kept = last if kept is None else kept + last
            answers += [out.logits, out.keys, *(hidden for slot in state.slots for hidden in slot)]
    return answers


def largest_difference(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@needs_openvino
def test_compiled_in_float32_equals_the_plain_network(lite):
    assert largest_difference(three_frames(lite), three_frames(CompiledRVOS(lite, half=False))) < 1e-4


@needs_openvino
@pytest.mark.parametrize("half", [None, True])
def test_compiled_in_bfloat16_is_near_the_plain_network(lite, half, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "bfloat16_pays", lambda: True)
    assert largest_difference(three_frames(lite)[:1], three_frames(CompiledRVOS(lite, half=half))[:1]) < 0.1


@needs_openvino
def test_no_thread_stays_behind_that_would_slow_down_the_others(lite):
    fast = CompiledRVOS(lite)
    with torch.inference_mode():
        assert fast.encode(torch.randn(1, 3, *SIZE)).slot is not None
    for thread in threading.enumerate():
        if thread.name.startswith("compile"):
            thread.join(timeout=5)
            assert not thread.is_alive()


SILENT = """
import multiprocessing, sys, threading
import torch
from torch import nn
from rvos_cli.model.compiling import compiled
assert compiled(nn.Sequential(nn.Conv2d(3, 4, 1)), [torch.zeros(1, 3, 4, 4)], half=False, threads=1) is not None
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")], "reports are loaded"
assert [thread.name for thread in threading.enumerate()] == ["MainThread"], threading.enumerate()
assert not multiprocessing.active_children()
"""


@needs_openvino
def test_nothing_is_reported_to_anybody():
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # in which nobody reports
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


@needs_openvino
def test_without_units_for_bfloat16_all_is_float32(lite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "bfloat16_pays", lambda: False)
    plain = three_frames(CompiledRVOS(lite, half=False))
    assert all(torch.equal(one, other) for one, other in zip(plain, three_frames(CompiledRVOS(lite)), strict=True))


@pytest.mark.parametrize(
    ("told", "maker", "pays"),
    [
        ({"amx_bf16": True}, "Intel(R) Xeon(R) Processor", True),
        ({"avx512_bf16": True}, "AMD EPYC", True),
        ({"avx512_bf16": True}, "Intel(R) Xeon(R) Processor", False),
        ({}, "AMD EPYC", False),
    ],
)
def test_bfloat16_pays_on_processors_with_amx_and_on_those_of_amd(told, maker, pays, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    monkeypatch.setattr(compiling, "_processor", lambda: maker)
    assert compiling.bfloat16_pays() is pays


def test_an_older_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not compiling.bfloat16_pays()


@needs_openvino
def test_sixteen_bits_around_it_do_not_keep_it_from_being_compiled(lite):
    fast = CompiledRVOS(lite, half=True)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast.encode(torch.randn(1, 3, *SIZE)).slot is not None


@pytest.mark.parametrize(("trunk", "left"), [("tf_efficientnet_lite0", 1), ("resnet34", 4), ("vgg16", 4)])
def test_a_trunk_in_two_parts_is_the_trunk(trunk, left):
    torch.manual_seed(4)
    encoder = Encoder(ModelConfig(trunk=trunk, hidden_size=16)).eval()
    frame = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        shallow = encoder.shallow(frame)
        assert len(shallow) == left
        parts, whole = encoder.deep(shallow), encoder.trunk_features(frame)
    assert all(torch.equal(part, feature) for part, feature in zip(parts, whole, strict=True))


@needs_openvino
def test_norms_need_not_be_folded():
    torch.manual_seed(2)
    model = RVOS(ModelConfig(hidden_size=16, key_dim=16)).eval()
    assert largest_difference(three_frames(model), three_frames(CompiledRVOS(model, half=False))) < 1e-4


@needs_openvino
@pytest.mark.parametrize("trunk", ["resnet34", "vgg16"])
def test_a_published_network_has_its_encoder_compiled(trunk):
    torch.manual_seed(3)
    config = ModelConfig(
        trunk=trunk, hidden_size=16, key_dim=0, mask_input=True, mean=IMAGENET_MEAN, std=IMAGENET_STD, slots=2
    )
    model = fold_norms(RVOS(config).eval())
    frame, masks = torch.randn(1, 3, *SIZE), torch.rand(1, 2, *SIZE)
    fast = CompiledRVOS(model)
    with torch.inference_mode():
        plain = model.step(frame, slots=2, masks=masks)
        answer = fast.step(frame, slots=2, masks=masks)
    assert fast.encoder.prepare(frame).result() is not None
    assert torch.allclose(plain.logits, answer.logits, atol=1e-4)


@needs_openvino
def test_gradients_and_batches_go_the_plain_way(lite):
    fast = CompiledRVOS(lite)
    with torch.inference_mode():
        fast.encode(torch.randn(2, 3, *SIZE))
    fast.encode(torch.randn(1, 3, *SIZE)).skips[0].sum().backward()
    assert not fast.encoder._compiled


@needs_openvino
def test_few_sizes_are_kept(lite, monkeypatch):
    monkeypatch.setattr(compiled, "LARGEST_CACHE", 2)
    fast = CompiledRVOS(lite)
    with torch.inference_mode():
        for width in (32, 64, 96):
            fast.encode(torch.randn(1, 3, 32, width))
    assert [shape[-1] for shape, _ in fast.encoder._compiled] == [64, 96]


def test_preparing_does_not_wait_and_the_next_frame_does(lite, monkeypatch):
    finish = threading.Event()

    def fail_in_the_end(*_: object, **__: object) -> None:
        assert finish.wait(60)
        raise RuntimeError("this processor is not supported")

    monkeypatch.setattr(compiled, "compiled", fail_in_the_end)
    fast, frame = CompiledRVOS(lite), torch.randn(1, 3, *SIZE)
    fast.prepare(frame)
    assert not fast.encoder.prepare(frame).done()
    finish.set()
    with torch.inference_mode():
        assert torch.equal(fast.encode(frame).skips[0], lite.encode(frame).skips[0])


@needs_openvino
def test_what_is_compiled_reports_to_nobody(lite, monkeypatch):
    telemetry = pytest.importorskip("openvino_telemetry")

    def told(*_: object, **__: object) -> None:
        raise AssertionError("a message is sent")

    for name in ("send_event", "send_error", "send_stack_trace", "start_session"):
        monkeypatch.setattr(telemetry.Telemetry, name, told)
    with torch.inference_mode():
        assert CompiledRVOS(lite).encode(torch.randn(1, 3, *SIZE)).slot is not None


@pytest.mark.parametrize("trouble", ["it is missing", "it cannot compile", "what it compiled cannot run"])
def test_without_openvino_the_plain_network_answers(lite, trouble, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("this processor is not supported")

    if trouble == "it is missing":
        monkeypatch.setattr(compiling, "_core", fail)
        monkeypatch.setattr(compiling, "_openvino", fail)
    elif trouble == "it cannot compile":
        monkeypatch.setattr(compiling, "_request", fail)
    else:
        monkeypatch.setattr(compiling.Compiled, "__call__", fail)
    assert largest_difference(three_frames(lite), three_frames(CompiledRVOS(lite))) == 0


@needs_openvino
def test_several_threads_compile_once(lite, monkeypatch):
    made, together = [], threading.Barrier(4)
    request = compiling._request
    monkeypatch.setattr(compiling, "_request", lambda *a, **k: made.append(a) or request(*a, **k))
    fast, frame = CompiledRVOS(lite), torch.randn(1, 3, *SIZE)

    def prepare() -> None:
        together.wait()
        fast.prepare(frame)

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fast.end_of_video()
    assert len(made) == 3  # a shallow part, a deep one and a slot


@needs_openvino
def test_the_weights_are_shared_and_untouched(lite):
    before = deepcopy(lite.state_dict())
    fast = CompiledRVOS(lite)
    three_frames(fast)
    assert fast.decoder is lite.decoder
    assert all(torch.equal(before[name], value) for name, value in lite.state_dict().items())


def test_it_can_be_copied_and_pickled(lite):
    fast = CompiledRVOS(lite)
    plain = three_frames(lite)
    for other in (deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert largest_difference(plain, three_frames(other)) < 0.1


@needs_openvino
def test_it_can_be_copied_and_pickled_once_it_is_compiled(lite):
    fast, frame = CompiledRVOS(lite), torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        keys = fast.encode(frame).keys
        for other in (deepcopy(fast), pickle.loads(pickle.dumps(fast))):
            assert torch.allclose(other.encode(frame).keys, keys)
    assert fast.encoder._compiled


SIGNALLED = """
import faulthandler, gc, os, signal
import torch
from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.model.compiled import CompiledRVOS

faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("signalled"))
model = RVOS(ModelConfig(hidden_size=16, key_dim=16)).eval()
for _ in range(3):
    fast = CompiledRVOS(model)
    with torch.inference_mode():
        for width in (32, 64):
            fast.step(torch.randn(1, 3, 32, width), slots=1)
    del fast
    gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@needs_openvino
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_signal_finds_its_stack_when_compiled_networks_have_come_and_gone():
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "signalled\n"), done.stderr
