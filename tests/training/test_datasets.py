import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rvos_cli.errors import DatasetError
from rvos_cli.training.datasets import ClipDataset, ClipMix, collate
from rvos_cli.training.library import Library, open_library
from rvos_cli.training.pieces import draw_piece

REAL = ClipMix(real=1, photograph=0, composite=0, photometric=0)
PHOTOGRAPH = ClipMix(real=0, photograph=1, composite=0, photometric=0)
COMPOSITE = ClipMix(real=0, photograph=0, composite=1, photometric=0)


def small(root: Path, **options) -> ClipDataset:
    return ClipDataset(root, **{"height": 48, "width": 80, **options})


def test_a_clip_has_the_promised_shapes_types_and_labels(data_root: Path):
    dataset = small(data_root, frames=4, max_objects=2)
    kinds = set()
    for index in range(30):
        clip = dataset[index]
        assert clip["frames"].shape == (4, 3, 48, 80) and clip["frames"].dtype == torch.uint8
        assert clip["labels"].shape == (4, 48, 80) and clip["labels"].dtype == torch.uint8
        for flag in (clip["complete"], clip["separate"]):
            assert flag.shape == () and flag.dtype == torch.bool
        assert bool(clip["separate"]) or not bool(clip["complete"])
        ids = set(clip["labels"].unique().tolist()) - {0, 255}
        assert ids == set(range(1, len(ids) + 1)) and len(ids) <= 2
        kinds.add(clip["kind"])
    assert kinds == {"real", "photograph", "composite"}


def test_seed_and_index_decide_everything_about_a_clip(data_root: Path):
    first, again, other = small(data_root, seed=3), small(data_root, seed=3), small(data_root, seed=4)
    again[11]
    for index in (0, 5, 9):
        assert torch.equal(first[index]["frames"], again[index]["frames"])
        assert torch.equal(first[index]["labels"], again[index]["labels"])
    assert not all(torch.equal(first[index]["frames"], other[index]["frames"]) for index in range(3))


@pytest.mark.parametrize("mix", [REAL, PHOTOGRAPH], ids=["real", "photograph"])
def test_labels_lie_on_the_red_things_in_every_frame(data_root: Path, mix: ClipMix):
    shutil.rmtree(data_root / "train/cutouts")
    for index in range(20):
        clip = small(data_root, mix=mix)[index]
        frames, labels = clip["frames"].float(), clip["labels"]
        red = (frames[:, 0] - frames[:, 1]) > 90
        labelled = (labels > 0) & (labels != 255)
        assert (red & labelled).sum() > 0.85 * labelled.sum()
        assert not bool(clip["complete"]) or (red & labelled).sum() > 0.85 * red.sum()


def test_labels_follow_pasted_cutouts(data_root: Path):
    for folder in ("clips", "pairs", "backgrounds"):
        shutil.rmtree(data_root / "train" / folder)
    Image.new("RGB", (96, 64), (120, 120, 120)).save(_made(data_root / "train/backgrounds/free/hills") / "grey.png")
    moved = 0.0
    for index in range(20):
        clip = small(data_root, mix=COMPOSITE)[index]
        frames, labels = clip["frames"].float(), clip["labels"]
        coloured = frames.amax(dim=1) - frames.amin(dim=1) > 50
        assert ((labels > 0) == coloured).float().mean() > 0.97
        moved = max(moved, float((labels[0] != labels[-1]).float().mean()))
        assert bool(clip["complete"])
    assert moved > 0.05


def test_ignored_pixels_stay_ignored_and_do_not_become_objects(data_root: Path):
    shutil.rmtree(data_root / "train/clips")
    for pair in (data_root / "train/pairs").rglob("*.png"):
        mask = Image.open(pair)
        pixels = np.array(mask)
        pixels[:, :12] = 255
        ignoring = Image.fromarray(pixels)
        ignoring.putpalette(mask.getpalette())
        ignoring.save(pair)
    seen = 0
    for index in range(20):
        labels = small(data_root, mix=PHOTOGRAPH)[index]["labels"]
        seen += int((labels == 255).any())
        assert int(labels[labels != 255].max()) <= 3
    assert seen > 3


def test_sets_that_are_not_wholly_labelled_are_marked(data_root: Path):
    shutil.rmtree(data_root / "train/clips/davis2016")
    clips = [small(data_root, mix=REAL)[index] for index in range(5)]
    assert not any(bool(clip["complete"]) for clip in clips)
    assert all(bool(clip["separate"]) for clip in clips)  # what has a label is a thing by itself


