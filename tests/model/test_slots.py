"""Slots that share their work answer as slots computed one by one, as the paper has them."""

import pytest
import torch

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS, RecurrentState, References, StepOutput
from rvos_cli.model import rvos as network
from rvos_cli.model.slots import GROUP, PlainSlots

SLOTS = GROUP + 2  # more than are prepared at once


def built(**values) -> RVOS:
    torch.manual_seed(0)
    model = RVOS(ModelConfig(hidden_size=16, **values)).eval()
    for cell in model.decoder.clstm_list:  # the untrained kernels' answers are all alike
        torch.nn.init.normal_(cell.Gates.weight, std=0.05)
        torch.nn.init.normal_(cell.Gates.bias, std=0.3)
    return model


def both_ways(step, monkeypatch: pytest.MonkeyPatch) -> tuple[StepOutput, StepOutput]:
    with torch.no_grad():
        shared = step()
        monkeypatch.setattr(network, "SharedSlots", PlainSlots)
        return shared, step()


def assert_same(one: StepOutput, other: StepOutput) -> None:
    assert one.logits.std() > 1e-3  # far more than the tolerance
    assert torch.allclose(one.logits, other.logits, atol=1e-5)
    for mine, theirs in zip(one.state.slots, other.state.slots, strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(mine, theirs, strict=True))


def some_state(model: RVOS, batch: int) -> RecurrentState:
    """States of some slots, none of others, as after a slot has been given to a new object."""
    sizes = [(16 // 2**scale, 2 * 2**scale, 3 * 2**scale) for scale in range(4)]
    return RecurrentState(
        tuple(None if slot in (1, 3) else tuple(torch.randn(batch, *size) for size in sizes) for slot in range(SLOTS))
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "option",
    [
        {"mask_input": False},
        {"mask_input": True},
        {"skip_mode": "sum", "mask_input": False},
        {"skip_mode": "mul", "mask_input": True},
        {"skip_mode": "none", "mask_input": False},
        {"spatial": False},
        {"temporal": False},
    ],
    ids=str,
)
def test_shared_slots_of_a_published_network(option: dict, first: bool, memory_format, monkeypatch):
    model = built(trunk="resnet34", key_dim=0, **option).to(memory_format=memory_format)
    frame = torch.randn(2, 3, 64, 96).contiguous(memory_format=memory_format)
    masks = torch.rand(2, SLOTS, 64, 96) if model.config.mask_input else None
    state = None if first else some_state(model, 2)
    assert_same(*both_ways(lambda: model.step(frame, state, slots=SLOTS, masks=masks), monkeypatch))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("option", [{}, {"spatial": False}, {"temporal": False}], ids=str)
@pytest.mark.parametrize("first", [True, False])
def test_shared_slots_of_a_matching_network(first: bool, option: dict, memory_format, monkeypatch):
    model = built(key_dim=8, **option).to(memory_format=memory_format)
    frame = torch.randn(2, 3, 64, 96).contiguous(memory_format=memory_format)
    masks, known = torch.rand(2, SLOTS, 64, 96), torch.tensor([[1.0, 1, 0, 1, 1, 0], [1, 1, 1, 1, 0, 0]])
    memory = None if first else References.of(torch.nn.functional.normalize(torch.randn(2, 8, 8, 12), dim=1), masks)
    state = None if first else some_state(model, 2)

    def step() -> StepOutput:
        return model.step(frame, state, slots=SLOTS, masks=masks, known=known, kept=memory, last=memory)

    assert_same(*both_ways(step, monkeypatch))


def test_gradients_go_through_the_plain_form(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(network, "SharedSlots")
    model, frame = built(key_dim=8), torch.randn(1, 3, 64, 64)
    model.step(frame, slots=2).logits.sum().backward()
    assert all(cell.Gates.weight.grad is not None for cell in model.decoder.clstm_list)
    with torch.no_grad(), pytest.raises(NameError):
        model.step(frame, slots=2)
