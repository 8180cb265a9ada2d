"""Any sharding gives what numpy gives on all records together, for every kind of record and label."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from radkit import config
from radkit.data import records, schema, shards, statistics
from radkit.data.figures import accumulators, tallies
from radkit.errors import UserError

FIELDS = schema.fields("volume", mask_labels=("a",), class_names=("no", "yes"), label_kind="class")
SITES, SEXES = ("A", "B", ""), ("F", "M", "")
Record = dict[str, Any]


def record(seed: int, fields: tuple[schema.Field, ...] = FIELDS) -> Record:
    """Returns a record of any kind, with what its fields ask for."""
    random = np.random.default_rng(seed)
    by_name = {field.name: field for field in fields}
    rank = len(by_name["image"].shape) - 1
    shape = (*random.integers(1, 6, rank), 1)
    slices = shape[0] if rank == 3 else 1
    made: Record = {
        **{f.name: "" for f in fields if f.kind == "text"},
        **{f.name: np.nan for f in fields if f.kind == "numbers" and not f.shape},
        "image": random.integers(-3, 3, shape).astype(np.int16),
        "rescale_slope": random.uniform(0.5, 2, slices).astype(np.float32).round(1),
        "rescale_intercept": random.uniform(-1024, 0, slices).astype(np.float32),
        "spacing_mm": random.uniform(0.5, 5, rank).astype(np.float32),
        "origin_mm": np.zeros(3),
        "direction": np.eye(3),
        "patient_id": f"P{seed % 3}",
        "record_uid": f"1.2.{seed}",
        "sex": SEXES[seed % 3],
        "site": SITES[seed // 2 % 3],
        "age_years": np.float32(random.uniform(0, 100)),
        "study_date": f"2024010{seed % 9 + 1}",
    }
    if by_name["image"].dtype == "float32":
        made |= {"rescale_slope": np.ones(slices, np.float32), "rescale_intercept": np.zeros(slices, np.float32)}
        made["image"] = random.normal(0, 9, shape).astype(np.float32)
    if "mask" in by_name:
        made["mask"] = random.integers(0, 3, shape).astype(np.uint8)
    if "boxes" in by_name:
        low = random.uniform(0, 1, (seed % 3, rank))
        made["boxes"] = np.concatenate([low, low + random.uniform(0.1, 1, low.shape)], 1).astype(np.float32)
        made["box_labels"] = random.integers(0, 2, seed % 3)
        made["lesion_ids"] = [""] * (seed % 3)
    return made | label(by_name, random)


def label(by_name: dict[str, schema.Field], random: np.random.Generator) -> Record:
    if "label" not in by_name:
        return {}
    kind, names = by_name["label"].kind, by_name["label"].class_names
    event = {"event": int(random.integers(0, 2))} if "event" in by_name else {}
    values = {"class": 0, "flags": random.integers(-1, 2, len(names)), "numbers": np.float32(random.uniform(0, 50))}
    return {"label": int(random.integers(0, len(names))) if kind == "class" else values[kind], **event}


def write(folder: Path, made: list[Record], name: str, fields: tuple[schema.Field, ...] = FIELDS) -> Path:
    path = folder / name
    shards.write_shard(path, [records.encode(one, fields) for one in made])
    return path


def measured(
    folder: Path, made: list[Record], shard_of: list[int], fields: tuple[schema.Field, ...] = FIELDS
) -> statistics.Part:
    """Returns the sum of all shards' parts, each of them through JSON."""
    paths = [
        write(folder, [m for m, shard in zip(made, shard_of) if shard == n], f"{n}.tfrecord", fields) for n in range(4)
    ]
    parts = [("train", json.loads(json.dumps(statistics.of_shard(path, fields)))) for path in paths]

    def look(asked: dict[str, statistics.Wanted], number: int) -> list[tuple[str, statistics.Part]]:
        again = [statistics.look_again(path, fields, asked["train"], number) for path in paths]
        return [("train", json.loads(json.dumps(part))) for part in again]

    return statistics.exact(parts, look)["train"]