def test_photographs_whose_labels_are_regions_are_no_examples_of_things(data_root: Path):
    shutil.rmtree(data_root / "train/pairs/free")
    persons = [small(data_root, mix=PHOTOGRAPH)[index] for index in range(5)]
    assert all(bool(clip["separate"]) for clip in persons)
    (data_root / "train/pairs/research/coco_person").rename(data_root / "train/pairs/research/bsds_regions")
    regions = [small(data_root, mix=PHOTOGRAPH)[index] for index in range(5)]
    assert not any(bool(clip["separate"]) or bool(clip["complete"]) for clip in regions)


def test_clips_whose_label_is_of_several_things_only_teach_to_follow(data_root: Path):
    (data_root / "train/clips/davis2016/box").rename(data_root / "train/clips/davis2016/bmx-bumps")
    shutil.rmtree(data_root / "train/clips/ytvos_ffvi")
    clips = [small(data_root, mix=REAL)[index] for index in range(3)]
    assert all(bool(clip["labels"].any()) and not bool(clip["complete"] | clip["separate"]) for clip in clips)
    library = open_library(data_root)
    pieces = [draw_piece(library, np.random.default_rng(seed), frames=2, max_gap=1) for seed in range(40)]
    assert all(len(piece.rgb) == 1 for piece in pieces)  # those of clips would move


def test_of_more_objects_than_wanted_the_largest_are_kept(data_root: Path):
    shutil.rmtree(data_root / "train/clips/davis2016")
    (data_root / "train/clips/ytvos_ffvi").rename(data_root / "train/clips/whole")
    both = [small(data_root, mix=REAL, max_objects=2)[index] for index in range(12)]
    single = [small(data_root, mix=REAL, max_objects=1)[index] for index in range(12)]
    assert any(int(clip["labels"].max()) == 2 for clip in both) and all(bool(clip["complete"]) for clip in both)
    for two, one in zip(both, single, strict=True):
        assert int(one["labels"].max()) == 1 and bool(one["complete"])
        assert bool((two["labels"] > 0)[one["labels"] > 0].all())


def test_empty_scenes_have_no_object_and_are_complete(data_root: Path):
    dataset = small(data_root, mix=ClipMix(real=0, photograph=0, composite=0, empty=1))
    for index in range(8):
        clip = dataset[index]
        assert clip["kind"] == "empty" and bool(clip["complete"]) and not bool(clip["labels"].any())


def test_a_scene_that_shows_a_thing_of_its_own_is_no_empty_one(data_root: Path):
    shutil.rmtree(data_root / "train/backgrounds")
    scenes = _made(data_root / "train/backgrounds/free/ukui-wallpapers")
    Image.new("RGB", (96, 64), (200, 0, 90)).save(scenes / "goldfish.png")
    mix = ClipMix(real=0, photograph=0.5, composite=0, empty=0.5, photometric=0)
    assert {small(data_root, mix=mix)[index]["kind"] for index in range(12)} == {"photograph"}
    Image.new("RGB", (96, 64), (0, 200, 90)).save(scenes / "desert.png")
    mix = replace(mix, photograph=0)
    clips = [small(data_root, mix=mix)[index] for index in range(6)]
    assert all(bool(clip["complete"]) for clip in clips)
    assert all((clip["frames"][:, 0] > clip["frames"][:, 1]).float().mean() < 0.5 for clip in clips)  # not the fish


def test_free_only_leaves_real_clips_and_research_folders_alone(data_root: Path):
    dataset = small(data_root, free_only=True)
    for path in data_root.rglob("research"):
        shutil.rmtree(path)
    shutil.rmtree(data_root / "train/clips")
    assert {dataset[index]["kind"] for index in range(20)} == {"photograph", "composite"}


def test_the_train_folder_itself_is_a_root_too(data_root: Path):
    assert torch.equal(small(data_root)[1]["frames"], small(data_root / "train")[1]["frames"])


def test_a_folder_without_the_layout_is_one_clear_error(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"no training data in .*; give the folder that holds clips/"):
        ClipDataset(tmp_path)
    with pytest.raises(DatasetError, match="no training data"):
        ClipDataset(tmp_path / "absent")


