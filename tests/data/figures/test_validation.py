"""Each anomaly is found where it was planted, by its name, and nowhere else."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.data import records, schema, shards, statistics
from radkit.data.figures import anomalies, validation
from radkit.errors import UserError

DATA = config.Data("d", label="l", class_names=("no", "yes"), mask_labels=("a",), box_labels=("b",))
FIELDS = schema.fields("volume", mask_labels=("a",), box_labels=("b",), class_names=("no", "yes"), label_kind="class")
COUNTS = {"train": 60, "validation": 20, "test": 20}
Record = dict[str, Any]


def record(number: int, **more: object) -> Record:
    image = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1) + number % 5
    return {
        **{f.name: "" for f in FIELDS if f.kind == "text"},
        **{f.name: np.nan for f in FIELDS if f.kind == "numbers" and not f.shape},
        "image": image,
        "mask": (image > 20).astype(np.uint8),
        "boxes": np.array([[0, 0, 0, 1, 2, 2]], np.float32),
        "box_labels": [0],
        "lesion_ids": [""],
        "rescale_slope": np.ones(2, np.float32),
        "rescale_intercept": np.zeros(2, np.float32),
        "spacing_mm": np.array([3, 1, 1 + number % 3 / 10], np.float32),
        "origin_mm": np.zeros(3),
        "direction": np.eye(3),
        "label": number % 2,
        "patient_id": f"P{number}",
        "record_uid": f"1.2.{number}",
        "sex": "FM"[number % 2],
        "manufacturer": f"Maker {number % 2}",
        "modality": "CT",
        "age_years": 40.0 + number % 7,
        **more,
    }


def made(**changed: dict[int, Record]) -> dict[str, list[Record]]:
    """Returns the records of each split, with what is changed of some, by number in its split."""
    numbers = iter(range(1000))
    return {
        split: [record(next(numbers), **changed.get(split, {}).get(n, {})) for n in range(count)]
        for split, count in COUNTS.items()
    }


def report(of_splits: dict[str, list[Record]], folder: Path, data: config.Data = DATA) -> dict[str, Any]:
    parts = {}
    for split, listed in of_splits.items():
        path = folder / f"{split}.tfrecord"
        shards.write_shard(path, [records.encode(one, FIELDS) for one in listed])
        parts[split] = statistics.of_shard(path, FIELDS, num_masks=len(data.mask_labels))
    return statistics.report(parts, data)


def names(found: dict[str, Any], of: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(a.name, a.where) for a in validation.anomalies(found, of)]


def everywhere(count: int, **more: object) -> dict[int, Record]:
    return {n: dict(more) for n in range(count)}


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return report(made(), tmp_path_factory.mktemp("trusted"))


def test_a_sound_data_set_has_no_anomaly(trusted: dict[str, Any]) -> None:
    assert validation.anomalies(trusted) == []
    assert validation.anomalies(trusted, validation.infer(trusted)) == []


NAN = float("nan")
PLANTED = {
    "spacing_unknown": {"spacing_mm": np.array([NAN, 1, 1], np.float32)},
    "spacing_not_positive": {"spacing_mm": np.array([3, 0, 1], np.float32)},
    "place_not_finite": {"origin_mm": np.array([NAN, 0, 0])},
    "constant_image": {"image": np.full((2, 3, 4, 1), 7, np.int16)},
    "mask_value_unnamed": {"mask": np.full((2, 3, 4, 1), 9, np.uint8)},
    "mask_of_other_size": {"mask": np.ones((2, 3, 3, 1), np.uint8)},
    "box_outside": {"boxes": np.array([[0, 0, 0, 1, 2, 5]], np.float32)},
    "box_without_size": {"boxes": np.array([[0, 1, 1, 1, 1, 2]], np.float32)},
    "not_finite": {"rescale_slope": np.array([NAN, 1], np.float32)},
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_was_planted_in_one_record_is_found_by_its_name(name: str, split: str, tmp_path: Path) -> None:
    planted = made(**{split: {4: PLANTED[name]}})
    listed = validation.anomalies(report(planted, tmp_path))
    found = {(a.name, a.where) for a in listed if (a.name, a.where) != ("value_not_in_training", split)}
    assert found == {(name, split)}
    (one,) = (a for a in listed if a.name == name)
    assert one.text == f"1 of {COUNTS[split]} records, as {planted[split][4]['record_uid']}"
    assert one in anomalies.stopping(listed) or one.severity == "warning"


def test_radiographs_may_tell_no_spacing_but_all_or_none(trusted: dict[str, Any]) -> None:
    found = copy.deepcopy(trusted)
    found["about"]["kind"] = "radiograph"
    found["test"]["faults"] = {"spacing_unknown": {"count": 20, "records": ["1"]}}
    assert names(found) == []
    found["test"]["faults"]["spacing_unknown"]["count"] = 19
    assert names(found) == [("spacing_partly_unknown", "test")]


def test_masks_that_are_empty_everywhere_are_an_error_and_some_are_none(tmp_path: Path) -> None:
    empty = np.zeros((2, 3, 4, 1), np.uint8)
    splits_of = {split: everywhere(count, mask=empty) for split, count in COUNTS.items()}
    assert names(report(made(**splits_of), tmp_path)) == [("masks_all_empty", "all splits")]
    splits_of["train"].pop(0)
    assert names(report(made(**splits_of), tmp_path)) == []


def test_labels_that_are_never_drawn_and_classes_never_seen_are_told(tmp_path: Path) -> None:
    data = config.Data("d", label="l", class_names=("no", "yes"), mask_labels=("a", "b"), box_labels=("b",))
    splits_of = {
        split: everywhere(count, label=0, boxes=np.zeros((0, 6), np.float32), box_labels=[], lesion_ids=[])
        for split, count in COUNTS.items()
    }
    assert names(report(made(**splits_of), tmp_path, data)) == [
        ("mask_label_never_drawn", "all splits"),
        ("box_label_never_drawn", "all splits"),
        ("class_never_seen", "all splits"),
    ]


def test_a_class_that_only_the_test_has_stops(tmp_path: Path) -> None:
    found = report(made(train=everywhere(60, label=0), validation=everywhere(20, label=0)), tmp_path)
    listed = validation.anomalies(found)
    assert [a.name for a in listed if a.severity == "error"] == ["class_not_in_training"]
    assert ("class_not_in_split", "validation") not in names(found)


def test_a_class_that_a_split_lacks_is_told(tmp_path: Path) -> None:
    found = report(made(validation=everywhere(20, label=1)), tmp_path)
    assert ("class_not_in_split", "validation") in names(found)
    assert not anomalies.stopping(validation.anomalies(found))


def test_a_manufacturer_that_only_the_test_has_is_told_with_the_skew(tmp_path: Path) -> None:
    found = report(made(test=everywhere(20, manufacturer="Another")), tmp_path)
    listed = {(a.name, a.where): a for a in validation.anomalies(found)}
    assert set(listed) == {("value_not_in_training", "test: manufacturer"), ("skew", "test: manufacturer")}
    assert listed["skew", "test: manufacturer"].text == "Another is 100% of patients, but 0% in train"


def test_what_chance_makes_is_no_skew() -> None:
    few = anomalies.distance({"a": 50, "b": 50}, {"a": 4, "b": 1})
    many = anomalies.distance({"a": 5000, "b": 5000}, {"a": 400, "b": 100})
    assert few is not None
    assert many is not None
    assert (few.share, few.expected) == (many.share, many.expected)
    assert not few.exceeds(0.2)
    assert many.exceeds(0.2)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
)
def test_the_distance_is_the_largest_of_all_values(expected: dict[str, int], counts: dict[str, int]) -> None:
    found = anomalies.distance(expected, counts)
    if not sum(expected.values()) or not sum(counts.values()):
        assert found is None
        return
    apart = [abs(expected.get(v, 0) / sum(expected.values()) - counts.get(v, 0) / sum(counts.values())) for v in "abc"]
    assert found is not None
    assert abs(found.share - found.expected) == max(apart)


def test_patients_on_two_sides_are_an_error(tmp_path: Path) -> None:
    found = report(made(test={3: {"patient_id": "P7"}}), tmp_path)
    (one,) = validation.anomalies(found)
    assert (one.name, one.severity, "as P7" in one.text) == ("patients_in_several_splits", "error", True)


AGAINST = {
    ("value_new", "test: manufacturer"): {"manufacturer": "Maker 9"},
    ("value_new", "test: modality"): {"modality": "MR"},
    ("unknown_too_often", "test: modality"): {"modality": ""},
    ("unknown_too_often", "test: age_years"): {"age_years": NAN},
    ("number_out_of_range", "test: age_years"): {"age_years": 90.0},
    ("number_out_of_range", "test: spacing_mm[0]"): {"spacing_mm": np.array([5, 1, 1], np.float32)},
    ("number_out_of_range", "test: intensity"): {"rescale_intercept": np.array([900, 0], np.float32)},
    ("number_out_of_range", "test: boxes in records"): {
        "boxes": np.repeat(np.array([[0, 0, 0, 1, 2, 2]], np.float32), 4, axis=0),
        "box_labels": [0] * 4,
        "lesion_ids": [""] * 4,
    },
}


@pytest.mark.parametrize("planted", AGAINST, ids=str)
def test_one_record_that_does_not_fit_the_schema_is_found(
    planted: tuple[str, str], trusted: dict[str, Any], tmp_path: Path
) -> None:
    found = report(made(test={2: AGAINST[planted]}), tmp_path)
    listed = validation.anomalies(found, validation.infer(trusted))
    assert [(a.name, a.where) for a in listed if a.severity == "error"] == [planted]


def test_other_fields_labels_and_shares_are_found(trusted: dict[str, Any]) -> None:
    of = validation.infer(trusted)
    changed = {**of, "fields": ["report", *of["fields"][1:]], "class_names": ["yes", "no"], "mask_labels": ["liver"]}
    changed["shares"] = {**of["shares"], "sex": {"F": 100, "M": 1}}
    assert names(trusted, changed) == [
        ("field_missing", "all splits"),
        ("label_changed", "all splits"),
        ("labels_of_masks_changed", "all splits"),
        ("shares_changed", "test: sex"),
        ("shares_changed", "train: sex"),
        ("shares_changed", "validation: sex"),
        ("field_new", "all splits"),
    ]


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_inferred_ranges_hold_what_was_seen_with_room(least: float, width: float) -> None:
    found = validation._wider(least, least + width)
    assert found["least"] <= least
    assert found["most"] >= least + width
    assert (found["least"] >= 0) == (least >= 0)


def test_a_schema_is_read_as_it_was_written(trusted: dict[str, Any], tmp_path: Path) -> None:
    of = validation.infer(trusted)
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(of))
    assert validation.read(path) == of


BROKEN = {
    "no schema of statistics": {"radkit_schema_of_statistics": 0},
    "numbers.size.0..least must be a number, not 'x'": {
        "numbers": {"size[0]": {"least": "x", "most": 1, "most_unknown": 0}}
    },
    "values.sex.allowed must be a list": {"values": {"sex": {"most_unknown": 0}}},
    "values.sex must be an object": {"values": {"sex": []}},
    "values must be an object, not 3": {"values": 3},
    "shares.sex.F must be a number": {"shares": {"sex": {"F": True}}},
    "class_names must be a list of texts": {"class_names": "no"},
    "largest_distance must be a number, not None": {"largest_distance": None},
    "has the unknown .'colour'.": {"colour": 1},
    "label_kind must be a text, not 3": {"label_kind": 3},
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_schema_that_is_not_understood_is_refused(message: str, trusted: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({**validation.infer(trusted), **BROKEN[message]}))
    with pytest.raises(UserError, match=message):
        validation.read(path)


def test_a_schema_that_is_no_json_is_told_as_one_that_a_person_mends(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_bytes(b"\xff{")
    with pytest.raises(UserError, match="is no JSON; mend it"):
        validation.read(tmp_path / "schema.json")


def test_many_new_values_are_one_short_line(tmp_path: Path) -> None:
    found = report(made(test={n: {"site": f"S{n:02d}"} for n in range(20)}), tmp_path)
    (line,) = [
        a.text for a in validation.anomalies(found) if (a.name, a.where) == ("value_not_in_training", "test: site")
    ]
    assert line == f"{', '.join(f'S{n:02d}' for n in range(10))} and 10 more"


def test_no_schema_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--write_schema="):
        validation.read(tmp_path / "none.json")


def test_every_kind_says_what_to_do() -> None:
    for name, kind in anomalies.KINDS.items():
        assert kind.severity in ("error", "warning")
        assert kind.advice, name


def test_accepted_names_stop_nothing() -> None:
    listed = [anomalies.Anomaly("constant_image", "test", "1"), anomalies.Anomaly("skew", "test", "2")]
    assert anomalies.stopping(listed) == listed[:1]
    assert anomalies.stopping(listed, ["constant_image"]) == []
