"""What lies on several sides is what a comparison of all with all finds."""

from hypothesis import given
from hypothesis import strategies as st

from radkit.data.leakage import identifiers

NAMES = {"shared_patient": "patient_id", "shared_study": "study_uid", "shared_series": "series_uid"}


def row(side, patient, study="", series="", record="", day=""):
    return {"side": side, "patient_id": patient, "study_uid": study, "series_uid": series, "record_uid": record,
            "study_date": day}  # fmt: skip


WORDS = st.sampled_from(["", "a", "b", "c"])
ROWS = st.lists(st.builds(row, st.sampled_from(["train", "test"]), WORDS, WORDS, WORDS, WORDS, WORDS), max_size=12)


@given(ROWS)
def test_all_that_lies_on_two_sides_is_found(rows):
    found = identifiers.shared(rows)
    for kind, name in NAMES.items():
        told = {one.value: one.sides for one in found if one.kind == kind}
        for value in ("a", "b", "c"):
            sides = [r["side"] for r in rows if r[name] == value]
            assert (value in told) == (len(set(sides)) == 2)
            assert told.get(value, {}) in ({}, {side: sides.count(side) for side in set(sides)})
        assert "" not in told


def test_a_prior_of_the_same_day_is_told_apart_from_a_study_on_two_sides():
    prior = [row("train", "P1", "S1", day="20240101"), row("test", "P1", "S2", day="20240101")]
    assert [one.kind for one in identifiers.shared(prior)] == ["shared_patient", "same_day"]
    cut = [row("train", "P1", "S1", day="20240101"), row("test", "P1", "S1", day="20240101")]
    assert [one.kind for one in identifiers.shared(cut)] == ["shared_patient", "shared_study"]
    later = [row("train", "P1", "S1", day="20240101"), row("test", "P1", "S2", day="20240102")]
    assert [one.kind for one in identifiers.shared(later)] == ["shared_patient"]
    assert identifiers.shared([row("train", "P1", "S1"), row("train", "P1", "S1")]) == []
