"""Scores masks as the official tools do: J, F, and the protocols of DAVIS and YouTube-VOS.

Enters: label maps, folders of PNGs, or a data set and a network. Leaves: scores per object, sequence and data set,
submissions. Needs neither torch nor a GPU.
"""

from rvos_cli.evaluation.datasets import DATASETS, Dataset, load_dataset
from rvos_cli.evaluation.folders import evaluate_folders, evaluate_sequence, find_annotations, read_mask, sequence_names
from rvos_cli.evaluation.late_objects import LateObjectScorer, make_scorer
from rvos_cli.evaluation.metrics import Measure, boundary_f, compare, jaccard
from rvos_cli.evaluation.protocols import DAVIS_TASKS, MAX_PROPOSALS, TASKS, VOID, SequenceScorer, Task
from rvos_cli.evaluation.runner import DatasetRun
from rvos_cli.evaluation.scores import DatasetScore, ObjectScore, SequenceScore
from rvos_cli.evaluation.sequences import Sequence
from rvos_cli.evaluation.submission import Submission

__all__ = [
    "DATASETS",
    "DAVIS_TASKS",
    "MAX_PROPOSALS",
    "TASKS",
    "VOID",
    "Dataset",
    "DatasetRun",
    "DatasetScore",
    "LateObjectScorer",
    "Measure",
    "ObjectScore",
    "Sequence",
    "SequenceScore",
    "SequenceScorer",
    "Submission",
    "Task",
    "boundary_f",
    "compare",
    "evaluate_folders",
    "evaluate_sequence",
    "find_annotations",
    "jaccard",
    "load_dataset",
    "make_scorer",
    "read_mask",
    "sequence_names",
]
