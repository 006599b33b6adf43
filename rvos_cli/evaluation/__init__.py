"""Scores masks as the official tools do: J, F, and the DAVIS protocols.

Enters: label maps or folders of PNGs. Leaves: scores per object, sequence and data set. Needs neither torch nor a GPU.
"""

from rvos_cli.evaluation.folders import evaluate_folders, evaluate_sequence, find_annotations, read_mask, sequence_names
from rvos_cli.evaluation.metrics import Measure, boundary_f, compare, jaccard
from rvos_cli.evaluation.protocols import MAX_PROPOSALS, TASKS, VOID, SequenceScorer, Task
from rvos_cli.evaluation.scores import DatasetScore, ObjectScore, SequenceScore

__all__ = [
    "MAX_PROPOSALS",
    "TASKS",
    "VOID",
    "DatasetScore",
    "Measure",
    "ObjectScore",
    "SequenceScore",
    "SequenceScorer",
    "Task",
    "boundary_f",
    "compare",
    "evaluate_folders",
    "evaluate_sequence",
    "find_annotations",
    "jaccard",
    "read_mask",
    "sequence_names",
]
