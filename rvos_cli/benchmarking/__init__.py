"""How fast one model is on one video: the network alone, the whole way from file to files, and stage by stage.

Enters: a loaded ``Segmenter`` and a video. Leaves: seconds per frame, as plain values and as a picture. Stands beside
``batch``, above the facade; it measures from outside and changes nothing of what it measures.
"""

from rvos_cli.benchmarking.chart import check_chart, draw_chart
from rvos_cli.benchmarking.runs import Job, measure_network, measure_whole, some_objects
from rvos_cli.benchmarking.stages import STAGES, measure_stages

__all__ = [
    "STAGES",
    "Job",
    "check_chart",
    "draw_chart",
    "measure_network",
    "measure_stages",
    "measure_whole",
    "some_objects",
]
