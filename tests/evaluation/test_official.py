"""Every figure that the official tools print for the stored masks, to 1e-4; skipped where those are not at hand."""

import json
from pathlib import Path

import pytest

from rvos_cli.evaluation import evaluate_folders

SHARED = Path(__file__).resolve().parents[3] / "shared"
GOLDEN = SHARED / "golden" / "evaluation"
DEVELOPMENT = SHARED / "data" / "dev" / "davis"

pytestmark = pytest.mark.skipif(not (GOLDEN / "official.json").is_file(), reason="no official scores at hand")

CASES = {
    ("synthetic", "semi-supervised"): ("synthetic/predictions/semi-supervised", GOLDEN / "synthetic"),
    ("synthetic", "unsupervised"): ("synthetic/predictions/unsupervised", GOLDEN / "synthetic"),
    ("development", "semi-supervised (OSVOS)"): ("published/osvos_semisupervised", DEVELOPMENT),
    ("development", "unsupervised (RVOS)"): ("published/rvos_unsupervised", DEVELOPMENT),
}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_every_official_figure_is_reproduced(case: tuple[str, str]) -> None:
    expected = json.loads((GOLDEN / "official.json").read_text())[case[0]][case[1]]
    predictions, truths = CASES[case]
    score = evaluate_folders(GOLDEN / predictions, truths, case[1].split()[0])

    objects = expected.pop("per_object")
    assert score.figures() == pytest.approx(expected, abs=1e-4)
    assert {f"{o.sequence}_{o.official_id}": (o.region.mean, o.boundary.mean) for o in score.objects} == {
        name: pytest.approx((figures["J"], figures["F"]), abs=1e-4) for name, figures in objects.items()
    }
