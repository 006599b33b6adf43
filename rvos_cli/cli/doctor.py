"""``rvos doctor``: what is installed and what works, ready for a bug report."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.errors import RvosError
from rvos_cli.version import __version__

PACKAGES = ("torch", "torchvision", "av", "numpy", "scipy", "pillow", "safetensors", "typer", "rich")
OPTIONAL = {
    "openvino": "not installed; processors take longer without it",
    "isal": "not installed; PNGs take longer to write without it",
}
GIGABYTE, MEGABYTE = 1e9, 1e6


def doctor(as_json: options.Json = False) -> None:
    """Print versions, devices, ffmpeg and weights; goes into a bug report as it is."""
    talk = Talk(as_json=as_json)
    report = examine()
    talk.document(report)
    if as_json:
        return
    for topic, value in report.items():
        if isinstance(value, dict):
            talk.data(f"{topic}:")
            for key, entry in value.items():
                talk.data(f"  {key}: {entry}")
        elif isinstance(value, list):
            talk.data(f"{topic}: {'none' if not value else ''}".rstrip())
            for entry in value:
                talk.data(f"  {entry}")
        else:
            talk.data(f"{topic}: {value}")


def examine() -> dict[str, Any]:
    """Look at everything and return plain values; ``problems`` is empty where rvos can work."""
    problems: list[str] = []
    folder = _current_folder(problems)
    return {
        "rvos": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "packages": {name: _version(name, problems) for name in (*PACKAGES, *OPTIONAL)},
        "devices": _devices(problems) if folder else {},  # without a folder torch's oneMKL ends the process
        "bytecode": _bytecode(),
        "ffmpeg": _ffmpeg(problems),
        "weights": _weights(problems),
        "cache": _cache(),
        "disk": _disk(folder, problems) if folder else "unknown",
        "problems": problems,
    }


def _version(name: str, problems: list[str]) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name in OPTIONAL:
            return OPTIONAL[name]
        problems.append(f"the package {name} is missing; install rvos again")
        return "missing"


def _devices(problems: list[str]) -> dict[str, str]:
    try:
        import torch

        from rvos_cli.device import choose_device

        found = {"cpu": f"{torch.get_num_threads()} threads"}
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / GIGABYTE:.1f} GB"
        if torch.backends.mps.is_available():
            found["mps"] = "available"
        found["auto"] = choose_device("auto").reason
    except (ImportError, OSError, RuntimeError, RvosError) as error:
        problems.append(f"torch does not work ({error})")
        return {}
    return found


def _bytecode() -> str:
    """Say whether Python finds torch compiled, or compiles its thousand modules anew at every start."""
    import importlib.util

    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None or torch.cached is None or Path(torch.cached).exists():
        return "kept"
    packages = Path(torch.origin).parents[1]
    return (
        "not kept, so that every start takes seconds longer; unset PYTHONDONTWRITEBYTECODE, or as whoever may write "
        f"there: {shlex.quote(sys.executable)} -m compileall -q {shlex.quote(str(packages))}"
    )


def _ffmpeg(problems: list[str]) -> dict[str, str]:
    try:
        import av
    except (ImportError, OSError) as error:
        problems.append(f"PyAV does not work ({error})")
        return {}
    found = {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
    for codec in ("libx264", "aac"):
        try:
            av.codec.Codec(codec, "w")
            found[f"encoder {codec}"] = "yes"
        except ValueError:
            found[f"encoder {codec}"] = "no"
            problems.append(
                f"PyAV was built without {codec}; install the wheel: python -m pip install --force-reinstall av"
            )
    return found


def _cache() -> str:
    from rvos_cli.folders import cache_folder

    size = 0
    with suppress(OSError):
        size = sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())
    return f"{size / MEGABYTE:.0f} MB in {cache_folder()}, may be removed"


def _current_folder(problems: list[str]) -> Path | None:
    try:
        return Path.cwd()
    except OSError as error:
        problems.append(f"there is no current folder ({error.strerror}); change to one that is there")
        return None


def _disk(folder: Path, problems: list[str]) -> str:
    free = shutil.disk_usage(folder).free / GIGABYTE
    if free < 1:
        problems.append(f"only {free:.1f} GB are free on the disk of the current folder")
    return f"{free:.1f} GB free in {folder}"


def _weights(problems: list[str]) -> dict[str, str]:
    from rvos_cli.manifest import shipped_folder, user_folder, verify_weights

    found = {"shipped folder": str(shipped_folder()), "user folder": str(user_folder())}
    try:
        results = verify_weights()
    except RvosError as error:
        problems.append(str(error))
        return found
    for entry, problem in results:
        found[entry.name] = f"sha256 {'ok' if problem is None else 'NOT OK'} {entry.sha256[:16]} {entry.path}"
        if problem is not None:
            problems.append(problem)
    if not results:
        problems.append("no weights were found; install rvos again")
    return found