def test_only_research_data_under_free_only_is_one_clear_error(data_root: Path):
    for path in list(data_root.rglob("free")):
        shutil.rmtree(path)
    with pytest.raises(DatasetError, match="pairs/free/"):
        small(data_root, free_only=True)


def test_a_picture_without_a_mask_is_named(data_root: Path):
    (data_root / "train/clips/davis2016/box/00004.png").unlink()
    with pytest.raises(DatasetError, match=r"00004\.jpg has no mask"):
        small(data_root)


def test_a_broken_picture_is_named(data_root: Path):
    for path in (data_root / "train/clips").rglob("*.jpg"):
        path.write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"cannot read .*\.jpg"):
        small(data_root, mix=REAL)[0]


def test_a_picture_that_is_stored_turned_is_shown_upright(tmp_path: Path):
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :20] = 255
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned clockwise
    Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", quality=95, exif=tag)
    shown = Library((), {}, {}, {}).rgb(tmp_path / "a.jpg")
    assert shown.shape == upright.shape and np.abs(shown.astype(int) - upright).mean() < 5
    Image.fromarray(upright).convert("RGBA").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=tag)
    assert np.array_equal(Library((), {}, {}, {}).rgba(tmp_path / "a.png")[..., :3], upright)


@pytest.mark.parametrize(("mix", "folder"), [(REAL, "clips"), (PHOTOGRAPH, "pairs")], ids=["real", "photograph"])
def test_a_mask_of_another_size_is_named_with_its_picture(data_root: Path, mix: ClipMix, folder: str):
    for path in (data_root / "train" / folder).rglob("*.png"):
        Image.open(path).resize((80, 48), Image.Resampling.NEAREST).save(path)
    with pytest.raises(DatasetError, match=r"(\S+)\.png has not the size of \1\.jpg; save the mask"):
        small(data_root, mix=mix)[0]


def test_things_are_not_cut_out_with_masks_of_another_size(data_root: Path):
    shutil.rmtree(data_root / "train/clips")
    shutil.rmtree(data_root / "train/cutouts")
    for path in (data_root / "train/pairs").rglob("*.png"):
        Image.open(path).resize((80, 48), Image.Resampling.NEAREST).save(path)
    with pytest.raises(DatasetError, match="has not the size of"):
        draw_piece(open_library(data_root), np.random.default_rng(0), frames=2, max_gap=1)


def test_masks_of_a_pixel_less_after_shrinking_are_fitted(tmp_path: Path):
    Image.new("RGB", (700, 667)).save(tmp_path / "a.jpg")  # shrunk to 302 x 288
    Image.new("L", (350, 333)).save(tmp_path / "a.png")  # to 303 x 288
    image, labels = Library((), {}, {}, {}).pair(tmp_path / "a.jpg", tmp_path / "a.png")
    assert image.shape[:2] == labels.shape


@pytest.mark.parametrize("size", [(162, 96), (96, 160)])
def test_a_clip_of_frames_of_several_sizes_is_told(data_root: Path, size: tuple[int, int]):
    for path in (data_root / "train/clips").rglob("00004.*"):
        Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    with pytest.raises(
        DatasetError, match=r"\.jpg has not the size of \S+\.jpg; save all frames of a clip in one size"
    ):
        for index in range(30):
            small(data_root, mix=REAL)[index]


def test_frames_stand_in_the_order_in_which_people_count(data_root: Path):
    folder = data_root / "train/clips/davis2016/box"
    for place, path in enumerate(sorted(folder.glob("*.jpg"))):
        for file in (path, path.with_suffix(".png")):
            file.rename(folder / f"frame{place + 7}{file.suffix}")
    clip = next(clip for clip in open_library(data_root).sequences if clip.name == "davis2016/box")
    assert [path.stem for path in clip.images] == [f"frame{number}" for number in range(7, 14)]
    assert [path.stem for path in clip.masks] == [path.stem for path in clip.images]


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("clips/a.jpg", "lies too high to be found; expected clips/COLLECTION/CLIP/NAME.jpg"),
        ("clips/walk/a.jpg", "lies too high"),
        ("clips/mine/walk/a.webp", "is no .jpg"),
        ("clips/mine/walk/a.png", "has no picture a.jpg beside it"),
        ("pairs/a.jpg", "lies too high"),
        ("pairs/free/a.jpg", "lies too high to be found; expected pairs/free/SET/NAME.jpg"),
        ("pairs/research/mine/a.bmp", "is no .jpg"),
        ("cutouts/a.png", "lies too high"),
        ("cutouts/research/a.png", "lies too high"),
        ("backgrounds/free/a.jpg", "lies too high"),
    ],
)
def test_pictures_where_none_are_looked_for_are_named(data_root: Path, place: str, what: str):
    path = data_root / "train" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (160, 96)).save(path)
    with pytest.raises(DatasetError, match=f"^{re.escape(str(path))} {re.escape(what)}"):
        small(data_root)


