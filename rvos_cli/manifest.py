"""Names of weights: which there are, where their files lie, and whether a file is still the one that was released.

Enters: a name. Leaves: an entry whose file is there and has the stated sha256. Stands between the command line and
``weights.py``; knows files and hashes only, so that listing weights loads no torch. Two folders have a manifest: the
one shipped with the package, and the user's own, into which imports and downloads go.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rvos_cli.errors import OutputError, UsageError, WeightsError
from rvos_cli.folders import data_folder
from rvos_cli.locks import FileLock
from rvos_cli.weights_file import read_config, sha256_of
from rvos_cli.whole_files import unwritable, writing_beside

MANIFEST = "manifest.json"
LOCK, PATIENCE = ".manifest.lock", 60.0  # seconds; others hold it for less than one
Task = Literal["segment", "track"]
Origin = Literal["shipped", "user"]
_TEXTS = ("file", "sha256", "license", "card", "summary", "url")
_STORED = ("file", "sha256", "bytes", "license", "card", "tasks", "summary", "url")


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One named weights file; ``card`` is the file name of its model card, ``url`` where ``fetch`` finds it."""

    name: str
    file: str
    sha256: str
    bytes: int
    license: str = ""
    card: str = ""
    tasks: tuple[str, ...] = ()
    summary: str = ""
    url: str = ""
    origin: Origin = "shipped"
    default: bool = False
    folder: Path = field(default_factory=Path)

    @property
    def path(self) -> Path:
        """Where the file lies, or would lie."""
        return self.folder / self.file

    @property
    def present(self) -> bool:
        """Whether the file is there (its contents are what ``check`` is for)."""
        return os.path.isfile(self.path)  # not Path.is_file(), which raises where it may not look

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = asdict(self)
        del values["folder"]
        return {**values, "tasks": list(self.tasks), "path": str(self.path), "present": self.present}

    def check(self) -> None:
        """Compare the file with the sha256 of the manifest.

        Raises:
            WeightsError: the file is missing, cannot be read or differs.
        """
        if not self.present:
            again = "reinstall rvos" if self.origin == "shipped" else "import them again with 'rvos weights import'"
            cure = f"rvos weights fetch {self.name}" if self.url else again
            raise WeightsError(f"the file of the weights '{self.name}' is missing: {self.path}", cure=cure)
        try:
            found = sha256_of(self.path)
        except OSError as error:
            raise WeightsError(
                f"the weights file {self.path} cannot be read ({error.strerror or error})", cure="check who may read it"
            ) from error
        if found != self.sha256:
            remedy = {"shipped": "reinstall rvos", "user": "delete the file, then import or fetch the weights again"}
            raise WeightsError(
                f"the weights file {self.path} is damaged: its sha256 is not the one in its manifest",
                cure=remedy[self.origin],
            )


def shipped_folder() -> Path:
    """Return the folder of the weights that came with rvos: inside the installed package, or of the checkout."""
    installed = Path(__file__).parent / "_weights"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "weights"


def user_folder() -> Path:
    """Return the user's own weights folder; it need not exist."""
    return data_folder() / "weights"


