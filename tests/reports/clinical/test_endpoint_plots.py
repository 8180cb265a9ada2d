import json
import math
from typing import Any

import pytest

from radkit.evaluation import endpoints_told
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from radkit.reports.clinical import endpoint_plots
from tests.evaluation import made_up_answers
from tests.evaluation import made_up_endpoints as made_up

POINT = OperatingPoint("ill", "youden", None, 0.4, "validation", 60, 0.8, 0.7)


def told(cases: Cases, *points: OperatingPoint) -> dict[str, Any]:
    (found,) = endpoints_told.tell(cases, made_up.plan(points=points, cost=4))
    read: dict[str, Any] = json.loads(json.dumps(made_up_answers.as_json(found)))
    return read


def test_each_plot_draws_what_is_told_and_its_alt_says_the_numbers() -> None:
    said = told(made_up.of_ill(), POINT)
    roc, precision, calibration, decisions = endpoint_plots.of(said, 3)
    assert [one.stem for one in (roc, precision, calibration, decisions)] == [
        "roc-3-ill",
        "precision-recall-3-ill",
        "calibration-3-ill",
        "decision-curve-3-ill",
    ]
    axis = roc.plot.axes[0]
    assert axis.lines[1].get_xydata().T.tolist() == [said["curve"]["roc"]["fpr"], said["curve"]["roc"]["tpr"]]
    counts = said["operating_point"]["confusion"]
    mark = (counts["fp"] / (counts["fp"] + counts["tn"]), counts["tp"] / (counts["tp"] + counts["fn"]))
    assert tuple(axis.lines[2].get_xydata()[0]) == pytest.approx(mark)
    assert f"AUC {said['figures'][0]['value']:.3f}" in roc.alt
    assert f"{said['positives']} yes and {said['negatives']} no" in roc.alt
    assert f"sensitivity {mark[1]:.3f}" in roc.alt
    assert f"share of yes {said['prevalence']:.3f}" in precision.alt
    one = said["calibration"]["bins"][0]
    assert f"{one['fraction']:.2f} of {one['count']} at {one['mean']:.2f}" in calibration.alt
    assert len(calibration.plot.axes[0].collections) == len(said["calibration"]["bins"])
    curve = said["decision_curve"]
    assert decisions.plot.axes[0].lines[0].get_ydata().tolist() == curve["model"]
    assert f"{curve['model'][9]:.3f} and {curve['all'][9]:.3f} at 0.10" in decisions.alt


def test_without_an_operating_point_nothing_is_marked() -> None:
    roc, *_ = endpoint_plots.of(told(made_up.of_ill()), 1)
    assert len(roc.plot.axes[0].lines) == 2
    assert "operating point" not in roc.alt


def test_a_point_that_calls_nothing_has_no_precision_to_mark() -> None:
    _, precision, *_ = endpoint_plots.of(told(made_up.of_ill(), OperatingPoint("ill", "fixed", None, 1.5)), 1)
    assert "operating point" not in precision.alt


def test_one_class_has_no_roc_and_yes_alone_still_has_a_precision() -> None:
    only_yes = endpoint_plots.of(told(made_up.table([1, 1], [0.2, 0.7]), POINT), 1)
    assert [one.stem.rpartition("-1-")[0] for one in only_yes] == ["precision-recall", "calibration", "decision-curve"]
    only_no = endpoint_plots.of(told(made_up.table([0, 0], [0.2, 0.7]), POINT), 1)
    assert [one.stem.rpartition("-1-")[0] for one in only_no] == ["calibration", "decision-curve"]
    assert endpoint_plots.of(told(made_up.table([math.nan], [0.2])), 1) == []


def test_undefined_figures_are_said_to_be_undefined() -> None:
    roc, _, calibration, _ = endpoint_plots.of(told(made_up.table([0, 1], [0.2, 0.7])), 1)
    assert "slope undefined" in calibration.alt
    assert "AUC 1.000" in roc.alt
