"""The command ``rvos``: all its verbs, and the single place where failures become one line and an exit code.

Enters: the words of the command line. Leaves: an exit code. Loads no torch by itself: each verb imports what it
needs when it runs.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from rvos_cli.cli.batch import batch
from rvos_cli.cli.bench import bench
from rvos_cli.cli.console import silence, want_command
from rvos_cli.cli.demo import demo
from rvos_cli.cli.doctor import doctor
from rvos_cli.cli.evaluate import evaluate
from rvos_cli.cli.segment import segment
from rvos_cli.cli.track import track
from rvos_cli.cli.train import train
from rvos_cli.cli.weights import app as weights_app
from rvos_cli.errors import RvosError
from rvos_cli.version import __version__

INTERRUPTED = 130
KEEPERS = ("segment", "track", "batch", "demo")  # the verbs that keep what an interrupted run has written
# Until so many objects are new, none are looked through for garbage. Importing torch and the rest makes 200,000 of them
# that all stay, and with the usual 700 looking takes 0.1 to 0.2 s.
YOUNG_OBJECTS = 50_000
# Typer carries a click of its own in newer versions: its exceptions are found by way of one that Typer names.
_UsageFailure: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="rvos",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Finds and follows objects in video: masks for every object in every frame, "
    "from nothing (segment) or from one mask, boxes or points (track).",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some of several inputs failed, 130 interrupted. "
    "RVOS_DEBUG=1 shows tracebacks.",
)


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version.", callback=lambda on: _version(on))
    ] = False,
) -> None:
    want_command(context)


for _verb in (segment, track, batch, evaluate, train, bench, demo, doctor):
    app.command()(_verb)
app.add_typer(weights_app, name="weights")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    None takes the process's own arguments, and the process is over then: once all threads have ended and what was
    registered since has run, it ends without being taken down piece by piece, for which torch needs half a second.
    """
    if arguments is not None:
        sys.exit(run(arguments))
    gc.set_threshold(YOUNG_OBJECTS)
    codes = [1]
    atexit.register(_leave, codes, os.getpid())
    try:
        codes.append(run())
    except KeyboardInterrupt:
        codes.append(INTERRUPTED)
        raise
    sys.exit(codes[-1])


def _leave(codes: Sequence[int], process: int) -> None:
    """End *process*, if it is this one and no child, with the last of *codes*."""
    if os.getpid() != process:
        return
    for stream in (sys.stdout, sys.stderr):
        # There may be none, it may be closed, and nobody may read it.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(codes[-1])


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure has become one line on stderr."""
    debug = os.environ.get("RVOS_DEBUG") == "1"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text in the terminal's encoding
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")  # other packages' remarks to programmers
            code: Any = app(
                arguments if arguments is None else list(arguments), prog_name="rvos", standalone_mode=False
            )
        if sys.stdout is not None:
            sys.stdout.flush()
        if code == INTERRUPTED:  # newer versions of Typer turn the interrupt into its code by themselves
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # of which Typer makes an exit
            return _unread()
        return int(leaving.code or 0) if not isinstance(leaving.code, str) else 1
    except BrokenPipeError:
        return _unread()
    except (KeyboardInterrupt, typer.Abort):
        verb = next(iter(sys.argv[1:] if arguments is None else arguments), "")
        kept = "; what was written so far, if anything, lies in the output folder under unfinished/"
        _say(f"interrupted{kept if verb in KEEPERS else ''}")
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        line, failure = _explain(error)
        _say(f"error: {line}")
        return failure


def _unread() -> int:
    """Whoever read what was printed is gone, which is nobody's failure."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            try:
                stream.flush()  # type: ignore[union-attr]
            except BrokenPipeError:
                silence(stream)  # type: ignore[arg-type]
    return 0


def _explain(error: Any) -> tuple[str, int]:
    """Return the line and the exit code of a failure."""
    if isinstance(error, RvosError):
        return str(error), error.exit_code
    if isinstance(error, _UsageFailure):
        context = getattr(error, "ctx", None)
        command = "rvos" if context is None else context.command_path
        return f"{' '.join(error.format_message().split()).rstrip('.')}; see '{command} --help'", 2
    if isinstance(error, OSError) and error.strerror:
        what = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{what + ': ' if what else ''}{error.strerror}; check the path, the space and who may use it", 1
    return (
        f"unexpected {type(error).__name__}: {' '.join(str(error).split())}; this is a fault of rvos: "
        "run it again with RVOS_DEBUG=1 and report what it prints together with 'rvos doctor'",
        1,
    )


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


def _version(on: bool) -> None:
    if on:
        print(f"rvos {__version__}")
        raise typer.Exit
