"""``rvos train``: a recipe and a data folder in, weights out; stops and goes on as often as one likes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.errors import UsageError

if TYPE_CHECKING:
    from rvos_cli.training.loop import StepReport
    from rvos_cli.training.recipes import TrainOptions

PREVIEW_CLIPS = 24
SECONDS_BETWEEN_LINES = 20.0


def train(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that holds train/.", show_default=False)],
    recipe: Annotated[str, typer.Option("--recipe", metavar="NAME", help="Which run.")] = "lite",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run: checkpoint, log, weights.")
    ] = Path("runs/lite"),
    init: Annotated[
        str | None, typer.Option("--init", metavar="NAME|PATH", help="Start from these weights instead of ImageNet's.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps in all, instead of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Clips a step, instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed, instead of the recipe's.")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Stop after so long; 0 for no limit.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that make clips.")] = 1,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of the network.")] = None,
    precision: Annotated[str, typer.Option("--precision", help="bfloat16 or float32.")] = "bfloat16",
    device: options.Device = "auto",
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="PNG", help="Only draw some of the training clips.")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train weights, or go on with a run that was stopped (same output folder)."""
    import torch

    from rvos_cli.training.recipes import TrainOptions
    from rvos_cli.training.recipes import recipe as find_recipe

    if precision not in ("bfloat16", "float32"):
        raise UsageError(f"precision must be bfloat16 or float32, not {precision}")
    changes = {name: value for name, value in (("steps", steps), ("batch", batch), ("seed", seed)) if value is not None}
    chosen = TrainOptions(
        data=data,
        output=output,
        recipe=find_recipe(recipe, **changes),
        init=init,
        device=device,
        precision=precision,
        workers=workers,
        minutes=minutes,
    )
    talk = Talk(as_json=as_json, quiet=quiet)
    if threads is not None:
        torch.set_num_threads(threads)
    if preview is not None:
        _draw(chosen, preview, talk)
        return
    from rvos_cli.training.loop import train as run

    result = run(chosen, on_step=_lines(talk))
    state = "finished" if result.finished else f"stopped at step {result.step}; the same command goes on"
    talk.data(f"{result.weights}: {state}")
    talk.document({"step": result.step, "finished": result.finished, "weights": str(result.weights)})


def _draw(chosen: TrainOptions, path: Path, talk: Talk) -> None:
    from rvos_cli.training.loop import clip_dataset
    from rvos_cli.training.preview import contact_sheet

    contact_sheet(clip_dataset(chosen, chosen.recipe.stages[-1]), path, clips=PREVIEW_CLIPS)
    talk.data(str(path))
    talk.document({"preview": str(path)})


def _lines(talk: Talk) -> Callable[[StepReport], None]:
    """Return a report that says a line now and then: step, loss and its parts, and when it will be done."""
    began = last = time.monotonic()
    first: int | None = None

    def report(step: Any) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = step.step if first is None else first
        if now - last < SECONDS_BETWEEN_LINES and step.step + 1 < step.steps:
            return
        last = now
        rate = (now - began) / (step.step - first + 1)
        parts = ", ".join(f"{name} {value:.3f}" for name, value in step.parts.items())
        left = rate * (step.steps - step.step - 1) / 60
        talk.note(
            f"step {step.step + 1}/{step.steps}: loss {step.loss:.3f} ({parts}), "
            f"{rate:.2f} s a step, {left:.0f} min left"
        )

    return report
