"""Every number of a report is recomputed from the tables beside it by formulas of their own, without radkit."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn

from tests.evaluation import made_up_evaluations, recomputed, recomputed_statistics

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", made_up_evaluations.DATA)
def test_every_number_of_a_report_is_recomputed(kind: str, tmp_path: Path) -> None:
    made_up_evaluations.evaluated(kind, tmp_path, resamples=20)
    ledger = recomputed.recompute(tmp_path, {"other": tmp_path / "other"})
    assert ledger.wrong == []
    assert ledger.unseen() == []
    assert len(ledger.seen) > 500


def test_a_number_that_is_wrong_is_found(tmp_path: Path) -> None:
    report = made_up_evaluations.evaluated("classification", tmp_path, resamples=20, count=30)
    report["figures"][0]["value"] += 1e-5
    report["endpoints"][0]["operating_point"]["confusion"]["fp"] += 1
    report["invented"] = {"n": 3}
    (tmp_path / "report.json").write_text(json.dumps(report))
    ledger = recomputed.recompute(tmp_path, {"other": tmp_path / "other"})
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


def test_the_script_uses_nothing_of_radkit() -> None:
    for file in HERE.glob("recomputed*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("radkit", "trainers") for name in names), file.name
