"""The data sets in their official layouts: DAVIS 2016 and 2017, YouTube-VOS, and a plain folder of frames and masks.

Enters: a root folder, as unpacked. Leaves: a ``Dataset`` of ``Sequence`` values: paths, from which frames and masks are
read when they are asked for. What is missing is named before any work starts. First step of ``runner.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvos_cli.errors import DatasetError, UsageError
from rvos_cli.evaluation.folders import entries, list_files
from rvos_cli.evaluation.protocols import Task
from rvos_cli.evaluation.sequences import Sequence
from rvos_cli.sources import IMAGE_SUFFIXES, natural_key

DEFAULT_SPLITS = {"davis2016": "val", "davis2017": "val", "youtube-vos": "valid", "folder": ""}
DATASETS: tuple[str, ...] = tuple(DEFAULT_SPLITS)

_DAVIS = "JPEGImages/480p/<sequence>/<frame>.jpg, Annotations/480p/<sequence>/<frame>.png and"
LAYOUTS = {
    "davis2016": f"{_DAVIS} ImageSets/480p/<split>.txt (or ImageSets/2016/<split>.txt)",
    "davis2017": f"{_DAVIS} ImageSets/2017/<split>.txt",
    "youtube-vos": "<split>/JPEGImages/<video>/<frame>.jpg, <split>/Annotations/<video>/<frame>.png, <split>/meta.json",
    "folder": "frames/<sequence>/<frame>.jpg and masks/<sequence>/<frame>.png; instead of frames and masks also "
    "JPEGImages and Annotations, or JPEGImages/480p and Annotations/480p",
}
# Where a plain folder may have its frames and its masks; the first that exists is taken.
PLAIN_FOLDERS = (
    ("JPEGImages/480p", "Annotations/480p"),
    ("JPEGImages", "Annotations"),
    ("frames", "masks"),
)
ALL_FRAMES = "_all_frames"
YOUTUBE_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One split of a data set.

    Args:
        name: one of ``DATASETS``.
        split: its name; empty for a plain folder.
        root: the folder as given.
        sequences: in the order of the official list, or of their names.
        late_objects: objects that enter later are given, each with its own first mask (YouTube-VOS).
        archive_folder: where the official server wants the masks inside a submission; empty for its root.
        notices: one line for each thing worth knowing.
    """

    name: str
    split: str
    root: Path
    sequences: tuple[Sequence, ...]
    late_objects: bool = False
    archive_folder: str = ""
    notices: tuple[str, ...] = ()

    def unscorable(self) -> str:
        """Return why the data set cannot be scored, in one clause; empty if it can."""
        incomplete = [sequence for sequence in self.sequences if not sequence.complete]
        if not incomplete:
            return ""
        first = incomplete[0]
        what, lacking, rest = "not all", f"no true mask for frame {first.first_unknown}", "are complete"
        if first.enough is not None:
            what, lacking, rest = "too few", str(len(first.scored) or "none"), "have more"
        complete = len(self.sequences) - len(incomplete)
        there = f"; {complete} of {len(self.sequences)} sequences {rest}" if complete else ""
        return f"{self.name} {self.split}".strip() + f" has {what} true masks here ({first.name} has {lacking}{there})"

    def useless(self) -> DatasetError:
        """Return the failure of a run that could neither score its masks nor write them."""
        if self.name == "folder":
            cure = "choose others with --sequences, or write the masks with --submission FILE.zip"
        else:
            cure = "--submission FILE.zip writes the masks for the official server"
        return DatasetError(self.unscorable(), cure=cure)


def load_dataset(
    name: str,
    root: str | Path,
    *,
    split: str | None = None,
    task: Task = "semi-supervised",
    sequences: Iterable[str] | None = None,
) -> Dataset:
    """List one split of a data set; only names are read, except YouTube-VOS' ``meta.json``.

    Args:
        name: ``davis2016``, ``davis2017``, ``youtube-vos`` or ``folder``.
        root: the unpacked folder; for YouTube-VOS the one above the splits, or a split.
        split: None takes ``DEFAULT_SPLITS``, or the split that *root* is. ``valid_all_frames`` takes all frames of
            YouTube-VOS' ``valid``.
        task: ``unsupervised`` takes DAVIS' ``Annotations_unsupervised`` and needs no masks unless it is to be scored.
        sequences: only these, in this order; None takes all.

    Raises:
        DatasetError: something is missing or has not the layout that the message shows.
        UsageError: there is no such data set.
    """
    if name not in DATASETS:
        raise UsageError(f"no such data set: {name}", cure=f"use one of {', '.join(DATASETS)}")
    root = Path(os.path.expanduser(root))
    if not os.path.isdir(root):  # not Path.is_dir(), which raises where it may not look
        raise DatasetError(f"{root} is no folder", cure=f"name the root of the data set, which holds {LAYOUTS[name]}")
    chosen = list(dict.fromkeys(sequences)) if sequences is not None else None
    if name == "youtube-vos":
        return _youtube(root, split, task, chosen)
    split = split or DEFAULT_SPLITS[name]
    if name == "folder":
        if split:
            raise UsageError("the data set folder has no splits", cure="choose with --sequences")
        return _plain(root, task, chosen)
    return _davis(name, root, split, task, chosen)


