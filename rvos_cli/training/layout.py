"""How training media lie in their folder: a folder enters, the pictures or folders in it leave.

:mod:`rvos_cli.training.library` takes what lies where it belongs; what a person put one level too high, or saved with
another ending, would be missing from the training without a word, and is an error here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rvos_cli.errors import DatasetError
from rvos_cli.sources import IMAGE_SUFFIXES

LICENCES = ("free", "research")
PICTURE_SUFFIXES, MASK_SUFFIX = (".jpg", ".jpeg"), ".png"
LAYOUTS = {
    "clips": "clips/COLLECTION/CLIP/NAME.jpg",
    "pairs": "pairs/free/SET/NAME.jpg or pairs/research/SET/NAME.jpg",
    "cutouts": "cutouts/free/SET/NAME.png or cutouts/research/SET/NAME.png",
    "backgrounds": "backgrounds/free/SET/NAME.jpg or backgrounds/research/SET/NAME.jpg",
}


def check_layout(base: Path, licences: Iterable[str], *, clips: bool) -> None:
    """Refuse pictures below *base* that nobody would look for.

    Args:
        base: the folder that holds ``clips/``, ``pairs/``, ``cutouts/`` and ``backgrounds/``, or some of them.
        licences: which of ``LICENCES`` are used.
        clips: whether the clips are.

    Raises:
        DatasetError: a picture lies too high, a folder lies beside those of the licences, or the ending of a file of
            clips and pairs is another, or its picture is missing.
    """
    for kind in ("pairs", "cutouts", "backgrounds"):
        _refuse_pictures(base / kind, kind)
        for folder in folders_in(base / kind):
            if folder.name not in LICENCES:
                raise DatasetError(f"{folder} is neither free/ nor research/", cure=f"expected {LAYOUTS[kind]}")
        for licence in licences:
            _refuse_pictures(base / kind / licence, kind)
    for licence in licences:
        _check_endings(folders_in(base / "pairs" / licence))
    if clips:
        _refuse_pictures(base / "clips", "clips")
        for collection in folders_in(base / "clips"):
            _refuse_pictures(collection, "clips")
            _check_endings(folders_in(collection))


def _refuse_pictures(folder: Path, kind: str) -> None:
    for picture in pictures_in(folder)[:1]:
        raise DatasetError(f"{picture} lies too high to be found", cure=f"expected {LAYOUTS[kind]}")


def _check_endings(folders: Iterable[Path]) -> None:
    for folder in folders:
        files = pictures_in(folder)
        pictures = {path.stem for path in files if path.suffix.lower() in PICTURE_SUFFIXES}
        for path in files:
            suffix = path.suffix.lower()
            if suffix not in (*PICTURE_SUFFIXES, MASK_SUFFIX):
                raise DatasetError(f"{path} is no .jpg", cure="save it as .jpg, its mask beside it as .png")
            if suffix == MASK_SUFFIX and path.stem not in pictures:
                raise DatasetError(
                    f"{path} has no picture {path.stem}.jpg beside it",
                    cure="a .png is a mask here: save pictures as .jpg, or remove the mask",
                )


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, hidden ones aside; none where it is not there."""
    return [path for path in _shown(folder) if path.is_dir()]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures and masks in a folder, hidden ones aside; none where it is not there."""
    return [path for path in _shown(folder) if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()]


def _shown(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
