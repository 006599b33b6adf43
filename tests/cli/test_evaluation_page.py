"""Every command and the script of docs/evaluation.md, on small data sets of the names used there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import trees

import rvos_cli

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
SCRIPTS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model) -> None:
    """Lay out what the page names, with the tiny network as lite."""
    root = trees.davis2017(tmp_path / "DAVIS")
    trees.davis2017(root, split="test-dev")
    (root / "ImageSets/2016").mkdir()
    (root / "ImageSets/2016/val.txt").write_text("bear\n")
    trees.youtube(tmp_path / "YouTubeVOS")
    trees.youtube(tmp_path / "YouTubeVOS", split="train", full=True)
    images = Path("JPEGImages")
    shutil.copytree(tmp_path / "YouTubeVOS/valid" / images, tmp_path / "YouTubeVOS/valid_all_frames" / images)
    shutil.copytree(root / "Annotations/480p", tmp_path / "results")
    shutil.copytree(root / images / "480p", tmp_path / "clips/frames")
    shutil.copytree(root / "Annotations/480p", tmp_path / "clips/masks")
    # In this order: the package takes the name from there when it is first asked for.
    monkeypatch.setattr(rvos_cli, "load_model", lambda *_, **__: tiny_model)
    monkeypatch.setattr("rvos_cli.segmenter.load_model", lambda *_, **__: tiny_model)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_works(rvos, data, command):
    words = shlex.split(command)
    if "--plot" in words:
        pytest.importorskip("matplotlib")
    assert words[0] == "rvos"
    done = rvos(*words[1:])
    assert done.code == 0, done.err
    for option in ("--csv", "--plot", "--submission"):
        if option in words:
            assert Path(words[words.index(option) + 1]).stat().st_size > 100


def test_the_script_of_the_page_works(data, capsys):
    for script in SCRIPTS:
        exec(compile(script, "docs/evaluation.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "1.0"
    assert Path("davis.zip").is_file()


def test_the_page_has_commands():
    assert len(COMMANDS) >= 10
    assert len(SCRIPTS) == 1