def _davis(name: str, root: Path, split: str, task: Task, chosen: list[str] | None) -> Dataset:
    home = next((root / inner for inner in ("DAVIS", "davis") if os.path.isdir(root / inner / "JPEGImages")), root)
    if os.path.isdir(root / "JPEGImages"):
        home = root
    frames = _required(home / "JPEGImages" / "480p", name)
    masks = home / "Annotations" / "480p"
    notices = []
    if name == "davis2017" and task == "unsupervised":
        if os.path.isdir(home / "Annotations_unsupervised" / "480p"):
            masks = home / "Annotations_unsupervised" / "480p"
        elif os.path.isdir(masks):
            notices.append(f"{home} has no Annotations_unsupervised/480p: taking Annotations/480p, which has no void")
    if task != "unsupervised":
        _required(masks, name)
    listed = _davis_list(home, name, split, task)
    found = []
    for sequence in _chosen(chosen, list(listed), f"{name} {split}"):
        pictures = list_files(_required(frames / sequence, name), IMAGE_SUFFIXES)
        stems = listed[sequence] or list(pictures)
        missing = next((stem for stem in stems if stem not in pictures), None)
        if missing is not None or not stems:
            raise DatasetError(
                f"{frames / sequence} has no frame {missing or ''}".rstrip(), cure="unpack the data set again"
            )
        truths = list_files(_given_masks(masks / sequence, name, task), {".png"})
        paths = tuple(pictures[stem] for stem in stems)
        found.append(Sequence(sequence, paths, truths, tuple(stems), merged=name == "davis2016"))
    return Dataset(name=name, split=split, root=root, sequences=tuple(found), notices=tuple(notices))


def _davis_list(home: Path, name: str, split: str, task: Task) -> dict[str, list[str]]:
    """Return sequence -> frame stems, none where the list names sequences only."""
    years = ["480p", "2016"] if name == "davis2016" else ["2017"]
    if name == "davis2017" and task == "unsupervised" and split.startswith("test"):
        years.insert(0, "2019")  # the zero-shot test sets came two years later, with their own lists
    paths = [home / "ImageSets" / year / f"{split}.txt" for year in years]
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is None:
        there = sorted({entry.stem for place in paths for entry in place.parent.glob("*.txt")})
        hint = f"there are the splits {', '.join(there)}" if there else f"the layout of {name} is {LAYOUTS[name]}"
        raise DatasetError(f"{' (or '.join(map(str, paths))}{')' * (len(paths) - 1)} is missing", cure=hint)
    listed: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if not line.strip():
            continue
        image = Path(line.split()[0])  # /JPEGImages/480p/bear/00000.jpg in the lists of 2016, else the name alone
        if image.suffix.lower() in IMAGE_SUFFIXES:
            listed.setdefault(image.parent.name, []).append(image.stem)
        else:
            listed.setdefault(line.strip(), [])
    if not listed:
        raise DatasetError(f"{path} names no sequence", cure="unpack the data set again")
    return listed


def _youtube(root: Path, split: str | None, task: Task, chosen: list[str] | None) -> Dataset:
    name = "youtube-vos"
    home, split = _youtube_split(root, split)
    frames = home / "JPEGImages"
    if split.endswith(ALL_FRAMES):
        places = [place / split / "JPEGImages" for place in (home.parent, home.parent / "all_frames")]
        frames = next((place for place in places if os.path.isdir(place)), places[0])
    _required(frames, name)
    if task != "unsupervised":
        _required(home / "Annotations", name)
    videos = _read_meta(_required(home / "meta.json", name))
    found = []
    for video in _chosen(chosen, sorted(videos), f"{name} {split}"):
        pictures = list_files(_required(frames / video, name), IMAGE_SUFFIXES)
        listed = videos[video] or list(pictures)
        missing = next((stem for stem in listed if stem not in pictures), None)
        if missing is not None or not listed:
            raise DatasetError(
                f"{frames / video} has no frame {missing or ''}".rstrip(), cure="meta.json lists it: unpack again"
            )
        truths = list_files(_given_masks(home / "Annotations" / video, name, task), {".png"})
        stems = list(pictures)
        used = stems[: stems.index(listed[-1]) + 1]  # nobody asks for what comes after
        found.append(Sequence(video, tuple(pictures[stem] for stem in used), truths, tuple(listed)))
    return Dataset(
        name=name,
        split=split,
        root=root,
        sequences=tuple(found),
        late_objects=True,
        archive_folder="Annotations",
    )


