"""Records in groups: what is not known is not a group, and association is scipy's, corrected for chance."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import contingency

from radkit import config
from radkit.data.exploring import strata

NAMES = ("no", "yes")
CLASS = config.Data(dataset="made", label="x", class_names=NAMES)


def row(**more: Any) -> dict[str, Any]:
    return {"split": "train", "patient_id": "P1", "label": None, "age_years": None, "tube_voltage_kv": None, **more}


def test_ways_in_which_all_records_are_one_are_left_out():
    rows = [row(label="no", site="A", sex="F"), row(label="yes", site="A", sex="", age_years=70.0)]
    found = strata.schemes(rows, CLASS)
    assert found == {"label": ["no", "yes"], "sex": ["F", "unknown"], "age": ["unknown", "65 to 79"]}
    assert next(iter(found)) == "label"


def test_the_rarest_groups_are_joined():
    rows = [row(site=f"S{n}") for n in range(9) for _ in range(n + 1)]
    sites = strata.schemes(rows, CLASS, most=4)["site"]
    assert set(sites) == {"S8", "S7", "S6", strata.OTHERS}
    assert len(sites) == len(rows)


@pytest.mark.parametrize(
    ("told", "group"),
    [
        ({"label": "yes"}, "yes"),
        ({"label": {"a": 1, "b": 0}}, "a"),
        ({"label": {"a": 1, "b": 1}}, "several"),
        ({"label": {"a": -1, "b": 0}}, "none"),
        ({"label": {"a": -1, "b": -1}}, "unknown"),
        ({"label": {"time": 3.0, "event": True}}, "event"),
        ({"label": {"time": 3.0, "event": False}}, "censored"),
        ({"mask_voxels": {"a": 0, "b": 3}}, "with mask"),
        ({"mask_voxels": {"a": 0}}, "without mask"),
        ({"boxes": {"a": 0}}, "without boxes"),
        ({"boxes": {"a": 2}}, "with boxes"),
        ({}, "unknown"),
    ],
)
def test_labels_of_every_kind_make_groups(told, group):
    assert strata.label_groups([row(**told)], CLASS) == [group]


def test_a_regression_makes_quarters_of_about_the_same_size():
    data = config.Data(dataset="made", label="x", label_kind="regression")
    values = np.random.default_rng(0).normal(size=400)
    groups = strata.label_groups([row(label=float(v)) for v in values] + [row()], data)
    counts = {name: groups.count(name) for name in set(groups)}
    assert counts.pop("unknown") == 1
    assert sorted(counts.values()) == [100] * 4
    order = strata.ordered("label", groups, data)
    assert order[-1] == "unknown"
    assert [float(name.split()[0]) for name in order[:-1]] == sorted(float(name.split()[0]) for name in order[:-1])


@pytest.mark.parametrize("values", [[None, None], [2.0, 2.0], [1.0, 2.0]])
def test_few_values_of_a_regression_are_no_fault(values):
    data = config.Data(dataset="made", label="x", label_kind="regression")
    assert len(strata.label_groups([row(label=value) for value in values], data)) == 2


def test_groups_stand_in_an_order_that_people_expect():
    assert strata.ordered("split", ["test", "train"], CLASS) == ["train", "test"]
    assert strata.ordered("label", ["yes", "no", "unknown"], CLASS) == ["no", "yes", "unknown"]
    ages = ["80 and over", "under 18", "unknown", "18 to 39"]
    assert strata.ordered("age", ages, CLASS) == ["under 18", "18 to 39", "80 and over", "unknown"]
    volts = ["120 kV", "80 kV", "others"]
    assert strata.ordered("tube voltage", volts, CLASS) == ["80 kV", "120 kV", "others"]


def test_association_of_what_goes_together_is_1_and_of_chance_next_to_0():
    one = ["a", "b", "c"] * 200
    assert strata.association(one, one) == pytest.approx(1)
    drawn = np.random.default_rng(0).choice(["x", "y"], 600).tolist()
    assert strata.association(one, drawn) < 0.1
    assert math.isnan(strata.association(one, ["x"] * 600))
    assert math.isnan(strata.association([], []))


def test_what_is_not_known_tells_nothing():
    one = ["a", "b", "unknown"] * 30
    other = ["x", "y", "x"] * 30
    assert strata.association(one, other) == pytest.approx(1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=8, max_size=80))
def test_association_is_scipys_corrected_for_chance(pairs):
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    table = np.array([[pairs.count((a, b)) for b in sorted(set(other))] for a in sorted(set(one))])
    found = strata.association(one, other)
    if min(table.shape) < 2:
        assert math.isnan(found)
        return
    plain = contingency.association(table, method="cramer", correction=False)
    assert 0 <= found <= 1 + 1e-9
    n, (rows, columns) = table.sum(), table.shape
    phi = max(0.0, plain**2 * (min(rows, columns) - 1) - (rows - 1) * (columns - 1) / (n - 1))
    fewest = min(size - (size - 1) ** 2 / (n - 1) for size in table.shape)
    assert found == pytest.approx(math.sqrt(phi / (fewest - 1)))
