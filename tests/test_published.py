"""Published checkpoints give their published numbers, and nothing that comes with them can run code."""

from __future__ import annotations

import os
import pickle
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden.cases import CASES, FRAMES, HEIGHT, SLOTS, STEPS, WIDTH
from golden.reference import deterministic_frames, deterministic_masks, published_states

from rvos_cli.config import IMAGENET_MEAN
from rvos_cli.errors import WeightsError
from rvos_cli.published import Checkpoint, convert, is_published, read_args, read_checkpoint
from rvos_cli.weights import load_published

SHARED = Path(__file__).resolve().parents[2] / "shared" / "golden"
MASKED_OBJECTS = {"resnet101-oneshot-64x96": 2, "resnet101-oneshot-240x427": 1}
ARGS = {"base_model": "resnet34", "hidden_size": 16, "kernel_size": 3, "skip_mode": "concat", "maxseqlen": 4}


@pytest.mark.parametrize(
    "name",
    [
        "resnet34-zeroshot-64x96",
        "resnet101-oneshot-64x96",
        "resnet101-oneshot-240x427",
        "resnet50-zeroshot-65x97-skip_mode_sum",
    ],
)
def test_the_authors_outputs_are_reproduced(name: str) -> None:
    path = SHARED / f"{name}.npz"
    if not path.is_file():
        pytest.skip("the shared golden files are not here")
    expected = np.load(path)["probs"]
    trunk, kind, size, *option = name.split("-")
    height, width = map(int, size.split("x"))
    frames, slots = expected.shape[:2]
    args = {"base_model": trunk, "hidden_size": 128, "kernel_size": 3, "skip_mode": "concat", "maxseqlen": slots}
    if option:
        args["skip_mode"] = option[0].removeprefix("skip_mode_")
    masks = deterministic_masks(slots, MASKED_OBJECTS[name], height, width) if kind == "oneshot" else None
    model = load_published(*published_states(args, oneshot=kind == "oneshot"), args)
    probs = model.forward_clip(deterministic_frames(frames, height, width), masks)
    assert probs.dtype == torch.float32 and tuple(probs.shape) == expected.shape
    tolerance = 2e-3 if expected.dtype == np.float16 else 1e-4
    assert np.abs(probs.numpy() - expected.astype(np.float32)).max() < tolerance


@pytest.mark.parametrize("name", CASES)
def test_an_independent_reading_of_the_description_agrees(name: str) -> None:
    case = CASES[name]
    expected = np.load(Path(__file__).parent / "golden" / "published.npz")[name] / STEPS
    masks = None if case.objects is None else deterministic_masks(SLOTS, case.objects, HEIGHT, WIDTH)
    model = load_published(*published_states(case.args, oneshot=case.objects is not None), case.args)
    probs = model.forward_clip(deterministic_frames(FRAMES, HEIGHT, WIDTH), masks)
    assert np.abs(probs.numpy() - expected).max() < 1e-4


@pytest.fixture(scope="module")
def states() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return published_states(ARGS, oneshot=False)


