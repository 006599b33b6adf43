"""The house has one direction: who may import whom, step by step as CONTRIBUTING.md has them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rvos_cli"
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "base", "types", "common", "misc"}

ROOT = {"errors", "graphs", "locks", "threads", "version"}
VALUES = {"config", "results", *ROOT}
# Part of the package -> parts it may import, besides itself.
ALLOWED = {
    "errors": set(),
    "version": set(),
    "threads": set(),
    "locks": set(),
    "unreadable": set(),
    "graphs": set(),
    "config": {"errors"},
    "results": set(),
    "device": {"errors"},
    "sources": {"errors", "threads", "unreadable"},
    "folders": set(),
    "whole_files": {"errors"},
    "mask_colours": {"config", "errors", "png"},
    "png": set(),
    "masks": {"errors", "config", "mask_colours", "png", "unreadable", "whole_files"},
    "overlay": {"errors", "png"},
    "sinks": {*VALUES, "masks", "overlay", "png", "sources", "whole_files"},
    "pipeline": {"results", "sources", "sinks"},
    "outputs": {*VALUES, "sinks", "sources"},
    "compile_cache": {"folders", "whole_files"},
    "model": {"compile_cache", "config", "graphs"},
    "preprocess": {"config"},
    "postprocess": set(),
    "continuity": set(),
    "cells": {"continuity"},
    "discovery": {"cells", "continuity"},
    "given_values": {"config", "errors"},
    "boxes": {"errors", "given_values"},
    "points": {"errors", "given_values"},
    "prompts": {"boxes", "errors", "points"},
    "extents": {"boxes", "continuity", "points"},
    "outliner": {
        *("boxes", "extents", "points", "prompts"),
        *("errors", "model", "picture_area", "preprocess", "views"),
    },
    "foresight": {"ahead", "errors", "shots", "views"},
    "memory": {"model", "reframing"},
    "motion": {"continuity"},
    "newcomers": {"cells", "discovery", "motion"},
    "standing": {"continuity", "motion"},
    "presence": {"cells", "model"},
    "occluders": {"continuity", "motion"},
    "sight": {"cells", "continuity", "graphs", "model", "postprocess"},
    "whereabouts": {"cells", "continuity", "reframing", "sight"},
    "trackers": {"camera", "config", "model", "preprocess", "sight", "views"},
    "matching_tracker": {
        *("config", "model", "trackers"),
        *("cells", "continuity", "discovery", "foresight", "memory", "motion", "newcomers", "presence", "sight"),
        *("occluders", "picture_area", "reframing", "standing", "whereabouts"),
    },
    "opening": set(),
    "picture_area": set(),
    "reframing": {"continuity", "picture_area"},
    "camera": {"continuity", "views"},
    "exposure": set(),
    "views": {"exposure", "picture_area"},
    "ahead": {"graphs", "threads"},
    "small_copies": {"exposure", "picture_area"},
    "fades": {"small_copies"},
    "shots": {"ahead", "fades", "small_copies"},
    "session": {
        *(*VALUES, "ahead", "model", "opening", "preprocess", "shots", "sight", "small_copies", "threads", "trackers"),
        *("camera", "foresight", "matching_tracker", "views"),
    },
    "weights_file": {"config", "errors"},
    "manifest": {"errors", "folders", "locks", "weights_file", "whole_files"},
    "fetch": {"errors", "manifest", "version", "weights_file", "whole_files"},
    "published": {"config", "errors"},
    "weights": {"config", "errors", "fetch", "manifest", "model", "published", "weights_file", "whole_files"},
    "export": {"config", "errors", "published", "weights", "whole_files"},
    "training": {
        *(*VALUES, "device", "masks", "model", "overlay", "png", "session", "sources", "unreadable", "weights"),
        *("boxes", "preprocess", "whole_files", "evaluation"),
    },
    "evaluation": {*VALUES, "png", "sources", "unreadable", "whole_files"},
}
ALLOWED["given_masks"] = {"boxes", "errors", "mask_colours", "masks", "points", "prompts", "sources"}
ALLOWED["hindsight"] = {"given_masks", "results"}
ALLOWED["following"] = {
    "foresight",
    "given_masks",
    "hindsight",
    "outliner",
    "pipeline",
    "results",
    "session",
    "sources",
}
ALLOWED["segmenter"] = set(ALLOWED) - {"training", "evaluation"}
ALLOWED["batch_plan"] = {"config", "errors", "given_masks", "outputs", "segmenter", "sources", "unreadable"}
ALLOWED["batch"] = {*VALUES, "batch_plan", "outputs", "segmenter"}
ALLOWED["benchmarking"] = {
    *(*VALUES, "given_masks", "model", "segmenter", "session", "sight", "sinks", "sources", "trackers"),
    "whole_files",
}
ALLOWED["__init__"] = {*VALUES, "batch", "segmenter", "weights"}
ALLOWED["cli"] = set(ALLOWED) - {"__init__"}
ALLOWED["__main__"] = {"cli"}

DRAWING = {"typer", "rich", "click"}
HEAVY = {"torch", "torchvision"}
FILES = {"PIL", "av", "cv2", "safetensors", "imageio_ffmpeg"}
# Part of the package -> foreign packages it must not know.
UNKNOWN = {
    **{
        part: HEAVY | DRAWING
        for part in (
            *("boxes", "errors", "extents", "given_values", "points", "prompts", "version", "config", "results"),
            *("sources", "masks", "mask_colours", "overlay"),
        )
    },
    **{
        part: HEAVY | DRAWING
        for part in (
            *("sinks", "pipeline", "outputs", "manifest", "weights_file", "fetch", "continuity"),
            *("compile_cache", "fades", "folders", "png", "shots", "small_copies", "whole_files"),
            *("evaluation", "exposure", "given_masks", "hindsight", "locks", "picture_area", "unreadable", "views"),
        )
    },
    **{
        part: FILES | DRAWING
        for part in (
            *("model", "preprocess", "postprocess", "session", "trackers", "matching_tracker", "following"),
            *("cells", "discovery", "foresight", "memory", "presence", "sight", "whereabouts"),
            *("ahead", "graphs", "motion", "newcomers", "occluders", "opening", "outliner", "standing", "threads"),
        )
    },
    **{
        part: DRAWING
        for part in (
            *("device", "published", "weights", "export", "training"),
            *("segmenter", "batch", "batch_plan"),
        )
    },
    "benchmarking": DRAWING,
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    """List the modules that a file imports anywhere, also for type checking and inside functions."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            names += [f"{module}.{alias.name}" for alias in node.names] if module == "rvos_cli" else [module]
    return names


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_import_follows_the_arrows(path: Path):
    part = part_of(path)
    assert part in ALLOWED, f"{part} has no place in the layout yet"
    for name in imports_of(path):
        top, *rest = name.split(".")
        if top == "rvos_cli":
            target = rest[0] if rest else "__init__"
            assert target == part or target in ALLOWED[part], f"{part} must not import {target}"
        else:
            assert top not in UNKNOWN.get(part, set()), f"{part} must not know {top}"


