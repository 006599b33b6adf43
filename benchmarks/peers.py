"""Other programs for the same job, from PyPI, with random weights, since speed does not depend on them.

Cutie-small (distribution ``rf-cutie``) at 480p and SAM 2.1 tiny (``rf-sam-2``) at its own size, 1024x1024, each with
its own settings for video. On a CPU both compute in float32, on a GPU in 16 bits, as their authors do.

Enters: frames (N, H, W, 3) uint8 and a first mask (H, W). Leaves: one label map (H, W) uint8 after the other, that of
the first frame included. Memories fill up over the first frames, so short runs are kinder to them than long ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.uint8]
CUTIE_SIZE = 480
CUTIE_SETTINGS = ("model=small", f"max_internal_size={CUTIE_SIZE}", "mem_every=5", "max_mem_frames=5")
SAM2_CONFIGURATION = "configs/sam2.1/sam2.1_hiera_t.yaml"


def cutie(frames: NDArray[np.uint8], mask: Labels, device: torch.device) -> Iterator[Labels]:
    """Run Cutie-small with the settings of its DAVIS evaluation, memory in every fifth frame.

    Raises:
        ImportError: ``rf-cutie``, or what it needs, is not installed.
    """
    from cutie.inference.inference_core import InferenceCore
    from cutie.model.cutie import CUTIE
    from cutie.model.utils import resnet
    from hydra import compose, initialize_config_module
    from omegaconf import open_dict

    with initialize_config_module("cutie.config", version_base="1.3.2"):
        settings = compose("eval_config", overrides=list(CUTIE_SETTINGS))
    with open_dict(settings):
        settings.use_long_term = False
    resnet.load_weights_add_extra_dim = lambda *_, **__: None  # its trunks would fetch ImageNet weights
    resnet.model_zoo.load_url = lambda *_, **__: {}
    core = InferenceCore(CUTIE(settings).to(device).eval(), settings)
    ids = [int(number) for number in np.unique(mask) if number]
    with torch.inference_mode(), _sixteen_bits(device, torch.float16):
        for index, frame in enumerate(frames):
            image = torch.from_numpy(frame).to(device).permute(2, 0, 1).float() / 255
            given = {"mask": torch.from_numpy(mask).to(device), "objects": ids} if index == 0 else {}
            yield core.output_prob_to_mask(core.step(image, **given)).to(torch.uint8).cpu().numpy()


def sam2(frames: NDArray[np.uint8], mask: Labels, device: torch.device) -> Iterator[Labels]:
    """Run the video predictor of SAM 2.1 tiny; reading and preparing its frames, which it does beforehand, is free.

    Raises:
        ImportError: ``rf-sam-2``, or what it needs, is not installed.
    """
    from sam2.build_sam import build_sam2_video_predictor

    predictor: Any = build_sam2_video_predictor(SAM2_CONFIGURATION, device=str(device), apply_postprocessing=False)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), _sixteen_bits(device, torch.bfloat16):
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(Path(folder) / f"{index:05d}.jpg", quality=95)
        state = predictor.init_state(folder)
        for number in np.unique(mask):
            if number:
                predictor.add_new_mask(state, frame_idx=0, obj_id=int(number), mask=torch.from_numpy(mask == number))
        for _, ids, logits in predictor.propagate_in_video(state):
            best, index = logits[:, 0].max(dim=0)
            names = torch.tensor(ids, dtype=torch.uint8, device=logits.device)
            yield torch.where(best > 0, names[index], names.new_zeros(())).cpu().numpy()


def _sixteen_bits(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype=dtype, enabled=device.type == "cuda")
