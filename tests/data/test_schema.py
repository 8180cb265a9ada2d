"""`features.json` as TFDS itself would write it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radkit import config
from radkit.data import convert, schema
from radkit.errors import UserError


def tfds_feature(field: schema.Field) -> Any:
    import tensorflow_datasets as tfds

    doc = f"{field.what} [{field.unit}]" if field.unit else field.what
    if field.kind == "text":
        return tfds.features.Text(doc=doc)
    if field.kind == "class":
        return tfds.features.ClassLabel(num_classes=len(field.class_names), doc=doc)
    if field.kind == "texts":
        return tfds.features.Sequence(tfds.features.Text(), doc=doc)
    if field.kind == "classes":
        return tfds.features.Sequence(tfds.features.ClassLabel(num_classes=len(field.class_names)), doc=doc)
    encoding = tfds.features.Encoding.BYTES if field.kind == "array" else tfds.features.Encoding.NONE
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype), encoding=encoding, doc=doc)


LABELS: dict[str, dict[str, Any]] = {
    "": {},
    "class": {"class_names": ("no", "yes", "unsure")},
    "ordinal": {"class_names": ("none", "mild", "severe")},
    "multi_label": {"class_names": ("mass", "effusion")},
    "regression": {"label_unit": "mm"},
    "survival": {"label_unit": "days"},
}


@pytest.mark.parametrize("kind", ["volume", "radiograph"])
@pytest.mark.parametrize("mask_labels", [(), ("liver",)])
@pytest.mark.parametrize("label_kind", LABELS)
@pytest.mark.parametrize("image_dtype", ["int16", "float32"])
@pytest.mark.parametrize("box_labels", [(), ("nodule", "mass")])
@pytest.mark.filterwarnings("ignore")
def test_features_json_is_what_tfds_writes(
    kind: str,
    image_dtype: str,
    mask_labels: tuple[str, ...],
    label_kind: str,
    box_labels: tuple[str, ...],
    tmp_path: Path,
) -> None:
    import tensorflow_datasets as tfds

    record_fields = schema.fields(
        kind,
        image_dtype=image_dtype,
        mask_labels=mask_labels,
        label_kind=label_kind,
        **LABELS[label_kind],
        has_report=label_kind == "regression",
        box_labels=box_labels,
        keep_readers=bool(mask_labels),
    )
    features = tfds.features.FeaturesDict({field.name: tfds_feature(field) for field in record_fields})
    features.save_config(tmp_path)
    assert schema.features_json(record_fields) == json.loads((tmp_path / "features.json").read_text())


def test_fields_are_sorted_and_named_once() -> None:
    names = [
        field.name for field in schema.fields("volume", mask_labels=("a",), class_names=("b", "c"), label_kind="class")
    ]
    assert names == sorted(set(names))
    assert {"mask", "label"} <= set(names)


def test_a_radiograph_has_two_axes() -> None:
    of_name = {field.name: field for field in schema.fields("radiograph", mask_labels=("a",))}
    assert of_name["image"].shape == of_name["mask"].shape == (None, None, 1)
    assert of_name["spacing_mm"].shape == (2,)


def test_a_label_says_who_when_and_what_it_rests_on() -> None:
    names = {
        field.name for field in schema.fields("volume", box_labels=("a",), class_names=("b", "c"), label_kind="class")
    }
    for what in ("annotation", "label"):
        assert {f"{what}_reader", f"{what}_date", f"{what}_reference_standard"} <= names
    assert not any("reader" in field.name for field in schema.fields("volume"))


@pytest.mark.parametrize(("kind", "numbers"), [("volume", 6), ("radiograph", 4)])
def test_a_box_has_two_corners(kind: str, numbers: int) -> None:
    (boxes,) = (field for field in schema.fields(kind, box_labels=("a",)) if field.name == "boxes")
    assert boxes.shape == (None, numbers)
    assert boxes.unit == "voxels"


@pytest.mark.parametrize(("kind", "more"), LABELS.items())
def test_each_kind_of_label_has_its_fields(kind: str, more: dict[str, Any]) -> None:
    plain = {field.name for field in schema.fields("radiograph")}
    of_name = {field.name: field for field in schema.fields("radiograph", label_kind=kind, **more)}
    about = {"label_reader", "label_date", "label_reference_standard"}
    event = {"event"} if kind == "survival" else set()
    assert of_name.keys() - plain == ({"label", *about, *event} if kind else set())
    expected = {
        "class": ("class", "int64", (), ""),
        "ordinal": ("class", "int64", (), ""),
        "multi_label": ("flags", "int64", (2,), ""),
        "regression": ("numbers", "float32", (), "mm"),
        "survival": ("numbers", "float32", (), "days"),
    }
    if kind:
        label = of_name["label"]
        assert (label.kind, label.dtype, label.shape, label.unit) == expected[kind]
        assert label.class_names == more.get("class_names", ())


# Of a labelled volume with a mask and boxes, as radkit wrote them before November 2026.
FIELDS_OF_SCHEMA_3 = {
    "age_years", "annotation_date", "annotation_reader", "annotation_reference_standard", "body_part",
    "box_labels", "boxes", "direction", "field_strength_t", "findings",
    "image", "kernel", "label", "label_date", "label_reader",
    "label_reference_standard", "laterality", "lesion_ids", "manufacturer", "manufacturer_model",
    "mask", "modality", "origin_mm", "patient_id", "record_uid",
    "rescale_intercept", "rescale_slope", "series_uid", "sex", "slice_thickness_mm",
    "spacing_mm", "study_uid", "tube_voltage_kv", "view_position",
}  # fmt: skip


def test_records_of_schema_3_are_described_as_they_were() -> None:
    asked = {"mask_labels": ("a",), "box_labels": ("b",), "class_names": ("c", "d"), "label_kind": "class"}
    old = schema.fields("volume", version=3, **asked)
    assert {field.name for field in old} == FIELDS_OF_SCHEMA_3
    assert {field.name for field in schema.fields("volume", **asked)} == FIELDS_OF_SCHEMA_3 | {"site", "study_date"}
    data = config.Data("old", label="ill", class_names=("c", "d"), mask_labels=("a",), box_labels=("b",))
    assert convert.fields_of(data, 3) == old
    assert convert.fields_of(data) == convert.fields_of(data, schema.VERSION)


@pytest.mark.parametrize(("version", "said"), [(0, "unknown"), (1, "1"), (2, "2"), (5, "5"), (None, "unknown")])
def test_other_versions_are_refused_by_name(version: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"are of schema {said}, this radkit reads schema 3 and 4; convert again"):
        schema.fields("volume", version=version)


def test_schema_3_knew_classes_alone() -> None:
    with pytest.raises(UserError, match=r"schema 3 have no labels of kind 'survival'; convert"):
        schema.fields("volume", label_kind="survival", version=3)
    with pytest.raises(UserError, match=r"schema 3 have no reports; convert"):
        schema.fields("volume", has_report=True, version=3)


def test_every_field_is_told_to_people() -> None:
    class_names = ("a|b", "c")
    record_fields = schema.fields("volume", mask_labels=("liver",), class_names=class_names, label_kind="ordinal")
    page = schema.described(record_fields, "livers")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows] == [field.name for field in record_fields]
    (label,) = (line for line in rows if line.startswith("| `label` |"))
    assert label == "| `label` | int64 |  |  | class index, in order of degree; 0: a\\|b; 1: c |"
    (image,) = (line for line in rows if line.startswith("| `image` |"))
    assert image.startswith("| `image` | int16 | (any, any, any, 1) | stored |")
    assert all(field.what for field in record_fields)


def test_the_manual_lists_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    told = {
        name for line in page.splitlines() if line.startswith("| `") for name in line.split("|")[1].split("`")[1::2]
    }
    for kind, more in LABELS.items():
        record_fields = schema.fields(
            "volume", mask_labels=("a",), box_labels=("b",), keep_readers=True, has_report=True, label_kind=kind, **more
        )
        assert {field.name for field in record_fields} <= told
