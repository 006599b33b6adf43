from pathlib import Path

import numpy as np
import pytest
from full_disk import small_files
from PIL import Image

from rvos_cli.errors import OutputError
from rvos_cli.training.contact_sheet import ContactSheet
from rvos_cli.training.datasets import ClipDataset
from rvos_cli.training.preview import contact_sheet


def test_the_sheet_shows_frames_and_coloured_labels_of_every_clip(data_root: Path, tmp_path: Path):
    sheet = tmp_path / "new" / "sheet.png"
    contact_sheet(ClipDataset(data_root, height=48, width=80), sheet, clips=3)
    pixels = np.array(Image.open(sheet))
    assert pixels.shape == (3 * 52, 6 * 80, 3)
    assert not np.array_equal(pixels[:, :240], pixels[:, 240:])


def test_a_place_that_cannot_be_written_is_one_clear_error(data_root: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"sheet\.png cannot be written"):
        contact_sheet(ClipDataset(data_root, height=48, width=80), tmp_path / "file" / "sheet.png", clips=1)


def test_a_full_disk_leaves_the_sheet_before(data_root: Path, tmp_path: Path):
    path = tmp_path / "sheet.png"
    contact_sheet(ClipDataset(data_root, height=48, width=80), path, clips=1)
    before = path.read_bytes()
    with small_files(100), pytest.raises(OutputError, match=r"sheet\.png cannot be written \(File too large\)"):
        contact_sheet(ClipDataset(data_root, height=48, width=80), path, clips=3)
    validation = ContactSheet()
    validation.row(2).caption = "a sequence"
    with small_files(100), pytest.raises(OutputError, match=r"sheet\.png cannot be written"):
        validation.save(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))
