"""The one place where failures become a line and a code, and how the process behaves around it."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import media
import pytest
from squares import FRAMES, HEIGHT, WIDTH, squares

import rvos_cli
from rvos_cli.training.recipes import RECIPES


def rvos_process(*words: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rvos_cli", *map(str, words)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_version_and_help(rvos):
    done = rvos("--version")
    assert (done.code, done.out.strip(), done.err) == (0, f"rvos {rvos_cli.__version__}", "")
    text = rvos("--help").out
    for verb in ("segment", "track", "batch", "evaluate", "train", "bench", "demo", "doctor", "weights"):
        assert verb in text


def test_no_command_prints_the_help_and_is_wrong_usage(rvos):
    done = rvos()
    assert done.code == 2
    assert "Usage: rvos" in done.out + done.err


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        (
            "segment",
            "--output -o --force -f --weights --device --size --max-objects --threshold --half --no-half --overlay "
            "--no-overlay --masks --no-masks --objects --no-objects --json --quiet -q --verbose -v",
        ),
        (
            "track",
            "--first-mask --output -o --force -f --weights --device --size --threshold --half --no-half --overlay "
            "--no-overlay --masks --no-masks --objects --no-objects --json --quiet -q --verbose -v",
        ),
        (
            "batch",
            "--masks --output -o --force -f --weights --device --size --max-objects --threshold --half --no-half "
            "--overlay --no-overlay --no-masks --objects --no-objects --json --quiet -q --verbose -v",
        ),
    ],
)
def test_every_option_of_the_contract_is_in_the_help(rvos, verb, names):
    words = set(rvos(verb, "--help").out.replace(",", " ").replace("/", " ").split())
    assert not set(names.split()) - words


def test_every_recipe_is_in_the_help_of_train(rvos):
    words = set(rvos("train", "--help").out.replace(",", " ").replace(".", " ").split())
    assert not RECIPES.keys() - words


def test_a_fault_of_the_program_is_one_line_too(rvos, monkeypatch, clip):
    monkeypatch.setattr("rvos_cli.segmenter.load_weights", lambda *_: 1 // 0)
    done = rvos("segment", clip)
    assert done.code == 1
    assert len(done.error_lines) == 1
    assert "ZeroDivisionError" in done.error_lines[0]
    assert "RVOS_DEBUG=1" in done.error_lines[0]
    assert "Traceback" not in done.err


def test_debugging_shows_the_traceback(rvos, monkeypatch):
    monkeypatch.setenv("RVOS_DEBUG", "1")
    done = rvos("batch", "missing")
    assert done.code == 1
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1] == done.error_lines[0]


def test_the_module_runs_like_the_command():
    process = rvos_process("--version")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, f"rvos {rvos_cli.__version__}")


LEAVING = """
import atexit, threading, time
from rvos_cli.cli import app

class Torn:
    def __del__(self):
        print("torn down")

torn = Torn()

def run():
    atexit.register(print, "what others leave to the end")
    threading.Thread(target=lambda: time.sleep(0.2) or print("a thread that is not done")).start()
    print("the answer")
    return 3

app.run = run
app.main()
"""


def test_the_process_ends_without_being_torn_down_and_nothing_is_lost():
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["the answer", "a thread that is not done", "what others leave to the end"]
    assert (done.returncode, done.stderr) == (3, "")


def test_a_fault_beyond_the_boundary_is_a_failure_still():
    fault = "from rvos_cli.cli import app; app.run = lambda: 1 / 0; app.main()"
    done = subprocess.run([sys.executable, "-c", fault], capture_output=True, text=True)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_an_interrupt_beyond_the_boundary_is_one_still():
    interrupt = "import signal, os; from rvos_cli.cli import app; app.run = lambda: os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", f"{interrupt}; app.main()"], capture_output=True, text=True)
    assert done.returncode == 130


GOING_ON = """
import sys
from rvos_cli.cli import app
try:
    app.main(["--version"])
except SystemExit as end:
    print(end.code)
