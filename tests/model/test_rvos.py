"""The recurrence: what each slot sees, that state is a value, that clip() is step() in a loop."""

import pytest
import torch

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS, References

PUBLISHED = {"trunk": "resnet34", "hidden_size": 16, "key_dim": 0, "slots": 3}
LITE = {"hidden_size": 16, "key_dim": 8}


def network(**values) -> RVOS:
    torch.manual_seed(0)
    model = RVOS(ModelConfig(**values)).eval()
    return model


@pytest.mark.parametrize("mask_input", [False, True])
def test_clip_is_step_in_a_loop(mask_input):
    model = network(**PUBLISHED, mask_input=mask_input)
    frames, masks = torch.randn(4, 2, 3, 64, 96), torch.rand(2, 3, 64, 96) if mask_input else None
    with torch.no_grad():
        expected = model.clip(frames, masks)
        state, seen, answers = None, masks, []
        for t, frame in enumerate(frames):
            seen = answers[-1] if t > 1 and mask_input else seen
            out = model.step(frame, state, slots=3, masks=seen)
            state = out.state
            answers.append(out.logits.sigmoid())
    assert torch.equal(expected, torch.stack(answers))


def test_a_step_leaves_the_state_that_it_was_given_as_it_was():
    model = network(**PUBLISHED, mask_input=False)
    frame = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        state = model.step(frame, slots=2).state
        before = [h.clone() for h in state.slots[0]]
        first = model.step(frame, state, slots=2).logits
        again = model.step(frame, state, slots=2).logits
    assert torch.equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip(before, state.slots[0], strict=True))


def test_frames_that_are_encoded_together_as_on_a_gpu_are_encoded_as_one_by_one():
    clips = torch.randn(2, 3, 3, 64, 96)
    together, alone = network(**LITE).train(), network(**LITE).train()  # the projections' norms learn statistics
    for model in (together, alone):
        model.encoder.base.eval()
    with torch.no_grad():
        for t, features in enumerate(together._encode_together(clips)):
            expected = alone.encode(clips[:, t])  # as `encode_clips` does on a processor
            assert features.size == expected.size
            pairs = zip((*features.skips, features.keys), (*expected.skips, expected.keys), strict=True)
            assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)
    means = [model.encoder.bn2.running_mean for model in (together, alone)]
    assert torch.allclose(*means, atol=1e-6)


def test_a_batch_is_its_clips_one_by_one():
    model = network(**PUBLISHED, mask_input=False)
    frames = torch.randn(2, 2, 3, 64, 64)
    with torch.no_grad():
        together = model.clip(frames)
        alone = torch.cat([model.clip(frames[:, b : b + 1]) for b in range(2)], dim=1)
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(("option", "axis"), [({"temporal": False}, "time"), ({"spatial": False}, "space")])
def test_each_recurrence_can_be_switched_off(option, axis):
    model = network(**PUBLISHED, mask_input=False, **option)
    frames = torch.randn(3, 1, 3, 64, 64)
    with torch.no_grad():
        whole = model.clip(frames)
        if axis == "time":
            assert torch.allclose(whole[2], model.clip(frames[2:])[0], atol=1e-6)
        else:  # the published time-only network still links the slots of the very first frame
            same = model.step(frames[0], slots=2).logits
            assert not torch.equal(same[:, 0], same[:, 1])
            state = model.step(frames[0], slots=1).state
            twice = type(state)((state.slots[0], state.slots[0]))
            later = model.step(frames[1], twice, slots=2).logits
            assert torch.allclose(later[:, 0], later[:, 1], atol=1e-6)


def lite_inputs(model: RVOS, slots: int):
    frame, masks = torch.randn(1, 3, 64, 96), torch.zeros(1, slots, 64, 96)
    masks[:, 0, 10:40, 20:60] = 1
    known = torch.zeros(1, slots)
    known[:, 0] = 1
    first = model.step(frame, slots=slots, masks=masks, known=known)
    return frame, masks, known, first, References.of(first.keys, masks)


def test_objects_do_not_depend_on_slots_behind_them():
    model = network(**LITE)
    with torch.no_grad():
        frame, masks, known, first, memory = lite_inputs(model, 3)
        three = model.step(frame, first.state, slots=3, masks=masks, known=known, kept=memory, last=memory)
        alone = memory.select([0])
        one = model.step(frame, first.state, slots=1, masks=masks[:, :1], known=known[:, :1], kept=alone, last=alone)
    assert torch.allclose(three.logits[:, :1], one.logits, atol=1e-5)


def test_a_slot_that_looks_for_an_object_starts_afresh():
    model = network(**LITE)
    with torch.no_grad():
        frame, masks, known, first, memory = lite_inputs(model, 2)
        options = {"slots": 2, "masks": masks, "known": known, "kept": memory, "last": memory}
        with_state = model.step(frame, first.state, **options)
        without = model.step(frame, first.state.select([0]), **options)
    assert torch.allclose(with_state.logits, without.logits, atol=1e-6)
    assert with_state.cue[:, :, 1].abs().max() == 0


def test_an_untrained_network_follows_by_its_cue_alone():
    model = network(**LITE)
    torch.nn.init.zeros_(model.decoder.conv_out.weight)
    torch.nn.init.zeros_(model.decoder.conv_out.bias)
    with torch.no_grad():
        frame, masks, known, first, memory = lite_inputs(model, 1)
        out = model.step(frame, first.state, slots=1, masks=masks, known=known, kept=memory, last=memory)
    inside = out.logits.sigmoid()[0, 0] > out.logits.sigmoid().mean()
    overlap = (inside & (masks[0, 0] > 0)).sum() / (masks[0, 0] > 0).sum()
    assert overlap > 0.5