def values_of(one: Record) -> np.ndarray:
    per_slice = [-1] + [1] * (one["image"].ndim - 1)
    slope, intercept = (
        np.asarray(one[k], np.float64).reshape(per_slice) for k in ("rescale_slope", "rescale_intercept")
    )
    return one["image"] * slope + intercept


def check_intensity(found: Record, pooled: np.ndarray) -> None:
    assert found["voxels"] == pooled.size
    np.testing.assert_allclose([found["mean"], found["std"]], [pooled.mean(), pooled.std()], rtol=1e-12)
    assert (found["min"], found["max"]) == (pooled.min(), pooled.max())
    three = [found["percentile_00_5"], found["median"], found["percentile_99_5"]]
    assert three == [np.percentile(pooled, share) for share in (0.5, 50, 99.5)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statistics")


sharding = st.lists(st.integers(0, 3), min_size=8, max_size=8)
ALL_FIELDS = {
    "volume, class": FIELDS,
    "volume, float32, masks": schema.fields("volume", image_dtype="float32", mask_labels=("a", "b")),
    "volume, boxes, ordinal": schema.fields(
        "volume", box_labels=("a", "b"), class_names=("0", "1"), label_kind="ordinal"
    ),
    "radiograph, multi_label": schema.fields("radiograph", class_names=("a", "b", "c"), label_kind="multi_label"),
    "radiograph, regression": schema.fields("radiograph", label_kind="regression", label_unit="mm"),
    "radiograph, survival": schema.fields("radiograph", label_kind="survival", label_unit="days", has_report=True),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_FIELDS)
@given(sharding)
@settings(max_examples=12)
def test_any_sharding_gives_what_numpy_gives_on_all_data_together(folder: Path, name: str, shard_of: list[int]) -> None:
    fields = ALL_FIELDS[name]
    made = [record(seed, fields) for seed in range(8)]
    part = measured(folder, made, shard_of, fields)
    found = statistics.summary(part)
    assert (found["records"], found["patients"]) == (8, 3)
    check_intensity(found["intensity"], np.concatenate([values_of(one).ravel() for one in made]))
    spacing = np.array([one["spacing_mm"] for one in made], np.float64)
    assert [axis["median"] for axis in found["spacing_mm"]] == np.median(spacing, axis=0).tolist()
    sizes = np.array([one["image"].shape[:-1] for one in made])
    assert [(axis["min"], axis["max"]) for axis in found["size"]] == list(zip(sizes.min(0), sizes.max(0)))
    assert found["sex"] == Counter(one["sex"] or "unknown" for one in made)
    ages = np.array([one["age_years"] for one in made], np.float64)
    np.testing.assert_allclose(found["numbers"]["age_years"]["mean"], ages.mean(), rtol=1e-12)
    assert found["numbers"]["age_years"]["median"] == np.median(ages)
    for site in SITES:
        of_site = [one for one in made if one["site"] == site]
        group = found["subgroups"]["site"][site or "unknown"]
        assert (group["records"], group["patients"]) == (len(of_site), len({one["patient_id"] for one in of_site}))
        pooled = np.concatenate([values_of(one).ravel() for one in of_site])
        np.testing.assert_allclose(group["intensity"]["std"], pooled.std(), rtol=1e-12)


@given(sharding)
@settings(max_examples=12)
def test_the_bytes_do_not_depend_on_the_sharding(folder: Path, shard_of: list[int]) -> None:
    made = [record(seed) for seed in range(8)]
    data = config.Data("d", mask_labels=("a", "b"))
    texts = set()
    for dealt in (shard_of, [0] * 8):
        part = measured(folder, made, dealt)
        texts.add(json.dumps(statistics.report({split: part for split in shards.SPLITS}, data), sort_keys=True))
    assert len(texts) == 1


@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_percentiles_stay_exact_where_more_numbers_differ_than_are_held(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulators, "MOST", 30)
    fields = schema.fields("volume", image_dtype=kind, mask_labels=("a", "b"))
    made = [record(seed, fields) for seed in range(12)]
    part = measured(folder, made, [0, 1, 2, 3] * 3, fields)
    assert not statistics.wanted(part)
    found = statistics.summary(part)
    pooled = np.concatenate([values_of(one).ravel() for one in made])
    drawn = np.concatenate([one["mask"].ravel() for one in made])
    check_intensity(found["intensity"], pooled)
    check_intensity(found["foreground"], pooled[drawn > 0])
    for value in (1, 2):
        check_intensity(found["mask"][str(value)]["intensity"], pooled[drawn == value])


def test_masks_are_measured_label_by_label(folder: Path) -> None:
    fields = schema.fields("volume", mask_labels=("a", "b", "c"))
    made = [record(seed, fields) for seed in range(6)]
    part = measured(folder, made, [0] * 6, fields)
    found = statistics.summary(part, config.Data("d", mask_labels=("a", "b", "c")))
    assert list(found["mask"]) == ["a", "b", "c"]
    assert found["mask"]["c"] == {"records": 0, "voxels": 0, "intensity": {}}
    ml = [float((one["mask"] == 1).sum() * np.prod(one["spacing_mm"].astype(np.float64)) / 1000) for one in made]
    ml = [volume for volume in ml if volume]
    np.testing.assert_allclose(found["mask"]["a"]["ml"]["mean"], np.mean(ml), rtol=1e-12)
    assert found["mask"]["a"]["records"] == len(ml)
    assert sum(found["mask_voxels"].values()) == sum(one["mask"].size for one in made)


def test_classes_are_counted_by_name_and_by_number(folder: Path) -> None:
    made = [record(seed) for seed in range(9)]
    part = measured(folder, made, [0] * 9)
    found = statistics.summary(part)
    counts = Counter(one["label"] for one in made)
    assert found["labels"] == {str(n): count for n, count in counts.items()}
    assert found["label"]["counts"] == {"no": counts[0], "yes": counts[1]}
    expected = {
        "no": {o["patient_id"] for o in made if not o["label"]},
        "yes": {o["patient_id"] for o in made if o["label"]},
    }
    assert found["label"]["patients"] == {name: len(patients) for name, patients in expected.items()}
    by_sex = {sex or "unknown": Counter(one["label"] for one in made if one["sex"] == sex) for sex in SEXES}
    for sex, of_sex in by_sex.items():
        assert found["subgroups"]["sex"][sex]["label"]["counts"] == {"no": of_sex[0], "yes": of_sex[1]}


def test_flags_are_counted_with_those_that_are_unknown(folder: Path) -> None:
    fields = ALL_FIELDS["radiograph, multi_label"]
    made = [record(seed, fields) for seed in range(9)]
    part = measured(folder, made, [0] * 9, fields)
    found = statistics.summary(part)
    flags = np.array([one["label"] for one in made])
    for n, name in enumerate(("a", "b", "c")):
        yes, no, unknown = ((flags[:, n] == flag).sum() for flag in (1, 0, -1))
        assert found["label"]["counts"][name] == {"yes": yes, "no": no, "unknown": unknown}


def test_measurements_and_times_have_their_own_figures(folder: Path) -> None:
    for name in ("radiograph, regression", "radiograph, survival"):
        fields = ALL_FIELDS[name]
        made = [record(seed, fields) for seed in range(9)]
        part = measured(folder, made, [0, 1, 2] * 3, fields)
        found = statistics.summary(part)["label"]
        values = np.array([one["label"] for one in made], np.float64)
        told = found if name.endswith("regression") else found["time"]
        np.testing.assert_allclose([told["mean"], told["std"]], [values.mean(), values.std()], rtol=1e-12)
        assert [told[f"percentile_{q}_0"] for q in (25, 75)] == np.percentile(values, (25, 75)).tolist()
        if "survival" in name:
            seen = [one["label"] for one in made if one["event"]]
            assert (found["events"], found["censored"], found["unit"]) == (len(seen), 9 - len(seen), "days")
            assert found["time_of_events"]["median"] == np.median(np.array(seen, np.float64))


def test_boxes_are_measured_in_mm_by_class(folder: Path) -> None:
    fields = ALL_FIELDS["volume, boxes, ordinal"]
    made = [record(seed, fields) for seed in range(9)]
    part = measured(folder, made, [0] * 9, fields)
    found = statistics.summary(part)["boxes"]
    assert found["in_records"]["mean"] == 1.0
    for label_index, name in enumerate(("a", "b")):
        sides = [
            (box[3:].astype(np.float64) - box[:3]) * one["spacing_mm"].astype(np.float64)
            for one in made
            for box, of in zip(one["boxes"], one["box_labels"])
            if of == label_index
        ]
        assert found["by_class"][name]["boxes"] == len(sides)
        means = [axis["mean"] for axis in found["by_class"][name]["size_mm"]]
        np.testing.assert_allclose(means, np.mean(sides, axis=0), rtol=1e-12)


def test_the_fingerprint_is_of_what_is_drawn_and_of_what_is_not_zero(folder: Path) -> None:
    fields = schema.fields("volume", mask_labels=("a",))
    made = []
    for seed, (spacing, size) in enumerate([((5.0, 1, 1), 20), ((5.0, 1, 1), 20), ((4.0, 1, 1), 30)]):
        one = record(seed, fields)
        image = np.zeros((9, 40, 50, 1), np.int16)
        image[2:6, 5 : 5 + size, 10:40] = 7
        slices = {"rescale_slope": np.ones(9, np.float32), "rescale_intercept": np.zeros(9, np.float32)}
        mask = np.zeros(image.shape, np.uint8)
        mask[3, 6:9, 12:14] = 1
        made.append({**one, **slices, "image": image, "mask": mask, "spacing_mm": np.array(spacing, np.float32)})
    part = measured(folder, made, [0, 1, 2], fields)
    found = statistics.report(
        {"train": part, "validation": statistics.merge([]), "test": statistics.merge([])}, config.Data("d")
    )
    fingerprint = found["fingerprint"]
    assert fingerprint["foreground"] == "mask"
    assert fingerprint["foreground_intensity"]["voxels"] == 18
    assert fingerprint["median_size"] == [4, 20, 30]
    assert fingerprint["median_relative_content_size"] == 4 * 20 * 30 / (9 * 40 * 50)
    assert fingerprint["median_spacing_mm"] == [5, 1, 1]
    # The slices' axis is more than three times coarser and shorter: its 10th percentile, here 4.2, is aimed at.
    np.testing.assert_allclose(fingerprint["target_spacing_mm"], [4.2, 1, 1])
    assert fingerprint["median_size_at_target_spacing"] == [round(4 * 5 / 4.2), 20, 30]


def test_content_is_where_modality_values_are_not_zero() -> None:
    stored = np.full((2, 5, 6, 1), -10, np.int16)  # 0 by the first slice's intercept, not by the second's
    stored[0, 1:3, 2:5] = 4
    one = {
        "image": stored,
        "rescale_slope": np.ones(2, np.float32),
        "rescale_intercept": np.array([10, 10], np.float32),
    }
    assert tallies.content_size(one) == [1, 2, 3]
    assert tallies.content_size({**one, "rescale_intercept": np.array([10, 9.5], np.float32)}) == [2, 5, 6]
    assert tallies.content_size({**one, "image": np.full((2, 5, 6, 1), -10, np.int16)}) == [2, 5, 6]


def test_unknown_spacing_is_none_not_nan(folder: Path) -> None:
    unknown = {**record(1), "spacing_mm": np.array([np.nan, 1, 2], np.float32)}
    found = statistics.summary(statistics.of_shard(write(folder, [unknown], "unknown.tfrecord"), FIELDS))
    assert found["spacing_mm"][0] == {"min": None, "median": None, "max": None}
    assert found["faults"]["spacing_unknown"] == {"count": 1, "records": ["1.2.1"]}
    assert "NaN" not in json.dumps(found)


def test_what_is_no_number_is_counted_apart(folder: Path) -> None:
    fields = schema.fields("volume", image_dtype="float32")
    one = {**record(1, fields), "image": np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)}
    one["image"][0, 0, :, 0] = np.nan, np.inf
    one |= {"rescale_slope": np.ones(2, np.float32), "rescale_intercept": np.zeros(2, np.float32)}
    part = statistics.of_shard(write(folder, [one], "nan.tfrecord", fields), fields)
    found = statistics.summary(statistics.merge([part]))
    assert found["intensity"]["not_finite"] == 2
    check_intensity(found["intensity"], np.arange(2.0, 8))
    assert found["faults"] == {"not_finite": {"count": 1, "records": ["1.2.1"]}}