sys.exit(5)
"""


def test_a_process_that_is_somebody_else_s_goes_on():
    done = subprocess.run([sys.executable, "-c", GOING_ON], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0" and done.returncode == 5


@pytest.mark.skipif(os.name == "nt", reason="a shell is needed that closes a stream")
def test_without_a_stdout_there_is_one_line_at_most():
    done = subprocess.run(f"'{sys.executable}' -m rvos_cli --help >&-", shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "callback" not in done.stderr


def test_a_reader_that_goes_away_causes_no_complaint():
    with rvos_process("doctor") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize("words", [["-q"], ["--json"], []])
@pytest.mark.skipif(os.name == "nt", reason="a shell is needed that closes a stream")
def test_the_work_needs_no_stdout(words: list[str], tiny_weights: Path, clip: Path, tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "rvos_cli",
        "segment",
        clip,
        "--weights",
        tiny_weights,
        "-o",
        tmp_path / "out",
        *words,
    ]
    done = subprocess.run(f"{shlex.join(map(str, command))} >&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "summary.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_what_the_system_refuses_is_no_fault_of_rvos():
    done = subprocess.run(
        f"'{sys.executable}' -m rvos_cli doctor >/dev/full", shell=True, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device") and len(done.stderr.splitlines()) == 1


def test_an_empty_name_is_wrong_usage_and_one_of_nobody_s_home_a_name(rvos, clip: Path, tiny_weights: Path):
    for words in (["segment", ""], ["segment", clip, "-o", ""], ["track", clip, "--first-mask", ""]):
        done = rvos(*map(str, words))
        assert (done.code, "name is empty" in done.err) == (2, True), done.err
    shutil.copy(clip, "~nobody.mp4")
    done = rvos("segment", "~nobody.mp4", "--weights", str(tiny_weights), "-q")
    assert done.code == 0, done.err


@pytest.mark.parametrize("unread", ["stdout", "stderr"])
def test_such_a_reader_does_not_end_the_work(unread: str, tiny_weights: Path, clip: Path, tmp_path: Path):
    words = ("segment", clip, clip, "--weights", tiny_weights, "--device", "cpu", "-o", tmp_path / "out")
    with rvos_process(*words) as process:
        getattr(process, unread).close()
        heard = (process.stderr if unread == "stdout" else process.stdout).read()
    assert process.returncode == 0, heard
    assert "error" not in heard
    assert len(list((tmp_path / "out").glob("*/summary.json"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_an_interrupt_ends_with_130_and_no_finished_looking_results(tiny_weights: Path, tmp_path: Path):
    video = media.encode(
        tmp_path / "long.mp4", frames=(squares(index % FRAMES) for index in range(3000)), size=(HEIGHT, WIDTH)
    )
    process = rvos_process(
        *("segment", video, "--weights", tiny_weights, "--device", "cpu", "-o", tmp_path / "out"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    masks = tmp_path / "out" / "unfinished" / "masks"
    for _ in range(600):
        if masks.is_dir() and len(list(masks.iterdir())) > 3:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "unfinished" in err.splitlines()[-1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished"]


def test_only_verbs_that_write_unfinished_work_speak_of_it_when_interrupted(rvos, clip: Path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("segmenter.load_weights", "manifest.verify_weights", "evaluation.sequence_names"):
        monkeypatch.setattr(f"rvos_cli.{place}", interrupt)
    for words, unfinished in (
        (("segment", clip), True),
        (("bench", clip), False),
        (("weights", "verify"), False),
        (("evaluate", "--pred", "a", "--gt", "b"), False),
    ):
        done = rvos(*words)
        assert done.code == 130 and done.err.splitlines()[-1].startswith("interrupted"), done.err
        assert ("unfinished/" in done.err) == unfinished, done.err


INTERRUPTED_EARLY = """
import sys

class Interrupt:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from rvos_cli.__main__ import main
main()
"""


def test_an_interrupt_while_the_command_loads_is_one_line():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_EARLY], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
