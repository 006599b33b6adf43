"""The mean of two networks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError, WeightsError
from rvos_cli.model import RVOS
from rvos_cli.training.averaging import average, main
from rvos_cli.weights import load_weights, save_weights

CONFIG = ModelConfig(hidden_size=16, key_dim=8)


def saved(path: Path, seed: int, config: ModelConfig = CONFIG) -> Path:
    torch.manual_seed(seed)
    save_weights(path, config, RVOS(config).state_dict())
    return path


def test_the_mean_lies_between_the_two(tmp_path: Path):
    first, second = saved(tmp_path / "a.safetensors", 1), saved(tmp_path / "b.safetensors", 2)
    average(first, second, 0.25, tmp_path / "mixed.safetensors")
    a, b, mixed = (load_weights(path) for path in (first, second, tmp_path / "mixed.safetensors"))
    assert mixed.config == a.config
    for name, tensor in mixed.tensors.items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, 0.75 * a.tensors[name] + 0.25 * b.tensors[name], atol=1e-6)
    assert not torch.equal(mixed.tensors["decoder.conv_out.weight"], a.tensors["decoder.conv_out.weight"])


def test_weights_for_another_size_and_number_of_slots_are_of_the_same_network(tmp_path: Path):
    first = saved(tmp_path / "a.safetensors", 1)
    other = saved(tmp_path / "b.safetensors", 2, replace(CONFIG, size=96, slots=5))
    average(first, other, 0.5, tmp_path / "mixed.safetensors")
    assert load_weights(tmp_path / "mixed.safetensors").config == CONFIG


def test_weights_that_know_boxes_alone_go_with_some_that_know_points(tmp_path: Path):
    boxes, points = replace(CONFIG, boxes=True), replace(CONFIG, boxes=True, points=True)
    first, second = saved(tmp_path / "a.safetensors", 1, boxes), saved(tmp_path / "b.safetensors", 2, points)
    for share in (0.0, 0.5):
        average(first, second, share, tmp_path / "mixed.safetensors")
        a, b, mixed = (load_weights(path) for path in (first, second, tmp_path / "mixed.safetensors"))
        assert mixed.config == points
        name = "box_decoder.clstm_list.0.Gates.weight"
        hidden = 2 * 16
        known, new = mixed.tensors[name][:, : -hidden - 2], mixed.tensors[name][:, -hidden - 2 : -hidden]
        assert torch.allclose(new, share * b.tensors[name][:, -hidden - 2 : -hidden], atol=1e-6)
        mean = (1 - share) * a.tensors[name][:, :-hidden] + share * b.tensors[name][:, : -hidden - 2]
        assert torch.allclose(known, mean, atol=1e-6)
    with pytest.raises(WeightsError, match="of different networks"):
        average(second, first, 0.5, tmp_path / "mixed.safetensors")


def test_what_cannot_be_averaged_is_told(tmp_path: Path):
    first = saved(tmp_path / "a.safetensors", 1)
    # The latter has tensors of the same shapes.
    for change in ({"hidden_size": 32}, {"mean": (0.4, 0.4, 0.4)}, {"spatial": False, "temporal": True}):
        other = saved(tmp_path / "b.safetensors", 2, replace(CONFIG, **change))
        with pytest.raises(WeightsError, match=f"different networks .*{next(iter(change))} is "):
            average(first, other, 0.5, tmp_path / "mixed.safetensors")
    with pytest.raises(UsageError, match="no share"):
        average(first, first, 1.5, tmp_path / "mixed.safetensors")
    assert not (tmp_path / "mixed.safetensors").exists()


@pytest.mark.parametrize("words", [[], ["a", "b", "0.5"], ["a", "b", "half", "c"], ["a", "b", "nan", "c"]])
def test_wrong_words_are_one_clear_error(words: list[str]):
    with pytest.raises(UsageError, match="four words" if len(words) < 4 else "is no share"):
        main(words)