def _youtube_split(root: Path, split: str | None) -> tuple[Path, str]:
    """Return the folder of the annotated split, which *root* may be itself, and the name of the one to run."""
    wanted = split or DEFAULT_SPLITS["youtube-vos"]
    annotated = wanted.removesuffix(ALL_FRAMES)
    if os.path.isdir(root / annotated) or not os.path.isfile(root / "meta.json"):
        return _required(root / annotated, "youtube-vos"), wanted
    own = root.resolve().name
    if not split:
        return root, own
    if own in YOUTUBE_SPLITS and own != annotated:
        raise DatasetError(f"{root} is the split {own}, not {annotated}", cure="name the folder above, or no split")
    return root, split


def _read_meta(path: Path) -> dict[str, list[str]]:
    """Return video -> the frames that any of its objects lists, in order."""
    try:
        videos: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["videos"]
        listed = {}
        for video, entry in videos.items():
            stems = {str(stem) for each in entry["objects"].values() for stem in each.get("frames", ())}
            listed[str(video)] = sorted(stems, key=natural_key)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} cannot be read ({type(error).__name__}: {error})",
            cure='it should be {"videos": {<video>: {"objects": {<id>: {"frames": [...]}}}}}',
        ) from error
    return listed


def _plain(root: Path, task: Task, chosen: list[str] | None) -> Dataset:
    pair = next((pair for pair in PLAIN_FOLDERS if os.path.isdir(root / pair[0])), None)
    if pair is None:
        names = " or ".join(images for images, _ in PLAIN_FOLDERS)
        raise DatasetError(f"{root} has no folder {names}", cure=f"expected {LAYOUTS['folder']}")
    frames, masks = root / pair[0], root / pair[1]
    if task == "unsupervised" and os.path.isdir(root / pair[1].replace("Annotations", "Annotations_unsupervised")):
        masks = root / pair[1].replace("Annotations", "Annotations_unsupervised")
    if task != "unsupervised" and not os.path.isdir(masks):
        raise DatasetError(
            f"{root} has {pair[0]}, but no {pair[1]}", cure=f"expected {pair[0]} and {pair[1]} with the same names"
        )
    places = {entry.name: (entry, masks / entry.name) for entry in sorted(entries(frames)) if _is_sequence(entry)}
    if not places and list_files(frames, IMAGE_SUFFIXES):
        places = {root.resolve().name: (frames, masks)}
    if not places:
        raise DatasetError(f"{frames} holds no folder of images", cure=f"expected {LAYOUTS['folder']}")
    enough = 1 if task == "unsupervised" else 2  # a mask that is given is none to score with
    found = []
    for name in _chosen(chosen, list(places), str(root)):
        pictures = list_files(places[name][0], IMAGE_SUFFIXES)
        truths = list_files(_given_masks(places[name][1], "folder", task), {".png"})
        stray = next((stem for stem in truths if stem not in pictures), None)
        if stray is not None:
            raise DatasetError(f"{truths[stray]} has no frame of its name", cure="frames and masks have the same stems")
        found.append(Sequence(name, tuple(pictures.values()), truths, tuple(pictures), enough=enough))
    return Dataset(name="folder", split="", root=root, sequences=tuple(found))


def _is_sequence(entry: Path) -> bool:
    return os.path.isdir(entry) and not entry.name.startswith(".") and bool(list_files(entry, IMAGE_SUFFIXES))


def _required(path: Path, name: str) -> Path:
    if not os.path.exists(path):
        raise DatasetError(f"{path} is missing", cure=f"the layout of {name} is {LAYOUTS[name]}")
    return path


def _given_masks(folder: Path, name: str, task: Task) -> Path:
    """Return *folder*, in which there must be at least a first mask unless the objects are to be found."""
    if task != "unsupervised" and not list_files(folder, {".png"}):
        what = "holds no PNG masks" if os.path.isdir(folder) else "is missing"
        raise DatasetError(f"{folder} {what}", cure=f"the layout of {name} is {LAYOUTS[name]}")
    return folder


def _chosen(chosen: list[str] | None, available: list[str], where: str) -> list[str]:
    unknown = sorted(set(chosen or ()) - set(available))
    if unknown:
        shown = ", ".join(available[:20]) + (f" and {len(available) - 20} more" if len(available) > 20 else "")
        raise DatasetError(f"no sequence {', '.join(unknown)} in {where}", cure=f"there are {shown}")
    return available if chosen is None else chosen
