"""The network in the form that graphs replay, computed as it is, against the plain network."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS, RecurrentState, References, matching
from rvos_cli.model.folding import fold_norms
from rvos_cli.model.graphed import GraphedRVOS, for_gpu
from rvos_cli.preprocess import network_input

SIZE = (64, 96)


def built(**values) -> RVOS:
    torch.manual_seed(0)
    model = RVOS(ModelConfig(hidden_size=32, **values)).eval()
    for cell in model.decoder.clstm_list:  # the untrained kernels' answers are all alike
        nn.init.normal_(cell.Gates.weight, std=0.05)
        nn.init.normal_(cell.Gates.bias, std=0.3)
    return fold_norms(model).to(memory_format=torch.channels_last)


def graphed(model: RVOS, dtype: torch.dtype = torch.float32) -> GraphedRVOS:
    return GraphedRVOS(for_gpu(deepcopy(model), dtype), dtype, network_input)


def pictures(count: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randint(0, 256, (50, 75, 3), dtype=torch.uint8) for _ in range(count)]


def encoded(model: RVOS, picture: torch.Tensor):
    if isinstance(model, GraphedRVOS):
        return model.encode_pictures([picture], SIZE)[0]
    return model.encode(network_input(picture[None], SIZE, model.config))


def followed(
    model: RVOS, *, objects: int = 2, free: int = 1, late: int = 0, doubted: bool = False
) -> list[torch.Tensor]:
    """Follow objects over five frames as trackers do and look for more; return logits, states and keys of each.

    The first frame knows not of the last *late* objects; *doubted*: it counts little for every second of the others.
    """
    torch.manual_seed(2)
    slots = objects + free
    masks = torch.zeros(1, slots, *SIZE)
    for slot in range(objects):
        masks[0, slot, 8 * slot : 8 * slot + 30, 8 * slot : 8 * slot + 40] = 1
    known = torch.tensor([[1.0] * objects + [0.0] * free])
    state: RecurrentState | None = None
    kept = last = None
    answers = []
    with torch.inference_mode():
        for index, picture in enumerate(pictures(5)):
            out = model.decode(
                encoded(model, picture), state, slots=slots, masks=masks, known=known, kept=kept, last=last
            )
            state = out.state.select(range(objects))
            masks = out.logits.sigmoid() * known[..., None, None]
            last = References.of(out.keys, masks[:, :objects])
            if kept is None:
                kept = References(last.keys, last.masks[:, : objects - late], sharpness=2.0, favour=3.0)
                if doubted:
                    kept = replace(kept, known=(tuple(0.05 if n % 2 else 1.0 for n in range(objects - late)),))
            elif index == 2:
                kept = kept + last
            answers += [out.logits, out.keys, *(hidden for slot in state.slots for hidden in slot)]
    return answers


@pytest.fixture
def read_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """References are read at all positions, as on a GPU: on a processor what neighbours tell is filled in."""
    monkeypatch.setattr(matching, "_on_a_processor", lambda query: False)


def largest_difference(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("objects", "free"), [(1, 0), (2, 1), (5, 1)])
def test_the_form_for_graphs_equals_the_plain_network(read_everywhere, objects: int, free: int):
    model = built(key_dim=16)
    plain = followed(model, objects=objects, free=free)
    assert plain[-3].std() > 1e-3  # far more than the tolerance
    assert largest_difference(plain, followed(graphed(model), objects=objects, free=free)) < 1e-4


@pytest.mark.parametrize(("objects", "late"), [(2, 1), (3, 2), (40, 1), (140, 30)])
def test_so_it_does_where_some_frames_know_not_of_all_objects(read_everywhere, objects: int, late: int):
    model = built(key_dim=16)
    plain = followed(model, objects=objects, late=late)
    assert largest_difference(plain, followed(model, objects=objects)) > 1e-3
    assert largest_difference(plain, followed(graphed(model), objects=objects, late=late)) < 1e-4


@pytest.mark.parametrize("trunk", ["tf_efficientnet_lite0", "resnet34"])
def test_pictures_that_are_encoded_at_once_are_as_one_by_one(trunk: str):
    fast, several = graphed(built(trunk=trunk, key_dim=16)), pictures(4)
    with torch.inference_mode():
        together = fast.encode_pictures(several, SIZE)
        one_by_one = [encoded(fast, picture) for picture in several]
    for some, one in zip(together, one_by_one, strict=True):
        assert some.size == one.size == SIZE and some.keys is not None
        assert some.keys.std() > 1e-3
        assert largest_difference([*some.skips, some.keys], [*one.skips, one.keys]) < 1e-4
    assert (together[0].keys - together[1].keys).abs().max() > 1e-2


@pytest.mark.parametrize(("objects", "late"), [(2, 0), (5, 2)])
def test_so_it_does_where_some_frames_count_little_for_some_objects(read_everywhere, objects: int, late: int):
    model = built(key_dim=16)
    plain = followed(model, objects=objects, late=late, doubted=True)
    assert largest_difference(plain, followed(model, objects=objects, late=late)) > 1e-3
    assert largest_difference(plain, followed(graphed(model), objects=objects, late=late, doubted=True)) < 1e-4


@pytest.mark.parametrize("late", [0, 1])
def test_in_16_bits_it_is_near(read_everywhere, late: int):
    model = built(key_dim=16)
    plain, rounded = (followed(network, late=late) for network in (model, graphed(model, torch.bfloat16)))
    each = len(plain) // 5  # of a frame, its logits first
    assert largest_difference(plain[::each], rounded[::each]) < 0.1


@pytest.mark.parametrize(
    "option",
    [
        {"mask_input": False},
        {"mask_input": True},
        {"skip_mode": "sum", "mask_input": True},
        {"skip_mode": "mul", "mask_input": False},
        {"skip_mode": "none", "mask_input": True},
        {"spatial": False},
        {"temporal": False},
    ],
    ids=str,
)
def test_published_networks_have_the_form_as_well(option: dict):
    model = built(trunk="resnet34", key_dim=0, **option)
    answers = []
    for one in (model, graphed(model)):
        state, masks = None, torch.rand(1, 3, *SIZE) if model.config.mask_input else None
        torch.manual_seed(3)
        with torch.inference_mode():
            for picture in pictures(3):
                out = one.decode(encoded(one, picture), state, slots=3, masks=masks)
                state = out.state
                masks = out.logits.sigmoid() if model.config.mask_input else None
        answers.append([out.logits, *(hidden for slot in state.slots for hidden in slot)])
    assert answers[0][0].std() > 1e-3
    assert largest_difference(*answers) < 1e-3


def test_the_plain_network_is_left_as_it_was():
    model = built(key_dim=16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    GraphedRVOS(model, torch.float32, network_input)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_kept_frames_are_prepared_once_while_they_stay_the_same(monkeypatch: pytest.MonkeyPatch):
    fast = graphed(built(key_dim=16))
    prepared = []
    made = type(fast.matching).prepared
    monkeypatch.setattr(
        type(fast.matching), "prepared", lambda self, *rest: prepared.append(rest[1]) or made(self, *rest)
    )
    followed(fast)
    assert prepared.count(0) == 2 and prepared.count(1) == 4  # the first of five frames reads none