def check_name(name: str, *, option: str = "") -> str:
    """Return *name* if it can name weights: letters, digits, ``.``, ``_`` and ``-``, at most 64.

    *option* is where another can be given, if there is one.

    Raises:
        UsageError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        where = f" ({option})" if option else ""
        raise UsageError(f"'{name}' cannot name weights", cure=f"use letters, digits, '.', '_' and '-'{where}")
    return name


def list_weights() -> tuple[WeightsEntry, ...]:
    """Return all named weights, those that came with rvos first, then the user's; a name stands once.

    A shipped name whose file is not in the package counts as present once the user has fetched that very file.
    """
    shipped = {entry.name: entry for entry in read_manifest(shipped_folder(), "shipped")}
    for entry in read_manifest(user_folder(), "user"):
        same = shipped.get(entry.name)
        if same is None:
            shipped[entry.name] = entry
        elif not same.present and entry.sha256 == same.sha256:
            shipped[entry.name] = replace(same, folder=entry.folder, file=entry.file, origin="user")
    return tuple(shipped.values())


def find_entry(name: str) -> WeightsEntry | None:
    """Return the entry called *name*, whatever the case of its letters, or None."""
    return next((entry for entry in list_weights() if entry.name.casefold() == name.casefold()), None)


def require_entry(name: str) -> WeightsEntry:
    """Return the entry called *name*.

    Raises:
        WeightsError: there is none; the line lists those there are.
    """
    entry = find_entry(name)
    if entry is None:
        names = ", ".join(entry.name for entry in list_weights()) or "none"
        raise WeightsError(
            f"no weights are called '{name}' (there are: {names})",
            cure="give one of these names, a .safetensors file, or a published folder or zip",
        )
    return entry


def verify_weights(name: str | None = None) -> tuple[tuple[WeightsEntry, str | None], ...]:
    """Check the files of one name or of all; the second of each pair is None, or the problem in one line."""
    entries = list_weights() if name is None else (require_entry(name),)
    return tuple((entry, _problem(entry)) for entry in entries)


def register_weights(
    path: Path,
    *,
    name: str | None = None,
    license: str = "",
    card: str = "",
    summary: str = "",
    url: str = "",
    default: bool = False,
) -> WeightsEntry:
    """Write a weights file into the manifest of its own folder, replacing an older entry of the name.

    Args:
        path: a file that ``save_weights`` wrote, in the folder it shall be found in.
        name: None takes the file's stem.
        license, card, summary, url: see ``WeightsEntry``.
        default: whether it becomes the folder's default.

    Raises:
        WeightsError: the file holds no configuration.
        OutputError: the manifest cannot be written.
    """
    config = read_config(path)
    tasks = [task for task, able in (("segment", config.can_segment), ("track", config.can_track)) if able]
    with _alone(path.parent / MANIFEST):
        entry = WeightsEntry(
            name=check_name(path.stem if name is None else name),
            file=path.name,
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
            license=license,
            card=card,
            tasks=tuple(tasks),
            summary=summary,
            url=url,
            origin="shipped" if path.parent.resolve() == shipped_folder().resolve() else "user",
            default=default,
            folder=path.parent,
        )
        _write_entry(entry)
    return entry


def _write_entry(entry: WeightsEntry) -> None:
    path = entry.folder / MANIFEST
    content = _read_json(path)
    if entry.default:
        content["default"] = entry.name
    values = asdict(entry)
    content.setdefault("weights", {})[entry.name] = {key: values[key] for key in _STORED if values[key] or key != "url"}
    text = json.dumps(content, indent=2) + "\n"
    with writing_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _alone(manifest: Path) -> Iterator[None]:
    """Let nobody else change *manifest* between its being read and written."""
    lock = FileLock(manifest.with_name(LOCK))
    try:
        free = lock.wait(PATIENCE)
    except OSError as error:
        raise unwritable(manifest, error) from error
    if not free:
        raise OutputError(f"another process is writing {manifest}", cure="try again when it has ended")
    try:
        yield
    finally:
        lock.release()


def read_manifest(folder: Path, origin: Origin) -> tuple[WeightsEntry, ...]:
    """Return the entries of a folder's manifest, the default first; none where the folder has no manifest.

    The user's own folder may be one that cannot be entered; then it has none.

    Raises:
        WeightsError: the manifest cannot be understood.
    """
    path = folder / MANIFEST
    try:
        content = _read_json(path)
    except WeightsError as error:
        if origin == "user" and isinstance(error.__cause__, (PermissionError, NotADirectoryError)):
            return ()  # such as that of another user, or of a service that has no home
        raise
    try:
        entries = [
            WeightsEntry(
                name=check_name(name),
                origin=origin,
                folder=folder,
                default=name == content.get("default"),
                **{key: values[key] for key in _STORED if key in values and key != "tasks"},
                tasks=tuple(map(str, values.get("tasks", ()))),
            )
            for name, values in content.get("weights", {}).items()
        ]
        for entry in entries:
            _check_kinds(entry)
            if Path(entry.file).name != entry.file:
                raise ValueError("a file outside of its folder")
    except (AttributeError, TypeError, ValueError, UsageError) as error:
        raise _bad_manifest(path, error) from error
    return tuple(sorted(entries, key=lambda entry: not entry.default))


def _check_kinds(entry: WeightsEntry) -> None:
    """Refuse what may stand in JSON, but not in an entry."""
    for name, kind in (*((name, str) for name in _TEXTS), ("bytes", int)):
        if not isinstance(getattr(entry, name), kind):
            raise TypeError(f"'{name}' of '{entry.name}' is {getattr(entry, name)!r}")


def _problem(entry: WeightsEntry) -> str | None:
    try:
        entry.check()
    except WeightsError as error:
        return str(error)
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _bad_manifest(path, error) from error
    if not isinstance(content, dict):
        raise _bad_manifest(path, "not an object")
    return content


def _bad_manifest(path: Path, why: object) -> WeightsError:
    return WeightsError(f"the weights manifest {path} cannot be read ({why})", cure="restore or delete it")