@pytest.mark.parametrize("kind", ["pairs", "cutouts", "backgrounds"])
def test_a_set_beside_the_licences_is_named(data_root: Path, kind: str):
    folder = _made(data_root / "train" / kind / "mine")
    with pytest.raises(DatasetError, match=f"^{folder} is neither free/ nor research/; expected {kind}/free/SET/"):
        small(data_root)


def test_what_is_not_used_is_not_looked_at(data_root: Path):
    for place in ("clips/walk/a.jpg", "pairs/research/mine/a.bmp", "pairs/free/things/._one.jpg.png"):
        path = data_root / "train" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    small(data_root, free_only=True)


def test_a_mix_without_its_data_is_refused(data_root: Path):
    shutil.rmtree(data_root / "train/clips")
    with pytest.raises(DatasetError, match="nothing for this mix"):
        small(data_root, mix=REAL)
    with pytest.raises(DatasetError, match="no mix"):
        ClipMix(real=-1)
    with pytest.raises(DatasetError, match="max_gap"):
        ClipMix(max_gap=0)


def test_clips_longer_than_the_stored_ones_turn_round(data_root: Path):
    clip = small(data_root, mix=REAL, frames=16)[0]
    assert clip["frames"].shape[0] == 16 and bool((clip["labels"] > 0).any())


def test_index_out_of_range_ends_iteration(data_root: Path):
    dataset = small(data_root, length=2)
    assert len(dataset) == 2
    with pytest.raises(IndexError):
        dataset[2]


def test_the_cache_stays_below_its_bound_and_does_not_travel(data_root: Path):
    tight, roomy = small(data_root, cache_bytes=100_000), small(data_root)
    for index in range(10):
        assert torch.equal(tight[index]["frames"], roomy[index]["frames"])
    assert tight._maker.library._cached <= 100_000
    assert len(pickle.dumps(roomy)) < 50_000


def test_loader_workers_give_the_same_batches(data_root: Path):
    dataset = small(data_root, length=8)
    alone = list(DataLoader(dataset, batch_size=4, collate_fn=collate))
    helped = list(DataLoader(dataset, batch_size=4, collate_fn=collate, num_workers=1))
    assert alone[0]["frames"].shape == (4, 3, 3, 48, 80) and alone[0]["labels"].shape == (4, 3, 48, 80)
    assert alone[0]["complete"].shape == (4,) and alone[0]["complete"].dtype == torch.bool
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one["frames"], other["frames"]) and torch.equal(one["labels"], other["labels"])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def masks_of(folder: Path, pixels: np.ndarray, mode: str) -> np.ndarray:
    image = Image.fromarray(pixels).convert(mode) if mode != "P" else Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(folder / "mask.png")
    with Image.open(folder / "mask.png") as saved:
        assert saved.mode == mode
    return Library((), {}, {}, {}).labels(folder / "mask.png")


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA"])
@pytest.mark.parametrize("side", [40, 400])  # larger ones are shrunk
def test_a_black_and_white_mask_shows_one_object(tmp_path: Path, mode: str, side: int):
    pixels = np.zeros((side, side), np.uint8)
    pixels[: side // 2] = 255
    labels = masks_of(tmp_path, pixels, mode)
    assert np.unique(labels[: len(labels) // 2 - 1]).tolist() == [1] and not labels[len(labels) // 2 + 1 :].any()


def test_white_is_ignored_in_a_palette_and_beside_objects(tmp_path: Path):
    pixels = np.zeros((40, 40), np.uint8)
    pixels[:10] = 255
    assert np.array_equal(masks_of(tmp_path, pixels, "P"), pixels)
    pixels[20:] = 1
    assert np.array_equal(masks_of(tmp_path, pixels, "L"), pixels)


def test_a_mask_of_colours_is_told(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"mask\.png is no mask \(mode RGB.*palette PNG"):
        masks_of(tmp_path, np.full((40, 40), 38, np.uint8), "RGB")