def test_a_constant_image_is_a_fault(folder: Path) -> None:
    one = {**record(1), "image": np.full(record(1)["image"].shape, 5, np.int16)}
    one |= {
        "rescale_slope": np.ones_like(one["rescale_slope"]),
        "rescale_intercept": np.zeros_like(one["rescale_slope"]),
    }
    part = statistics.of_shard(write(folder, [one, record(2)], "constant.tfrecord"), FIELDS)
    assert part["faults"] == {"constant_image": ["1.2.1"]}


def test_an_image_without_a_voxel_and_an_unnamed_mask_value_are_faults(folder: Path) -> None:
    one = record(1)
    empty = {**one, "image": np.zeros((1, 0, 3, 1), np.int16), "mask": np.zeros((1, 0, 3, 1), np.uint8)}
    empty |= {"rescale_slope": np.ones(1, np.float32), "rescale_intercept": np.zeros(1, np.float32)}
    unnamed = {**record(2), "mask": np.full(record(2)["image"].shape, 2, np.uint8)}
    path = write(folder, [empty, unnamed], "faults.tfrecord")
    part = statistics.of_shard(path, FIELDS, num_masks=1)
    assert part["faults"] == {"image_empty": ["1.2.1"], "mask_value_unnamed": ["1.2.2"]}
    assert statistics.summary(part)["records"] == 2


