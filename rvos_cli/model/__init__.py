"""The networks: tensors in, tensors out; no files, no pictures.

One letter per axis throughout: B batch, T time, N objects (slots), R reference frames, C channels,
H W source size, h w network size.
"""

from rvos_cli.model.references import References
from rvos_cli.model.rvos import RVOS, StepOutput
from rvos_cli.model.state import RecurrentState

__all__ = ["RVOS", "RecurrentState", "References", "StepOutput"]
