"""The matching cue against a plain computation, and what locality does."""

import math
from dataclasses import replace

import pytest
import torch
from reference_frames import known_late, unit

from rvos_cli.model import References, matching, reading
from rvos_cli.model.matching import MatchingCue
from rvos_cli.model.quantized import can_quantize

vnni = pytest.mark.skipif(not can_quantize(), reason="the processor has no 8-bit instructions")


@pytest.mark.parametrize("gradients", [True, False])
def test_reading_equals_a_softmax_over_similarity_and_distance(gradients: bool):
    torch.manual_seed(0)
    with torch.set_grad_enabled(gradients):
        compare_with_a_plain_softmax()


def compare_with_a_plain_softmax() -> None:
    cue = MatchingCue(8, 4, 4)
    query, keys, masks = unit(2, 8, 5, 6), unit(2, 8, 5, 6), torch.rand(2, 3, 5, 6)
    last = References.of(keys, masks)
    kept = replace(last + References.of(unit(2, 8, 5, 6), torch.rand(2, 3, 5, 6)), sharpness=1.5, favour=2.0)
    for kind, (read, references) in enumerate(zip(cue(query, kept, last).unbind(1), (kept, last), strict=True)):
        assert torch.allclose(read, plain_reading(cue, query, references, kind), atol=1e-5)


def plain_reading(cue: MatchingCue, query: torch.Tensor, references: References, kind: int) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(5.0) / 5, torch.arange(6.0) / 5, indexing="ij")
    place = torch.stack([rows, columns]).flatten(1).T
    similarity = torch.einsum("bdq,bdrk->bqrk", query.flatten(2), references.keys.flatten(3))
    distance = torch.cdist(place, place)[:, None] / cue.log_reach[kind].exp()
    logits = references.sharpness * cue.log_temperature.exp() * similarity - distance.square() / 2
    logits[:, :, : references.trusted] += references.favour
    return torch.einsum("bqk,bnk->bnq", logits.flatten(2).softmax(-1), references.masks.flatten(2)).reshape(2, 3, 5, 6)


