"""A label that the scanner gives away is told; one that it does not is not; the figure is the AUC."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from radkit import config
from radkit.data.leakage import fingerprints, metadata

DATA = config.Data(dataset="made", kind="radiograph", label="ill", class_names=("no", "yes"), image_size=(8, 8))


def rows(count, label, seed=0, **facts):
    random = np.random.default_rng(seed)
    return [
        {
            **dict.fromkeys(fingerprints.WORDS, ""), **dict.fromkeys(fingerprints.NUMBERS), "study_date": "",
            "spacing_mm": [1.0, 1.0], "size": [64, 64], "record_uid": f"{seed}.{n}", "patient_id": f"P{n // 2}",
            "manufacturer": str(random.choice(["Acme", "Bolt"])), "age_years": float(random.integers(20, 90)),
            "label": label(n, random), **{name: of(n, random) for name, of in facts.items()},
        }
        for n in range(count)
    ]  # fmt: skip


def ill(n, random):
    return int(n // 2 % 3 == 0)


def test_a_scanner_that_stands_for_the_label_is_told():
    found = metadata.predicted(rows(200, ill, manufacturer=lambda n, r: ("Acme", "Bolt")[ill(n, r)]), DATA)
    assert [(one.target, one.by) for one in found[:2]] == [("ill", metadata.ALL), ("ill", "manufacturer")]
    assert found[1].concordance == 1
    assert found[0].concordance > 0.98
    assert {one.by for one in metadata.warnings(found, 0.7)} == {metadata.ALL, "manufacturer"}


@pytest.mark.parametrize("seed", range(4))
def test_a_label_that_the_header_does_not_know_is_not_told(seed):
    found = metadata.predicted(rows(300, lambda n, r: int(r.integers(2)), seed), DATA)
    assert not metadata.warnings(found, 0.7)
    assert found[0].low < 0.55


def test_a_label_that_only_two_facts_together_tell_is_told():
    bits = np.random.default_rng(0).integers(0, 2, (2, 400))
    both = rows(
        400, lambda n, r: int(bits[0, n] ^ bits[1, n]),
        manufacturer=lambda n, r: ("Acme", "Bolt")[bits[0, n]], sex=lambda n, r: ("F", "M")[bits[1, n]],
    )  # fmt: skip
    found = metadata.predicted(both, DATA)
    assert found[0].by == metadata.ALL
    assert found[0].low > 0.9
    assert all(one.concordance < 0.7 for one in found[1:])


@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_whether_a_number_is_known_may_tell(unknown):
    made = rows(200, ill, tube_voltage_kv=lambda n, r: 120.0 if ill(n, r) and r.random() >= unknown else None)
    by = {one.by: one.concordance for one in metadata.predicted(made, DATA)}
    assert by["tube_voltage_kv"] > 0.95 - unknown / 2


def test_regression_ordinal_and_survival_are_ranked():
    for kind in ("regression", "ordinal", "survival"):
        names = ("a", "b", "c") if kind == "ordinal" else ()
        data = dataclasses.replace(DATA, label_kind=kind, class_names=names, event="dead")
        made = rows(200, lambda n, r: int(r.integers(3)), event=lambda n, r: int(r.integers(2)))
        for one in made:
            one["slice_thickness_mm"] = float(one["label"]) + 1
        by = {one.by: one for one in metadata.predicted(made, data)}
        assert by["slice_thickness_mm"].concordance == 1, kind
        assert by["age_years"].low < 0.6


def test_each_class_of_several_is_asked_for_and_unknown_ones_are_left_out():
    names = ("mass", "effusion")
    data = dataclasses.replace(DATA, label_kind="multi_label", class_names=names)
    made = rows(200, lambda n, r: [ill(n, r), -1 if n % 2 else int(r.integers(2))])
    assert [t.name for t in metadata.targets(made, data)] == list(names)
    assert {(one.target, one.records) for one in metadata.predicted(made, data)} == {("mass", 200), ("effusion", 100)}
    three = dataclasses.replace(DATA, class_names=("a", "b", "c"))
    asked = metadata.targets(rows(30, lambda n, r: n % 3), three)
    assert [t.name for t in asked] == ["a", "b", "c"]
    assert sum(t.values for t in asked).tolist() == [1] * 30


@pytest.mark.parametrize("count", [0, 6, 19])
def test_too_few_records_say_nothing(count):
    assert metadata.predicted(rows(count, ill), DATA) == []


def test_a_label_of_one_class_or_none_says_nothing():
    assert metadata.predicted(rows(100, lambda n, r: 0), DATA) == []
    assert metadata.predicted(rows(100, ill), dataclasses.replace(DATA, label="", class_names=())) == []


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40))
def test_of_two_classes_the_concordance_is_the_area_under_the_curve(cases):
    values, told = np.array(cases, np.float64).T
    n = len(values)
    seen, patients, folds = np.ones(n, bool), np.arange(n), np.zeros(n, int)
    found, low, high = metadata.concordance(values, told, seen, patients, folds)
    if len(set(values)) == 1:
        assert np.isnan(found)
        return
    np.testing.assert_allclose(found, roc_auc_score(values, told), rtol=1e-6)
    assert 0 <= low <= high <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 5), st.integers(0, 1)), min_size=2))
def test_concordance_counts_the_pairs_that_can_be_compared(cases):
    values, seen, told, folds = np.array(cases, np.float64).T
    right = comparable = 0.0
    for i, one in enumerate(cases):
        for j, other in enumerate(cases):
            if one[3] == other[3] and seen[i] and one[0] < other[0]:
                comparable += 1
                right += 0.5 if told[i] == told[j] else float(told[i] < told[j])
    found = metadata.concordance(values, told, seen == 1, np.arange(len(cases)), folds.astype(int))[0]
    assert np.isnan(found) if not comparable else abs(found - right / comparable) < 1e-6


def test_the_same_rows_in_another_order_give_the_same_figures():
    made = rows(120, ill, manufacturer=lambda n, r: ("Acme", "Bolt")[ill(n, r)])
    assert metadata.predicted(made, DATA) == metadata.predicted(made[::-1], DATA)