def test_no_module_has_a_name_that_says_nothing():
    assert not {path.stem for path in MODULES} & FORBIDDEN_NAMES


def test_nobody_uses_opencv():
    assert not [path for path in MODULES for name in imports_of(path) if name.split(".")[0] == "cv2"]


LIGHT = """
import sys
{statement}
tops = {{name.split('.')[0] for name in sys.modules}}
heavy = sorted(tops & {{'torch', 'torchvision', 'cv2', 'av', 'scipy'}})
sys.exit(f'loaded {{heavy}}' if heavy else 0)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import rvos_cli",
        "import rvos_cli.cli.app",
        "from rvos_cli.cli.app import run; run(['--help'])",
        "from rvos_cli.cli.app import run; run(['--version'])",
        "from rvos_cli.cli.app import run; run(['segment', '--help'])",
        "from rvos_cli.cli.app import run; run(['weights', 'list'])",
    ],
)
def test_light_commands_load_nothing_heavy(statement: str):
    done = subprocess.run([sys.executable, "-c", LIGHT.format(statement=statement)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FOLLOWING = """
import sys
import rvos_cli.pipeline
from rvos_cli.weights import build_model, load_weights
build_model(load_weights('lite'))
slow = sorted({'torchvision', 'torch._dynamo', 'scipy.optimize'} & set(sys.modules))
sys.exit(f'loaded {slow}' if slow else 0)
"""


def test_the_default_network_waits_for_nothing_it_does_not_need():
    done = subprocess.run([sys.executable, "-c", FOLLOWING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    import rvos_cli

    for name in rvos_cli.__all__:
        assert getattr(rvos_cli, name) is not None
    assert dir(rvos_cli) == sorted(rvos_cli.__all__)
    with pytest.raises(AttributeError):
        _ = rvos_cli.nothing_of_the_kind
