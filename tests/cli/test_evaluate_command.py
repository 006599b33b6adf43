"""``rvos evaluate --dataset``: the tiny network and stand-ins on small data sets."""

import contextlib
import csv
import json
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import trees


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch, tiny_model) -> trees.Oracle:
    """Let the command run the network that knows the pictures."""
    made = trees.Oracle()
    for name in ("name", "sha256", "device", "device_reason", "config"):
        setattr(made, name, getattr(tiny_model, name))
    monkeypatch.setattr("rvos_cli.segmenter.load_model", lambda *_, **__: made)
    return made


def test_a_data_set_is_run_scored_and_submitted(rvos, oracle, tmp_path):
    trees.davis2017(tmp_path / "data")
    done = rvos(
        *("evaluate", "--dataset", "davis2017", "--root", "data", "--split", "val", "--weights", "tiny", "--json"),
        *("--csv", "out.csv", "--submission", "out.zip"),
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["dataset"], document["split"], document["task"]) == ("davis2017", "val", "semi-supervised")
    assert (document["scored"], document["J&F-Mean"], document["mode"]) == (True, 1.0, "track")
    assert document["frames"] == 2 * trees.FRAMES
    assert document["submission"] == "out.zip"
    assert set(document["weights"]) == {"name", "sha256"}
    with open("out.csv", newline="") as stream:
        assert [row["object"] for row in csv.DictReader(stream)] == ["1", "2", "all", "1", "2", "all", "all"]
    with ZipFile("out.zip") as archive:
        assert len(archive.namelist()) == 2 * trees.FRAMES
    assert "[2/2] cows: 5 frames, J&F 1.000" in done.err