def test_records_of_an_older_schema_are_measured(folder: Path) -> None:
    older = tuple(field for field in FIELDS if field.name not in ("site", "study_date"))
    made = [{k: v for k, v in record(seed).items() if k not in ("site", "study_date")} for seed in range(3)]
    found = statistics.summary(statistics.of_shard(write(folder, made, "older.tfrecord", older), older))
    assert list(found["subgroups"]["site"]) == ["unknown"]
    assert "study_dates" not in found


def test_an_empty_split_counts_nothing(folder: Path) -> None:
    part = statistics.of_shard(write(folder, [], "empty.tfrecord"), FIELDS)
    assert statistics.summary(statistics.merge([part])) == {"records": 0, "patients": 0}
    nothing = statistics.merge([])
    found = statistics.report({split: nothing for split in shards.SPLITS}, config.Data("d"))
    assert (found["fingerprint"], found["class_weights"]) == ({}, {})


def test_a_damaged_shard_is_named(folder: Path) -> None:
    path = write(folder, [record(1), record(2)], "damaged.tfrecord")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"damaged\.tfrecord is damaged or cut short"):
        statistics.of_shard(path, FIELDS)


def test_patients_in_several_splits_are_named(folder: Path) -> None:
    parts = {
        split: statistics.of_shard(write(folder, [record(seed) for seed in seeds], "s.tfrecord"), FIELDS)
        for split, seeds in {"train": (0, 3), "validation": (1,), "test": (3, 4)}.items()
    }
    assert statistics.shared_patients(parts) == ["P0", "P1"]


@given(st.lists(st.integers(1, 500), min_size=2, max_size=6))
def test_class_weights_are_scikit_learn_s_balanced(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    found = statistics.class_weights({str(n): count for n, count in enumerate(counts)})
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-12)
    np.testing.assert_allclose(sum(found[str(n)] for n in labels), len(labels))


def test_a_class_without_examples_weighs_nothing() -> None:
    assert statistics.class_weights({"a": 3, "b": 0}) == {"a": 1.0, "b": 0.0}
    with pytest.raises(UserError, match="class weights need"):
        statistics.class_weights({"a": 0})


def test_bands_of_age_have_no_gap() -> None:
    ages = np.arange(0, 120, 0.5)
    bands = [tallies.age_band(float(age)) for age in ages]
    assert list(dict.fromkeys(bands)) == ["under 18", "18 to 39", "40 to 64", "65 to 79", "80 and over"]