@pytest.mark.parametrize("temperature", [1.0, 25.0, 90.0])  # the last is beyond what exp can bear as it is
def test_reading_in_blocks_equals_the_fused_reading(temperature: float, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(1)
    monkeypatch.setattr(reading, "BLOCK", (50, 35))  # neither divides the numbers of keys and positions
    cue = MatchingCue(16, 4, 4)
    torch.nn.init.constant_(cue.log_temperature, math.log(temperature))
    first, second = (References.of(unit(2, 16, 8, 14), torch.rand(2, 3, 8, 14)) for _ in range(2))
    query = unit(2, 16, 8, 14)
    fused = cue(query, first + second, second).detach()
    with torch.no_grad():
        assert torch.allclose(cue(query, first + second, second), fused, atol=1e-5)


def test_sixteen_bits_around_it_leave_a_processor_s_reading_as_it_is():
    torch.manual_seed(1)
    cue, query = MatchingCue(16, 4, 4), unit(1, 16, 8, 14)
    first, second = (References.of(unit(1, 16, 8, 14), torch.rand(1, 3, 8, 14)) for _ in range(2))
    with torch.no_grad():
        plain = cue(query, first + second, second)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(cue(query, first + second, second), plain)


@vnni
@pytest.mark.parametrize("temperature", [5.0, 37.0])
def test_reading_in_8_bits_is_nearly_the_same(temperature: float, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(1)
    monkeypatch.setattr(reading, "BLOCK", (50, 35))
    monkeypatch.delattr(matching, "read_in_blocks")
    cue = MatchingCue(64, 4, 4)
    torch.nn.init.constant_(cue.log_temperature, math.log(temperature))
    first, second = (References.of(unit(2, 64, 8, 14), (torch.rand(2, 3, 8, 14) > 0.6).float()) for _ in range(2))
    kept = replace(first + second, sharpness=2.0, trusted=1, favour=2.0)
    for query in (second.keys[:, :, 0], unit(2, 64, 8, 14), -second.keys[:, :, 0]):
        fused = cue(query, kept, second).detach()
        cue.quantized = True
        with torch.no_grad():
            assert_nearly(cue(query, kept, second), fused)
            assert_nearly(cue(query, kept.select([1, 0]), second.select([1, 0])), fused[:, :, [1, 0]])
        cue.quantized = False


def assert_nearly(rounded: torch.Tensor, exact: torch.Tensor) -> None:
    """Random keys are a hard case: much of what is read hangs on two that are almost equally alike."""
    difference = (rounded - exact).abs()
    assert difference.mean() < 0.01 and difference.max() < 0.15


@vnni
def test_rounded_keys_are_kept_for_the_same_references_only():
    torch.manual_seed(1)
    rounding, plain, query = MatchingCue(16, 4, 4), MatchingCue(16, 4, 4), unit(1, 16, 6, 8)
    rounding.quantized = True
    first, second = (References.of(unit(1, 16, 6, 8), torch.rand(1, 1, 6, 8)) for _ in range(2))
    with torch.no_grad():
        for kept in (first, second, replace(second, sharpness=3.0), first + second, first):
            assert (rounding(query, kept, first) - plain(query, kept, first)).abs().max() < 0.03


def test_logits_beyond_the_range_of_8_bits_are_read_in_float32():
    torch.manual_seed(1)
    cue, keys = MatchingCue(16, 4, 4), unit(1, 16, 4, 6)
    torch.nn.init.constant_(cue.log_temperature, math.log(85.0))
    references = References.of(keys, torch.rand(1, 2, 4, 6))
    with torch.no_grad():
        plain = cue(keys, references, references)
        cue.quantized = True
        assert torch.equal(cue(keys, references, references), plain)


def test_logits_beyond_the_range_of_exp_of_exp_are_read_by_the_fused_form(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(1)
    cue, keys = MatchingCue(16, 4, 4), unit(1, 16, 4, 6)
    torch.nn.init.constant_(cue.log_temperature, 6.0)
    monkeypatch.delattr(matching, "read_in_blocks")
    references = References.of(keys, torch.rand(1, 2, 4, 6))
    with torch.no_grad():
        assert torch.isfinite(cue(keys, references, references)).all()


def test_where_nothing_is_alike_the_reading_in_blocks_is_no_object():
    cue, keys = MatchingCue(4, 4, 4), torch.zeros(1, 4, 4, 6)
    torch.nn.init.constant_(cue.log_temperature, math.log(95.0))
    keys[:, 0] = 1
    references = References.of(keys, torch.ones(1, 1, 4, 6))
    with torch.no_grad():
        assert (cue(-keys, references, references)[:, 0] == 0).all()


def test_last_frame_prefers_the_near_one_of_two_twins():
    cue = MatchingCue(4, 4, 4)
    keys = torch.zeros(1, 4, 8, 32)
    keys[:, 0] = 1  # background
    for left in (4, 24):
        keys[:, :, 2:6, left : left + 4] = torch.tensor([0.0, 1, 0, 0]).view(1, 4, 1, 1)
    masks = torch.zeros(1, 1, 8, 32)
    masks[:, :, 2:6, 4:8] = 1
    references = References.of(keys, masks)
    with torch.no_grad():
        kept, last = cue(keys, references, references)[0, :, 0]
    assert last[3, 5] > 0.9
    assert last[3, 25] < 0.1
    assert abs(kept[3, 5] - kept[3, 25]) < abs(last[3, 5] - last[3, 25])


def test_a_trusted_frame_outweighs_another_that_looks_the_same():
    cue, keys = MatchingCue(4, 4, 4), unit(1, 4, 4, 6)
    both = References.of(keys, torch.ones(1, 1, 4, 6)) + References.of(keys, torch.zeros(1, 1, 4, 6))
    with torch.no_grad():
        even, first, all_alike = (
            float(cue(keys, references, both)[0, 0].mean())
            for references in (both, replace(both, favour=3.0), replace(both, favour=3.0, trusted=2))
        )
    assert even == pytest.approx(0.5, abs=1e-4) and all_alike == pytest.approx(0.5, abs=1e-4)
    assert first == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-4)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("eight_bits", [pytest.param(True, marks=vnni), False])
def test_of_an_object_only_frames_that_know_of_it_are_read(gradients: bool, eight_bits: bool):
    every, newer, last = known_late()
    cue, query = MatchingCue(64, 4, 4), unit(1, 64, 8, 14)
    cue.quantized = eight_bits
    with torch.set_grad_enabled(gradients):
        read, alone = (cue(query, kept.widen(4), last.widen(4))[:, 0] for kept in (every, newer))
        told = cue(query, replace(every, known=()), last)[:, 0]
    assert every.unequal == [((0.0, 1.0, 1.0), [2])] and newer.unequal == []
    assert (read[:, 2] - alone[:, 2]).abs().max() < (0.05 if eight_bits and not gradients else 1e-5)
    assert (told[:, 2] - alone[:, 2]).abs().max() > 0.1  # were it said that the first frame has nothing of it
    assert torch.allclose(read[:, :2], told[:, :2], atol=1e-5) and (read[:, 3] == 0).all()


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("eight_bits", [pytest.param(True, marks=vnni), False])
def test_of_an_object_every_frame_is_read_as_much_as_it_counts(gradients: bool, eight_bits: bool):
    every, *_ = known_late()
    doubted = replace(every, known=((1.0, 0.05, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0)))
    cue, query = MatchingCue(64, 4, 4), unit(1, 64, 8, 14)
    cue.quantized = eight_bits
    with torch.set_grad_enabled(gradients):
        told, read = (cue(query, kept, every.frames(2))[:, 0] for kept in (replace(every, known=()), doubted))
        alone = cue(query, replace(every.frames(0, 1) + every.frames(2), favour=math.log(0.05)), every.frames(2))[:, 0]
    assert (read[:, 1] - alone[:, 1]).abs().max() < (0.05 if eight_bits and not gradients else 1e-5)
    assert (told[:, 1] - alone[:, 1]).abs().max() > 0.1
    assert torch.allclose(read[:, ::2], told[:, ::2], atol=1e-5)
