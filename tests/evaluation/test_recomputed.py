"""Every number of a report is recomputed from the tables beside it by formulas of their own, without radkit."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn

from tests.evaluation import made_up_evaluations, recomputed, recomputed_statistics
from tests.evaluation import recomputed_detection as detection

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", made_up_evaluations.DATA)
def test_every_number_of_a_report_is_recomputed(kind: str, tmp_path: Path) -> None:
    made_up_evaluations.evaluated(kind, tmp_path, resamples=20)
    ledger = recomputed.recompute(tmp_path, {name: tmp_path / name for name in ("other", "abroad")})
    assert ledger.wrong == []
    assert ledger.unseen() == []
    assert len(ledger.seen) > 500


def test_a_number_that_is_wrong_is_found(tmp_path: Path) -> None:
    report = made_up_evaluations.evaluated("classification", tmp_path, resamples=20, count=30)
    report["figures"][0]["value"] += 1e-5
    report["endpoints"][0]["operating_point"]["confusion"]["fp"] += 1
    report["invented"] = {"n": 3}
    (tmp_path / "report.json").write_text(json.dumps(report))
    ledger = recomputed.recompute(tmp_path, {name: tmp_path / name for name in ("other", "abroad")})
    assert [line.split(":")[0] for line in ledger.wrong] == [
        "figures.0.value",
        "endpoints.0.operating_point.confusion.fp",
    ]
    assert ledger.unseen() == ["invented.n"]


def test_plain_formulas_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        y, s = random.integers(0, 2, 30), np.round(random.random(30), 1)
        y[:2] = 0, 1
        soft = np.where(random.random(30) < 0.3, 0.25, y)
        twice = np.concatenate([np.ones(30), np.zeros(30)]), np.concatenate([s, s]), np.concatenate([soft, 1 - soft])
        area = sklearn.roc_auc_score(twice[0], twice[1], sample_weight=twice[2])
        precision = sklearn.average_precision_score(twice[0], twice[1], sample_weight=twice[2])
        assert recomputed_statistics.auc(soft, s) == pytest.approx(area)
        assert recomputed_statistics.auc(y * 1.0, s) == pytest.approx(sklearn.roc_auc_score(y, s))
        assert recomputed_statistics.average_precision(soft, s) == pytest.approx(precision)
        corrected = recomputed_statistics.mcclish(recomputed_statistics.partial_auc(y * 1.0, s))
        if not np.isnan(corrected):
            assert corrected == pytest.approx(sklearn.roc_auc_score(y, s, max_fpr=0.1))
        truth, calls = random.integers(0, 3, 30), random.integers(0, 3, 30)
        for name, weights in (("kappa", None), ("linear kappa", "linear"), ("quadratic kappa", "quadratic")):
            expected = sklearn.cohen_kappa_score(truth, calls, weights=weights)
            assert recomputed_statistics.of_table(name, truth, calls, 3) == pytest.approx(expected)
        expected = sklearn.matthews_corrcoef(truth, calls)
        assert recomputed_statistics.of_table("MCC", truth, calls, 3) == pytest.approx(expected)
        expected = sklearn.f1_score(truth, calls, average="macro")
        assert recomputed_statistics.of_table("macro F1", truth, calls, 3) == pytest.approx(expected)


def _table(*images: dict[str, Any]) -> recomputed.Table:
    none: dict[str, Any] = {name: [] for name in ("reference", "labels", "found", "found_labels", "scores")}
    held = [{**none, "spacing_mm": [1.0, 2.0], **image} for image in images]
    return recomputed.Table([{name: json.dumps(value) for name, value in image.items()} for image in held])


def test_plain_formulas_of_boxes_are_those_by_hand() -> None:
    square = [0, 0, 4, 4]
    one = {"reference": [square, [10, 10, 14, 14]], "labels": [0, 0]}
    # IoU 0.75; a second hit; nothing there.
    one |= {"found": [[0, 0, 4, 3], square, [20, 20, 24, 24]], "found_labels": [0, 0, 0], "scores": [0.9, 0.8, 0.7]}
    ignoring = {"reference": [[0, 0, 9, 9]], "labels": [-2]}
    ignoring |= {"found": [[1, 1, 3, 3], [8, 8, 14, 14]], "found_labels": [0, 0], "scores": [0.95, 0.85]}
    table, rows = _table(one, ignoring, {}), np.arange(3)
    first, second, _ = detection.images(table)
    assert (first.hits, second.hits) == ([0, 0, -1], [-2, -1])
    assert first.longest(first.reference[0]) == 8
    assert detection.froc(table) == [(0.9, 1, 0), (0.85, 1, 1), (0.8, 1, 1), (0.7, 1, 2)]
    assert detection.counts_at(table, 0.8).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    # The lesion that was hit is rated above both images without lesions, the other ties with that without a mark.
    assert detection.jafroc(table)(rows) == (2 + 0.5) / 4
    assert detection.measure(table, "sensitivity at 1/8 FP/image", 1)(rows) == 0.5
    # By COCO one of two is right at precision 1 (0.75 fits up to a threshold of 0.75), at recalls 0 to 0.5.
    assert detection.measure(table, "mAP50", 1)(rows) == pytest.approx(51 / 101)
    # Above that the second box is right, after one or more that are wrong.
    assert detection.measure(table, "mAP", 1)(rows) == pytest.approx((6 * 1 + 4 / 3) * 51 / 101 / 10)
    np.testing.assert_equal(detection.holds(table, 0), [1, np.nan, 0])
    assert detection.surest(table, 0).tolist() == [0.9, 0.95, 0.0]
    # An image that is drawn twice counts twice.
    assert detection.measure(table, "mAP50", 1)(np.array([0, 0])) == pytest.approx(51 / 101)
    assert np.isnan(detection.measure(table, "mAP50", 1)(np.array([2, 2])))


def test_plain_formulas_of_readers_are_those_of_others() -> None:
    random = np.random.default_rng(2)
    a, b = random.integers(0, 4, 50), random.integers(0, 4, 50)
    for power, weights in ((0, None), (1, "linear"), (2, "quadratic")):
        expected = sklearn.cohen_kappa_score(a, b, weights=weights)
        assert recomputed_statistics.kappa(a * 1.0, b * 1.0, power) == pytest.approx(expected)
    # 3 readers, 2 cases: all yes, and two of three yes; 5 of 6 calls are yes.
    calls = np.array([[1.0, 1, 1], [1, 1, 0]])
    agreed, by_chance = (1 + 1 / 3) / 2, (5 / 6) ** 2 + (1 / 6) ** 2
    assert recomputed_statistics.fleiss(calls) == pytest.approx((agreed - by_chance) / (1 - by_chance))
    assert np.isnan(recomputed_statistics.fleiss(np.ones((4, 3))))


def test_the_script_uses_nothing_of_radkit() -> None:
    for file in HERE.glob("recomputed*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("radkit", "trainers") for name in names), file.name
