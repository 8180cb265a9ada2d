"""Tables rounded so that cells, rows and columns are right at once; labels that come together."""

from collections import Counter
from fractions import Fraction
from math import ceil, floor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.data.splitting import quotas


@st.composite
def shares(draw: st.DrawFn) -> list[Fraction]:
    weights = draw(st.lists(st.integers(0, 10), min_size=2, max_size=10).filter(any))
    return [Fraction(weight, sum(weights)) for weight in weights]


@given(st.lists(st.integers(0, 30), max_size=40), shares())
@settings(max_examples=500, deadline=None)
def test_cells_rows_and_columns_are_their_shares_rounded(sizes: list[int], wanted: list[Fraction]) -> None:
    table = quotas.apportion(sizes, wanted)
    for row, size in zip(table, sizes):
        assert sum(row) == size
        assert all(floor(size * share) <= cell <= ceil(size * share) for cell, share in zip(row, wanted))
    for column, share in enumerate(wanted):
        assert floor(sum(sizes) * share) <= sum(row[column] for row in table) <= ceil(sum(sizes) * share)


def test_strata_of_one_patient_each_are_dealt_by_the_shares() -> None:
    table = quotas.apportion([1] * 100, quotas.shares_of((0.7, 0.1, 0.2)))
    assert [sum(column) for column in zip(*table)] == [70, 10, 20]


@given(shares(), st.integers(0, 200), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_strata_are_dealt_as_apportioned_and_kept_ones_stay(wanted: list[Fraction], count: int, kinds: int) -> None:
    stratum_of = {f"P{n}": f"s{n % kinds}" for n in range(count)}
    names = [f"n{k}" for k in range(len(wanted))]
    few = {patient: stratum for patient, stratum in stratum_of.items() if int(patient[1:]) < count // 2}
    before = quotas.deal(few, names, wanted, "seed")
    dealt = quotas.deal(stratum_of, names, wanted, "seed", before)
    assert before.items() <= dealt.items()
    assert set(dealt) == set(stratum_of)
    fresh = quotas.deal(stratum_of, names, wanted, "seed")
    for stratum in set(stratum_of.values()):
        size = sum(one == stratum for one in stratum_of.values())
        counts = Counter(fresh[patient] for patient, one in stratum_of.items() if one == stratum)
        assert all(abs(counts[name] - size * share) < 1 for name, share in zip(names, wanted))
        # Quotas grow with the patients, so that those who were dealt before seldom stand in the way.
        counts = Counter(dealt[patient] for patient, one in stratum_of.items() if one == stratum)
        assert all(abs(counts[name] - size * share) < 2.5 for name, share in zip(names, wanted))


def test_rare_labels_are_spread_where_strata_could_not() -> None:
    chance = np.random.default_rng(0)
    tags_of = {f"P{n}": [f"c{k}" for k in range(10) if chance.random() < 0.3] for n in range(1000)}
    dealt = quotas.deal_tags(tags_of, ["a", "b"], [Fraction(4, 5), Fraction(1, 5)], "seed")
    for tag in (f"c{k}" for k in range(10)):
        counts = Counter(dealt[patient] for patient, tags in tags_of.items() if tag in tags)
        assert abs(counts["b"] - counts.total() / 5) <= 2
    assert abs(Counter(dealt.values())["b"] - 200) <= 2
    few = {patient: tags for patient, tags in tags_of.items() if int(patient[1:]) < 500}
    before = quotas.deal_tags(few, ["a", "b"], [Fraction(4, 5), Fraction(1, 5)], "seed")
    assert before.items() <= quotas.deal_tags(tags_of, ["a", "b"], [Fraction(1, 2)] * 2, "seed", before).items()


def test_those_without_any_label_are_dealt_too() -> None:
    dealt = quotas.deal_tags({f"P{n}": [] for n in range(10)}, ["a", "b"], [Fraction(1, 2)] * 2, "seed")
    assert Counter(dealt.values()) == {"a": 5, "b": 5}
