"""``rvos train``: a recipe and a data folder in, weights out; stops and goes on as often as one likes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.cli.train_progress import training_progress
from rvos_cli.errors import UsageError

if TYPE_CHECKING:
    from rvos_cli.training.run_options import TrainOptions

PREVIEW_CLIPS = 24
PAPER, WATCH = "Published recipes", "Watching a run"


def train(
    data: Annotated[
        Path | None,
        options.path_option(
            "--data", metavar="DIR", help="Folder that holds train/ (recipes lite*).", show_default=False
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="lite, lite-refined, lite-parts, lite-large, lite-full, lite-long, lite-gpu, lite-finding, "
            "lite-boxes, lite-free, lite-free-large, lite-free-long, lite-free-gpu, lite-free-boxes, "
            "published-one-shot or published-zero-shot.",
        ),
    ] = "lite",
    output: Annotated[
        Path | None,
        options.path_option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the run: checkpoint, log, weights.",
            show_default="runs/<recipe>",
        ),
    ] = None,
    init: Annotated[
        str | None, typer.Option("--init", metavar="NAME|PATH", help="Start from these weights instead of ImageNet's.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps in all, instead of the recipe's.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Clips at a time in each process, instead of the recipe's.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", min=1, help="Batches whose gradients are added up for one step.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed, instead of the recipe's.")] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Stop after so long; 0 for no limit.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=0, help="Processes that make clips.", show_default="1, on a GPU one a core but one"
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of the network.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", help="bfloat16 or float32.", show_default="bfloat16 for lite, float32 for the published"
        ),
    ] = None,
    device: options.Device = "auto",
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", min=0, help="How often the run is saved: what a crash can cost.")
    ] = 5,
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Also write event files, below OUTPUT/tensorboard.", rich_help_panel=WATCH),
    ] = False,
    validate: Annotated[
        Path | None,
        options.path_option(
            "--validate",
            metavar="DIR",
            help="Score the network on this data set: a DAVIS root, or frames/ and masks/.",
            rich_help_panel=WATCH,
        ),
    ] = None,
    validate_every: Annotated[
        int, typer.Option("--validate-every", metavar="STEPS", min=1, help="How often.", rich_help_panel=WATCH)
    ] = 500,
    validate_frames: Annotated[
        int,
        typer.Option("--validate-frames", min=3, help="Masked frames of each sequence.", rich_help_panel=WATCH),
    ] = 20,
    patience: Annotated[
        int,
        typer.Option(
            "--patience",
            min=0,
            help="Validations without a better score that end the run; 0 for never.",
            rich_help_panel=WATCH,
        ),
    ] = 0,
    preview: Annotated[
        Path | None,
        options.path_option(
            "--preview", metavar="PNG", help="Only draw some of the clips; divided ones if OUTPUT has them."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", metavar="NAME", help="davis2016, davis2017, youtube-vos or folder.", rich_help_panel=PAPER
        ),
    ] = None,
    root: Annotated[
        Path | None,
        options.path_option("--root", metavar="DIR", help="The unpacked data set.", rich_help_panel=PAPER),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Of the data set.", show_default="train", rich_help_panel=PAPER),
    ] = None,
    recurrence: Annotated[
        str | None,
        typer.Option("--recurrence", help="space, time or both.", show_default="both", rich_help_panel=PAPER),
    ] = None,
    stages: Annotated[
        int | None,
        typer.Option(
            "--stages",
            min=1,
            max=2,
            help="1: the true previous mask throughout; 2: then the network's own.",
            show_default="2, 1 for zero-shot",
            rich_help_panel=PAPER,
        ),
    ] = None,
    trunk: Annotated[
        str | None,
        typer.Option("--trunk", metavar="NAME", help="Another trunk.", show_default="resnet101", rich_help_panel=PAPER),
    ] = None,
    trunk_weights: Annotated[
        Path | None,
        options.path_option(
            "--trunk-weights", metavar="FILE", help="torchvision's ImageNet weights of it.", rich_help_panel=PAPER
        ),
    ] = None,
    trunk_rate: Annotated[
        float | None,
        typer.Option("--trunk-rate", min=0, help="Its learning rate.", show_default="1e-6", rich_help_panel=PAPER),
    ] = None,
    clip_size: Annotated[
        str | None,
        typer.Option(
            "--clip-size",
            metavar="HxW",
            help="Size of the clips.",
            show_default="240x427 for DAVIS, else 256x448",
            rich_help_panel=PAPER,
        ),
    ] = None,
    max_objects: Annotated[
        int | None,
        typer.Option("--max-objects", min=1, help="Of a clip.", show_default="10", rich_help_panel=PAPER),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train weights, or go on with a run that was stopped (same output folder).

    Ctrl-C stops after the step under way, saves, and ends with code 130; SIGTERM does the same, with code 0.
    """
    import torch

    from rvos_cli.training.ablation import is_published, vary
    from rvos_cli.training.processes import is_first
    from rvos_cli.training.recipes import recipe as find_recipe
    from rvos_cli.training.run_options import TrainOptions, changed

    plan = find_recipe(recipe)
    published = is_published(plan)
    if precision not in (None, "bfloat16", "float32"):
        raise UsageError(f"precision must be bfloat16 or float32, not {precision}")
    switches = {
        "--dataset": dataset,
        "--root": root,
        "--split": split,
        "--recurrence": recurrence,
        "--stages": stages,
        "--trunk": trunk,
        "--trunk-weights": trunk_weights,
        "--trunk-rate": trunk_rate,
        "--clip-size": clip_size,
        "--max-objects": max_objects,
    }
    source = _source(recipe, published, data, switches)
    if published and dataset is not None:
        plan = vary(
            plan,
            dataset=dataset,
            recurrence=recurrence or "both",
            stages=stages,
            trunk=trunk,
            trunk_rate=trunk_rate,
            size=None if clip_size is None else _size(clip_size),
            max_objects=max_objects,
        )
    numbers = {"steps": steps, "batch": batch, "accumulate": accumulate, "seed": seed}
    plan = changed(plan, **{name: value for name, value in numbers.items() if value is not None})
    chosen = TrainOptions(
        data=source,
        output=output or Path("runs") / recipe,
        recipe=plan,
        init=init,
        dataset=dataset or "folder",
        split=split if split or dataset == "folder" else "train",
        trunk_weights=trunk_weights,
        device=device,
        precision=precision or ("float32" if published else "bfloat16"),
        workers=workers,
        minutes=minutes,
        checkpoint_minutes=checkpoint_minutes,
        tensorboard=tensorboard,
        validate=validate,
        validate_every=validate_every,
        validate_frames=validate_frames,
        patience=patience,
    )
    first = is_first()
    talk = Talk(as_json=as_json and first, quiet=quiet or not first)
    if threads is not None:
        torch.set_num_threads(threads)
    if preview is not None:
        _draw(chosen, preview, talk)
        return
    from rvos_cli.training.loop import train as run

    with training_progress(talk) as shown:
        result = run(
            chosen,
            on_step=shown.step,
            on_warning=lambda line: talk.notice("warning", line),
            on_validation=shown.validation,
            on_clip=lambda name: talk.note(f"taking apart {name}"),
        )
    state = f"stopped at step {result.step}; the same command goes on"
    if result.finished:
        state = "finished"
        if plan.follow_up:
            state += f"; rvos train --recipe {plan.follow_up} --init {result.weights} goes on from it"
    if result.early:
        state = f"ended after step {result.step}: no better score in {patience} validations"
    talk.data(f"{result.weights}: {state}")
    if result.best is not None:
        talk.data(f"{result.best}: of the best validation")
    talk.document(
        {
            "step": result.step,
            "finished": result.finished,
            "early": result.early,
            "weights": str(result.weights),
            "best": None if result.best is None else str(result.best),
        }
    )
    if result.interrupted:
        raise SystemExit(130)


