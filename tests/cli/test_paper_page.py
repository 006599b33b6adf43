"""The commands of docs/paper.md, in their order, on small data sets with a small trunk."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
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


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash at hand")
def test_the_script_of_the_small_ablation_trains_and_scores_a_row(rvos, tmp_path: Path):
    trees.davis2017(tmp_path / "DAVIS", names=("bear",))
    clip = tmp_path / "CLIPS" / "bear"
    clip.mkdir(parents=True)
    for path in (tmp_path / "DAVIS").glob("*/480p/bear/*"):
        shutil.copy(path, clip)
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    links, rows = script.split("export OMP_NUM_THREADS=1\n")
    subprocess.run(["bash", "-ec", links], check=True, cwd=tmp_path)
    for name, value in {"recurrence": "both", "stages": "1", "row": "ST"}.items():
        rows = rows.replace(f"${name}", value)
    train, evaluate = re.findall(r"^  rvos (.*)$", rows.replace("\\\n", ""), re.M)
    for command, small in ((train, SMALL), (evaluate, ["--sequences", "bear", "--device", "cpu"])):
        done = rvos(*shlex.split(command), *small)
        assert done.code == 0, done.err
    assert (tmp_path / "runs" / "ST" / "scores.csv").is_file()