@pytest.fixture(scope="module")
def folder(states: tuple[dict[str, torch.Tensor], ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the authors' code leaves it after training on several GPUs."""
    folder = tmp_path_factory.mktemp("published") / "model"
    folder.mkdir()
    for name, state in zip(("encoder.pt", "decoder.pt"), states, strict=True):
        parallel = OrderedDict((f"module.{key}", value) for key, value in state.items())
        if name == "decoder.pt":
            parallel["module.fc_stop.weight"] = torch.zeros(1, 30)
        torch.save(parallel, folder / name, _use_new_zipfile_serialization=False)
    (folder / "enc_opt.pt").write_bytes(b"never read")
    (folder / "args.pkl").write_bytes(pickle.dumps(Namespace(**ARGS, gpu_id=[0, 1], dropout=0.0, resume=None), 2))
    return folder


def test_a_folder_of_several_gpus_is_read(folder: Path) -> None:
    assert is_published(folder)
    config, tensors = convert(read_checkpoint(folder))
    assert (config.trunk, config.hidden_size, config.slots, config.mask_input) == ("resnet34", 16, 4, False)
    assert (config.key_dim, config.mean, config.size) == (0, IMAGENET_MEAN, 256)
    assert config.can_segment and not config.can_track
    assert "decoder.conv_out.weight" in tensors and "encoder.base.conv1.weight" in tensors
    assert not any("module." in key or "fc" in key.split(".") or "fc_stop" in key for key in tensors)


def test_a_zip_is_read_at_the_top_and_one_folder_deeper(folder: Path, tmp_path: Path) -> None:
    wanted = read_checkpoint(folder)
    for prefix in ("", "model/"):
        path = tmp_path / "model.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("encoder.pt", "decoder.pt", "args.pkl"):
                archive.write(folder / name, f"{prefix}{name}")
            archive.writestr("__MACOSX/model/._encoder.pt", b"of no use")
        assert is_published(path)
        found = read_checkpoint(path)
        assert found.args == wanted.args
        assert all(torch.equal(value, wanted.decoder[key]) for key, value in found.decoder.items())


def test_a_folder_is_read_one_folder_deeper(folder: Path) -> None:
    assert read_checkpoint(folder.parent).args == read_checkpoint(folder).args


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../encoder.pt", "/encoder.pt", "a/../../b", "..\\encoder.pt", "C:\\encoder.pt"])
def test_a_zip_entry_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    path = _zip(tmp_path / "model.zip", {"encoder.pt": b"", "decoder.pt": b"", name: b"x"})
    with pytest.raises(WeightsError, match="leaves its folder"):
        read_checkpoint(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.zip"]


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no encoder\.pt and no decoder\.pt; give the authors' folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match=r"checkpoint: it has no decoder\.pt;"):
        read_checkpoint(_zip(tmp_path / "half.zip", {"model/encoder.pt": b""}))


def test_two_checkpoints_in_one_folder_are_not_guessed_between(tmp_path: Path) -> None:
    entries = {f"{base}/{name}": b"" for base in "ab" for name in ("encoder.pt", "decoder.pt")}
    with pytest.raises(WeightsError, match=r"several checkpoints \(a/, b/\)"):
        read_checkpoint(_zip(tmp_path / "two.zip", entries))


def test_damaged_zips_and_tensors_are_one_line(tmp_path: Path) -> None:
    path = _zip(tmp_path / "bad.zip", {"encoder.pt": b"no tensors", "decoder.pt": b"none"})
    with pytest.raises(WeightsError, match=r"encoder\.pt cannot be read"):
        read_checkpoint(path)
    path = tmp_path / "cut.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("encoder.pt", b"0123456789" * 10)
        archive.writestr("decoder.pt", b"x")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0000000000", 1))
    with pytest.raises(WeightsError, match=r"the zip .* cannot be read"):
        read_checkpoint(path)


def test_a_damaged_zip_is_one_line_however_it_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "packed.zip"
    for way in ("deflate", "bz2", "lzma"):
        if way != "deflate":
            pytest.importorskip(way)
        packing = {"deflate": zipfile.ZIP_DEFLATED, "bz2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}[way]
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr("encoder.pt", os.urandom(2000))
            archive.writestr("decoder.pt", b"x")
            start = archive.getinfo("encoder.pt").header_offset + len("encoder.pt") + 30
        data = bytearray(path.read_bytes())
        data[start + 4 : start + 400] = b"\xff" * 396  # behind the four bytes that say which LZMA it is
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"the zip .* cannot be read"):
            read_checkpoint(path)


class Touch:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def test_tensor_files_cannot_run_code(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    folder = tmp_path / "model"
    folder.mkdir()
    for new in (True, False):
        for name in ("encoder.pt", "decoder.pt"):
            torch.save({"sk5.weight": Touch(trap)}, folder / name, _use_new_zipfile_serialization=new)
        with pytest.raises(WeightsError, match="holds more than tensors, which rvos refuses") as caught:
            read_checkpoint(folder)
        assert "weights_only" not in str(caught.value)  # torch's advice is how to run it after all
    assert not trap.exists()


def test_tensor_files_must_hold_named_tensors(tmp_path: Path) -> None:
    for name in ("encoder.pt", "decoder.pt"):
        torch.save({"epoch": 3}, tmp_path / name)
    with pytest.raises(WeightsError, match="something else than named tensors"):
        read_checkpoint(tmp_path)
    torch.save([torch.zeros(1)], tmp_path / "encoder.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        read_checkpoint(tmp_path)


PLAIN = {"base_model": "résnet", "lr": 1e-3, "gpu": [0, (1, 2)], "resume": None, "all": {"a": True}, "big": 2**70}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arguments_of_every_protocol_are_read(protocol: int) -> None:
    assert read_args(pickle.dumps(Namespace(**PLAIN), protocol)) == PLAIN


@pytest.mark.parametrize(
    "data",
    [
        b"ccopy_reg\n_reconstructor\np0\n(cargparse\nNamespace\np1\nc__builtin__\nobject\np2\nNtp3\nRp4\n"
        b"(dp5\nS'base_model'\np6\nS'resnet101'\np7\nsS'note'\np8\nS'\\xe9'\np9\nsS'n'\np10\nL5L\nsb.",
        b"\x80\x02cargparse\nNamespace\nq\x00)\x81q\x01}q\x02(U\nbase_modelq\x03U\tresnet101q\x04"
        b"U\x04noteq\x05U\x01\xe9q\x06U\x01nq\x07K\x05ub.",
    ],
    ids=["protocol 0", "protocol 2"],
)
def test_arguments_of_python_2_are_read(data: bytes) -> None:
    assert read_args(data) == {"base_model": "resnet101", "note": "é", "n": 5}


def test_arguments_cannot_run_code(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for hidden in (Touch(trap), Namespace(x=Touch(trap)), Namespace(x=[{"y": Touch(trap)}])):
            with pytest.raises(WeightsError, match=r"args\.pkl is refused \(it names "):
                read_args(pickle.dumps(hidden, protocol))
    assert not trap.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cargparse\nArgumentParser\n)R.",
        b"cargparse\nNamespace.__init__.__globals__\n.",
        b"\x80\x04\x8c\x08argparse\x8c\x12Namespace.__init__\x93.",
        b"ccopyreg\n_reconstructor\n(cargparse\nNamespace\ncargparse\nNamespace\nNtR.",
        b"c__builtin__\nobject\n)R.",
        b"cargparse\nNamespace\n.",
        b"I1\n.",
        b"",
        b"\x80",
        b"garbage",
        b"}r\xff\xff\xff\xff.",
        b"\x80\x05\x96\x00\x00\x00\x00\x00\x00\x00\x10.",
        b"\x80\x02\x82\x01.",
        b"P1\n.",
    ],
)
def test_other_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(WeightsError, match=r"args\.pkl is refused"):
        read_args(data)


def test_a_pickle_cannot_change_the_namespace_class() -> None:
    with pytest.raises(WeightsError):
        read_args(b"cargparse\nNamespace\n(N}S'__contains__'\nI1\nstb.")  # a state for the class itself
    assert "a" in Namespace(a=1)


def test_a_namespace_of_other_things_is_refused() -> None:
    for value in (b"bytes", {1, 2}, 1j, Namespace(a=1), Path("x")):
        with pytest.raises(WeightsError, match=r"args\.pkl is refused"):
            read_args(pickle.dumps(Namespace(value=value)))


def test_values_that_contain_themselves_end() -> None:
    ring: list[object] = []
    ring.append(ring)
    wide: list[object] = [0] * 100
    for _ in range(8):
        wide = [wide] * 100
    for value in (ring, wide):
        with pytest.raises(WeightsError, match="too many values"):
            read_args(pickle.dumps(Namespace(value=value)))


def _without(state: dict[str, torch.Tensor], *keys: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


def test_without_arguments_the_network_is_read_off_its_tensors(states: tuple[dict[str, torch.Tensor], ...]) -> None:
    config, _ = convert(Checkpoint(*states, {}))
    assert (config.trunk, config.hidden_size, config.kernel_size) == ("resnet34", 16, 3)
    assert (config.skip_mode, config.slots, config.spatial, config.temporal) == ("concat", 10, True, True)


def test_recurrences_come_from_the_arguments(states: tuple[dict[str, torch.Tensor], ...]) -> None:
    assert not convert(Checkpoint(*states, {"only_temporal": True}))[0].spatial
    assert not convert(Checkpoint(*states, {"only_spatial": True}))[0].temporal


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ({"hidden_size": 128}, "hidden_size is 128 in its arguments, but 16 by its tensors"),
        ({"base_model": "vgg16"}, "base_model is 'vgg16' in its arguments, but resnet34 by"),
        ({"kernel_size": 1}, "kernel_size is 1"),
        ({"skip_mode": "sum"}, "the skip_mode 'sum' does not fit"),
        ({"skip_mode": "product"}, "the skip_mode 'product' does not fit"),
        ({"maxseqlen": 0}, "maxseqlen must be between 1 and 254, not 0"),
        ({"maxseqlen": "10"}, "maxseqlen must be between 1 and 254, not '10'"),
    ],
)
def test_arguments_that_contradict_the_tensors_are_refused(
    args: dict[str, Any], line: str, states: tuple[dict[str, torch.Tensor], ...]
) -> None:
    with pytest.raises(WeightsError, match=line):
        convert(Checkpoint(*states, args))


def test_a_network_without_concatenation_needs_its_arguments() -> None:
    encoder, decoder = published_states({**ARGS, "skip_mode": "mul"}, oneshot=True)
    with pytest.raises(WeightsError, match=r"needs its own args\.pkl"):
        convert(Checkpoint(encoder, decoder, {}))
    config, _ = convert(Checkpoint(encoder, decoder, {"skip_mode": "mul"}))
    assert config.mask_input and config.can_track and not config.can_segment


def test_tensors_of_other_networks_are_refused(states: tuple[dict[str, torch.Tensor], ...]) -> None:
    encoder, decoder = states
    broken = {**decoder, "clstm_list.0.Gates.weight": torch.zeros(64, 50, 3, 3)}
    for parts, line in [
        ((_without(encoder, "sk5.weight"), decoder), "it has no sk5.weight"),
        (({**encoder, "sk5.weight": torch.zeros(3)}, decoder), "too few axes"),
        (({"layer.weight": torch.zeros(3)}, decoder), "trunk is none of resnet34, resnet50, resnet101, vgg16"),
        ((encoder, broken), "other shapes"),
        ((_without(encoder, "bn2.bias"), decoder), r"1 missing \(such as encoder.bn2.bias\)"),
        ((encoder, {**decoder, "conv_in.bias": torch.zeros(1)}), r"1 unknown \(such as decoder.conv_in.bias\)"),
        ((encoder, {**decoder, "conv_out.bias": torch.zeros(2)}), "1 of another shape"),
    ]:
        with pytest.raises(WeightsError, match=line):
            load_published(*parts, {})


def test_old_checkpoints_without_batch_counters_load(states: tuple[dict[str, torch.Tensor], ...]) -> None:
    encoder, decoder = states
    older = {key: value for key, value in encoder.items() if not key.endswith("num_batches_tracked")}
    model = load_published(older, decoder, Namespace(**ARGS))
    assert not model.training and model.config.slots == 4