def _source(recipe: str, published: bool, data: Path | None, switches: Mapping[str, object]) -> Path:
    """Return where the clips come from, after a look at which options belong to the recipe."""
    if not published:
        given = [name for name, value in switches.items() if value is not None]
        if given:
            raise UsageError(f"{', '.join(given)} is of no use to the recipe {recipe}", cure="leave it out")
        if data is None:
            raise UsageError(f"the recipe {recipe} needs --data", cure="name the folder that holds train/")
        return data
    root = switches["--root"]
    if data is not None:
        raise UsageError(f"the recipe {recipe} takes no --data", cure="use --dataset NAME --root DIR")
    if switches["--dataset"] is None or not isinstance(root, Path):
        raise UsageError(
            f"the recipe {recipe} needs --dataset and --root", cure="such as --dataset davis2017 --root DAVIS"
        )
    return root


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})[x](\d{1,4})", text)
    if match is None:
        raise UsageError(f"clip-size must be HEIGHTxWIDTH, not {text!r}", cure="such as 256x448")
    return int(match[1]), int(match[2])


def _draw(chosen: TrainOptions, path: Path, talk: Talk) -> None:
    from rvos_cli.training.batches import clip_dataset
    from rvos_cli.training.preview import contact_sheet

    if chosen.parts is not None and not chosen.parts.is_dir():
        talk.note(f"drawn without divided clips: {chosen.output} has none before its run has begun")
    contact_sheet(clip_dataset(chosen, chosen.recipe.stages[-1]), path, clips=PREVIEW_CLIPS)
    talk.data(str(path))
    talk.document({"preview": str(path)})
