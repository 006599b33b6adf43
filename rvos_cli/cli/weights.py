"""``rvos weights``: which there are, what they are, where they come from and go to, whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import MEGABYTE, Talk, table, want_command
from rvos_cli.config import DEFAULT_WEIGHTS
from rvos_cli.errors import WeightsError

app = typer.Typer(invoke_without_command=True, help="List, describe, import, export, fetch and verify weights.")
app.callback()(want_command)


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the weights that can be named."""
    from rvos_cli.manifest import list_weights

    talk = Talk(as_json=as_json)
    entries = list_weights()
    talk.document([entry.to_dict() for entry in entries])
    if as_json:
        return
    rows = [
        (
            f"{entry.name}{' (default)' if entry.name == DEFAULT_WEIGHTS else ''}",
            ", ".join(entry.tasks),
            f"{entry.bytes / MEGABYTE:.1f} MB",
            entry.license or "not stated",
            entry.origin if entry.present else "to be fetched" if entry.url else "missing",
            entry.summary,
        )
        for entry in entries
    ]
    talk.data(table(("name", "tasks", "size", "license", "where", "summary"), rows))


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Weights by name or path.")] = DEFAULT_WEIGHTS,
    as_json: options.Json = False,
) -> None:
    """Tell what a set of weights is: tasks, network, sha256, model card."""
    from rvos_cli.weights import weights_info

    talk = Talk(as_json=as_json)
    values = weights_info(name)
    talk.document(values)
    if as_json:
        return
    card = values.pop("card", "")
    config = values.pop("config")
    for key, value in {**values, **{f"network {key}": value for key, value in config.items()}}.items():
        if value == "":
            continue
        talk.data(f"{key}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    if card:
        talk.data(f"\n{card.rstrip()}")


@app.command("import")
def import_(
    source: Annotated[
        Path,
        options.path_argument(
            metavar="FOLDER_OR_ZIP", help="A checkpoint as the authors publish it.", show_default=False
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What to call it.", show_default="the folder's or zip's own name")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn a published checkpoint into named weights; nothing that it holds is run."""
    from rvos_cli.weights import import_published

    talk = Talk(as_json=as_json, quiet=quiet)
    entry = import_published(source, name)
    talk.data(f"imported {entry.name} ({', '.join(entry.tasks)}): {entry.path}")
    talk.document(entry.to_dict())


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Weights by name or path.", show_default=False)],
    published: Annotated[
        Path,
        options.path_option(
            "--published", metavar="FOLDER", help="Folder to write to, in the authors' layout.", show_default=False
        ),
    ],
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a checkpoint that is there.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a network of the paper as its authors publish theirs."""
    from rvos_cli.export import export_published
    from rvos_cli.weights import load_weights

    talk = Talk(as_json=as_json, quiet=quiet)
    files = export_published(load_weights(name), published, force=force)
    talk.data(f"exported {name}: {published}")
    talk.document({"name": name, "folder": str(published), "files": [path.name for path in files]})


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of the list, or a new one with --url and --sha256.")],
    url: Annotated[str | None, typer.Option("--url", help="Where the file lies (https).", show_default=False)] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="Of a new name's file.", show_default=False)] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Download weights and check their sha256."""
    from rvos_cli.fetch import fetch_weights

    talk = Talk(as_json=as_json, quiet=quiet)
    with talk.progress(name, in_bytes=True) as report:
        entry = fetch_weights(name, url, sha256=sha256, progress=report)
    talk.data(f"{entry.name}: {entry.path}")
    talk.document(entry.to_dict())


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Weights by name.", show_default="all of them")] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare the files with their sha256."""
    from rvos_cli.manifest import verify_weights

    talk = Talk(as_json=as_json, quiet=quiet)
    results = verify_weights(name)
    for entry, problem in results:
        if not as_json:
            talk.data(f"{entry.name}: {problem or 'ok'}")
    talk.document([{"name": entry.name, "ok": problem is None, "problem": problem} for entry, problem in results])
    bad = [entry.name for entry, problem in results if problem is not None]
    if bad:
        raise WeightsError(
            f"{len(bad)} of {len(results)} weights are not whole: {', '.join(bad)}",
            cure="fetch or import them again, or reinstall rvos",
        )
