import math

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.evaluation import endpoints_told, labels, measures
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS, roc
from tests.evaluation import made_up_endpoints as made_up

NAMES = ("effusion", "nodule")


def made(n: int = 40, unknown: float = 0.2) -> Cases:
    generator = np.random.default_rng(0)
    rows = []
    for k in range(n):
        row = {"patient_id": f"P{k // 2:03d}"}
        for name in NAMES:
            label = int(generator.random() < 0.4)
            row |= {f"label {name}": label if generator.random() > unknown else -1}
            row |= {f"probability {name}": float(np.clip(0.3 + 0.3 * label + 0.2 * generator.normal(), 0, 1))}
        rows.append(row)
    return Cases(rows)


def values(cases: Cases) -> dict[str, float]:
    return {measure.name: measures.value(measure, cases) for measure in labels.measures(NAMES)}


def test_areas_are_those_of_the_cases_in_which_a_label_is_known() -> None:
    cases = made()
    expected = {}
    for name in NAMES:
        label, score = cases.numbers(f"label {name}"), cases.numbers(f"probability {name}")
        expected[f"AUC, {name}"] = roc.auc(label[label >= 0] == 1, score[label >= 0])
    assert values(cases) == pytest.approx({"mean AUC": np.mean(list(expected.values())), **expected})


def test_without_unknowns_the_mean_is_that_of_the_metric() -> None:
    cases = made(unknown=0)
    truth, score = (
        np.stack([cases.numbers(f"{what} {name}") for name in NAMES], 1) for what in ("label", "probability")
    )
    assert values(cases)["mean AUC"] == pytest.approx(METRICS["multilabel_auc"](truth, score)["macro"])


def test_a_label_without_yes_is_left_out_of_the_mean_and_undefined_itself() -> None:
    cases = Cases([{**row, "label nodule": 0} for row in made().rows])
    found = values(cases)
    assert math.isnan(found["AUC, nodule"])
    assert found["mean AUC"] == found["AUC, effusion"]
    nobody = Cases([{**row, "label nodule": -1, "label effusion": -1} for row in made().rows])
    assert all(math.isnan(value) for value in values(nobody).values())
    assert measures.figure(labels.measures(NAMES)[0], nobody, made_up.DRAWS)["n"] == 0


def test_n_counts_the_cases_in_which_something_is_known() -> None:
    cases = made()
    known = [sum(row[f"label {name}"] >= 0 for row in cases.rows) for name in NAMES]
    any_known = sum(any(row[f"label {name}"] >= 0 for name in NAMES) for row in cases.rows)
    found = [measures.figure(one, cases, made_up.DRAWS)["n"] for one in labels.measures(NAMES)]
    assert found == [any_known, *known]


def test_shares_of_readers_are_scored_and_other_numbers_refused() -> None:
    soft = made_up.with_case(made(), **{"label nodule": 0.25})
    told = endpoints_told.tell(soft, made_up.plan(labels.endpoints(NAMES), task="multi_label", names=NAMES))
    assert [one["soft"] for one in told] == [0, 1]
    with pytest.raises(UserError, match="'nodule' must lie in"):
        values(made_up.with_case(made(), **{"label nodule": 2}))
    with pytest.raises(UserError, match="'nodule' must lie in"):
        values(made_up.with_case(made(), **{"label nodule": -0.5}))


def test_cases_twice_in_any_order_and_all_as_a_subgroup_change_no_value() -> None:
    cases = made()
    expected = values(cases)
    assert values(made_up.doubled(cases)) == pytest.approx(expected)
    assert values(Cases(list(cases.rows)[::-1])) == pytest.approx(expected)
    whole = np.ones(len(cases), bool)
    assert {one.name: measures.value(one, cases, whole) for one in labels.measures(NAMES)} == pytest.approx(expected)
