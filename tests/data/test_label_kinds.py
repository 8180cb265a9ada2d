"""Labels of every kind: several readers made one, against numpy and counting; JSON and a record's fields."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.data import label_kinds

NAMES = ("none", "mild", "severe")
KINDS = ("class", "ordinal", "multi_label", "regression", "survival")


def data(kind: str) -> config.Data:
    names = NAMES if kind in ("class", "ordinal", "multi_label") else ()
    event = "died" if kind == "survival" else ""
    return config.Data("d", label="x", label_kind=kind, class_names=names, event=event)  # type: ignore[arg-type]


places = st.integers(0, len(NAMES) - 1)
flags = st.tuples(*[st.sampled_from([1, 0, -1])] * len(NAMES))
numbers = st.floats(-1e6, 1e6, width=32)
times = st.tuples(st.floats(0, 1e4, width=32), st.sampled_from([0, 1]))
VALUES = {"class": places, "ordinal": places, "multi_label": flags, "regression": numbers, "survival": times}


def said(kind: str) -> st.SearchStrategy[list[label_kinds.Value]]:
    return st.lists(VALUES[kind], min_size=1, max_size=7)


@given(said("class"))
def test_a_class_needs_more_votes_than_any_other(votes: list[int]) -> None:
    counts = Counter(votes)
    most = [value for value, count in counts.items() if count == max(counts.values())]
    assert label_kinds.elected(votes, data("class")) == (most[0] if len(most) == 1 else None, ())


@given(said("ordinal"))
def test_a_degree_is_the_middle_one(votes: list[int]) -> None:
    middle = float(np.median(votes))
    below, above = np.percentile(votes, 50, method="lower"), np.percentile(votes, 50, method="higher")
    assert label_kinds.elected(votes, data("ordinal")).value == (middle if below == above else None)
    if len(votes) % 2:
        assert label_kinds.elected(votes, data("ordinal")).value is not None


@given(said("regression"))
def test_a_number_is_the_median(votes: list[float]) -> None:
    found = label_kinds.elected(votes, data("regression")).value
    assert isinstance(found, float)
    np.testing.assert_allclose(found, np.median(np.array(votes, np.float64)), rtol=1e-12)


@given(said("multi_label"))
def test_of_several_labels_each_is_what_most_say_who_know(votes: list[tuple[int, ...]]) -> None:
    table = np.array(votes)
    balance = (table == 1).sum(0) - (table == 0).sum(0)
    found = label_kinds.elected(votes, data("multi_label"))
    assert found.value == tuple(np.where(balance > 0, 1, np.where(balance < 0, 0, -1)).tolist())
    assert found.tied == tuple(np.flatnonzero((balance == 0) & (table != -1).any(0)).tolist())


@given(said("survival"))
def test_times_must_be_the_same(votes: list[tuple[float, int]]) -> None:
    assert label_kinds.elected(votes, data("survival")).value == (votes[0] if len(set(votes)) == 1 else None)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_the_order_of_the_readers_does_not_matter(kind: str, drawn: st.DataObject) -> None:
    votes = drawn.draw(said(kind))
    again = drawn.draw(st.permutations(votes))
    assert label_kinds.elected(votes, data(kind)) == label_kinds.elected(again, data(kind))
    same = [votes[0]] * len(votes)
    if kind != "multi_label":
        assert label_kinds.elected(same, data(kind)).value == votes[0]


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_labels_travel_as_json(kind: str, drawn: st.DataObject) -> None:
    value = drawn.draw(VALUES[kind])
    back = label_kinds.from_json(json.loads(json.dumps(value)))
    assert back == value
    assert type(back) is type(value)
    hash(back)


def test_a_label_is_a_records_fields() -> None:
    assert label_kinds.fields(2, data("class")) == {"label": 2}
    assert label_kinds.fields(1, data("ordinal")) == {"label": 1}
    assert label_kinds.fields((1, 0, -1), data("multi_label")) == {"label": [1, 0, -1]}
    assert label_kinds.fields(2.5, data("regression")) == {"label": 2.5}
    assert label_kinds.fields((31.0, 1), data("survival")) == {"label": 31.0, "event": 1}


def test_labels_in_words() -> None:
    assert label_kinds.words(2, data("ordinal")) == "severe"
    assert label_kinds.words((1, 0, -1), data("multi_label")) == "none yes, mild no, severe unknown"
    assert label_kinds.words((1, 0, -1), data("multi_label"), places=(1,)) == "mild no"
    assert label_kinds.words((31.0, 1), data("survival")) == "31.0 1"