def test_the_table_names_objects_and_sequences(rvos, oracle, tmp_path):
    trees.davis2016(tmp_path / "data")
    done = rvos("evaluate", "--dataset", "davis2016", "--root", "data")
    assert done.code == 0, done.err
    assert "foreground, sequences: 1, objects: 1" in done.out
    done = rvos("evaluate", "--dataset", "davis2016", "--root", "data", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_ids_that_no_true_mask_has_are_told(rvos, oracle, tmp_path):
    for index in range(4):
        trees.write_frame(tmp_path / f"data/frames/clip/{index}.jpg", trees.labels(index, (1, 3)))
        trees.write_mask(tmp_path / f"data/masks/clip/{index}.png", trees.labels(index, (1, 3)))
    line = "warning: clip: no true mask has id 2: where nothing is predicted it counts as found"
    done = rvos("evaluate", "--dataset", "folder", "--root", "data")
    assert done.code == 0 and line in done.err and line not in done.out
    done = rvos("evaluate", "--pred", "data/masks", "--gt", "data/masks", "--json")
    assert done.code == 0 and line in done.err and len(json.loads(done.out)["sequences"][0]["objects"]) == 3


def test_figures_are_told_before_a_file_fails_and_a_plot_is_checked_before_all(rvos, oracle, tmp_path):
    trees.davis2017(tmp_path / "data")
    words = ("evaluate", "--dataset", "davis2017", "--root", "data", "--task", "unsupervised", "--json")
    Path("file").touch()
    done = rvos(*words, "--csv", "file/figures.csv")
    assert done.code == 1 and "file/figures.csv" in done.error_lines[-1]
    assert json.loads(done.out)["scored"]
    done = rvos(*words, "--plot", "figures.txt")
    assert (done.code, done.out) == (2, "")


def test_files_are_written_although_nobody_reads_the_table(rvos, oracle, tmp_path, monkeypatch):
    trees.davis2017(tmp_path / "data")

    def unread(line: str, stream: object) -> None:
        if stream is sys.stdout:
            raise OSError("nobody reads")

    monkeypatch.setattr("rvos_cli.cli.console._write", unread)
    words = ("evaluate", "--dataset", "davis2017", "--root", "data", "--task", "unsupervised", "--csv", "figures.csv")
    with contextlib.suppress(OSError):
        rvos(*words)
    assert Path("figures.csv").stat().st_size > 100


def test_names_may_be_longer_than_a_path(rvos, oracle, tmp_path):
    trees.davis2017(tmp_path / "data")
    names = ",".join(f"sequence-{number}" for number in range(99))
    done = rvos("evaluate", "--dataset", "davis2017", "--root", "data", "--sequences", names)
    assert done.code == 1
    assert "sequence-0" in done.err and "unexpected" not in done.err


@pytest.mark.parametrize("text", ["\ufeffbear\ntwo cows\n", "two cows\r\n bear \r\n\r\n", "bear\ntwo cows\nbear"])
def test_a_file_names_a_sequence_a_line(rvos, oracle, tmp_path, text):
    trees.davis2017(tmp_path / "data", names=("bear", "two cows", "cows"))
    Path("names.txt").write_bytes(text.encode())
    done = rvos("evaluate", "--dataset", "davis2017", "--root", "data", "--sequences", "names.txt", "--json")
    assert done.code == 0, done.err
    assert "[2/2]" in done.err and "two cows: 5 frames" in done.err


def test_a_tilde_in_a_path_is_the_home_folder(rvos, oracle, tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    data = trees.davis2017(tmp_path / "home" / "data")
    (data / "names.txt").write_text("bear\n")
    done = rvos(
        *("evaluate", "--dataset=davis2017", "--root=~/data", "--sequences=~/data/names.txt"),
        *("--csv=~/figures.csv", "--submission=~/masks.zip"),
    )
    assert done.code == 0, done.err
    masks = "~/data/Annotations/480p"
    done = rvos("evaluate", f"--pred={masks}", f"--gt={masks}", "--workers=1", "--csv=~/stored.csv")
    assert done.code == 0, done.err
    assert {"figures.csv", "masks.zip", "stored.csv"} <= {path.name for path in (tmp_path / "home").iterdir()}
    assert not Path("~").exists()


def test_a_plot_is_drawn(rvos, oracle, tmp_path):
    pytest.importorskip("matplotlib")
    trees.davis2017(tmp_path / "data")
    words = ("--task", "unsupervised", "--sequences", "bear", "--plot", "out.png")
    done = rvos("evaluate", "--dataset", "davis2017", "--root", "data", *words)
    assert done.code == 0, done.err
    assert Path("out.png").stat().st_size > 1000


def test_what_has_no_full_truth_is_submitted_and_that_is_said_in_one_line(rvos, oracle, tmp_path):
    trees.youtube(tmp_path / "data")
    words = ("evaluate", "--dataset", "youtube-vos", "--root", "data")
    done = rvos(*words)
    assert done.code == 1
    assert len(done.error_lines) == 1
    assert "no true mask for frame 00010" in done.error_lines[0]
    assert "--submission" in done.error_lines[0]
    assert rvos(*words, "--submission", "out.zip", "--csv", "out.csv").code == 2

    done = rvos(*words, "--submission", "out.zip", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scored"] is False
    assert sum("not scored" in line for line in done.err.splitlines()) == 1
    done = rvos(*words, "--submission", "out.zip")
    assert done.code == 1
    assert "--force" in done.error_lines[0]
    done = rvos(*words, "--submission", "out.zip", "--force")
    assert done.out.splitlines() == ["out.zip: 7 masks of 1 sequence"]


def test_a_submission_stays_where_there_is_nothing_to_score(rvos, oracle, tmp_path):
    for index in range(3):
        trees.write_frame(tmp_path / f"data/frames/{index}.jpg", trees.labels(index))
        trees.write_mask(tmp_path / f"data/masks/{index}.png", trees.labels(index, (1,) if index == 2 else ()))
    words = ("evaluate", "--dataset", "folder", "--root", "data", "--task", "youtube-vos", "--submission", "out.zip")
    done = rvos(*words)
    assert done.code == 1 and "no sequence was scored; true masks have to show an object before" in done.error_lines[0]
    assert done.out.splitlines() == ["out.zip: 3 masks of 1 sequence"]
    with ZipFile("out.zip") as archive:
        assert len(archive.namelist()) == 3


def test_the_tiny_network_runs_as_the_user_runs_it(rvos, tiny_weights, tmp_path):
    trees.davis2017(tmp_path / "data", names=("bear",))
    for task in ("semi-supervised", "unsupervised"):
        words = ("--task", task, "--weights", tiny_weights, "--device", "cpu", "--max-objects", 2, "--json")
        done = rvos("evaluate", "--dataset", "davis2017", "--root", "data", *words)
        assert done.code == 0, done.err
        assert 0 <= json.loads(done.out)["J&F-Mean"] <= 1


def test_weights_of_the_other_task_are_refused_without_a_trace(rvos, zero_shot_weights, tmp_path):
    trees.davis2017(tmp_path / "data")
    words = ("--weights", zero_shot_weights, "--device", "cpu", "--submission", "out.zip")
    done = rvos("evaluate", "--dataset", "davis2017", "--root", "data", *words)
    assert done.code == 1
    assert len(done.error_lines) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--pred", "a"),
        ("--dataset", "davis2017"),
        ("--root", "data", "--pred", "a", "--gt", "b"),
        ("--dataset", "davis2017", "--root", "data", "--pred", "a", "--gt", "b"),
        ("--pred", "a", "--gt", "b", "--submission", "out.zip"),
        ("--dataset", "davis1999", "--root", "data"),
    ],
)
def test_words_that_contradict_each_other_are_wrong_usage(rvos, words):
    assert rvos("evaluate", *words).code == 2


def test_what_belongs_to_data_sets_is_named_where_stored_masks_are_scored(rvos):
    done = rvos("evaluate", "--pred", "a", "--gt", "b", "--split", "val", "--submission", "c.zip")
    assert done.code == 2
    assert done.error_lines == ["error: of no use to stored masks: --split, --submission; leave it out"]


def test_a_wrong_root_is_one_line(rvos, tmp_path):
    (tmp_path / "data").mkdir()
    done = rvos("evaluate", "--dataset", "davis2017", "--root", "data")
    assert done.code == 1
    assert len(done.error_lines) == 1
    assert "data/JPEGImages/480p is missing; the layout of davis2017 is" in done.error_lines[0]
