"""The commands of docs/paper.md, in their order, on small data sets with a small trunk."""

import re
import shlex
from pathlib import Path

import torch
import torchvision
import trees

PAGE = (Path(__file__).parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
SMALL = shlex.split("--trunk resnet34 --clip-size 64x96 --max-objects 2 --steps 1 --batch 1 --workers 0 --device cpu")


def test_the_commands_of_the_page_train_score_and_export(rvos, tmp_path: Path):
    trees.youtube(tmp_path / "YouTubeVOS", split="train", full=True)
    trees.davis2017(tmp_path / "DAVIS", split="train", names=("bear",))
    trees.davis2017(tmp_path / "DAVIS", names=("bear",))
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "resnet101.pth")
    assert [shlex.split(command)[1] for command in COMMANDS] == ["train", "train", "train", "evaluate", "weights"]
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        done = rvos(*words, *(SMALL if words[0] == "train" else ()))
        assert done.code == 0, done.err
        assert "warning" not in done.err
    assert (tmp_path / "my-model" / "encoder.pt").is_file()
    assert (tmp_path / "runs" / "zero-shot" / "weights.safetensors").is_file()
