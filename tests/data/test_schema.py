"""`features.json` as TFDS itself would write it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radkit.data import schema


def tfds_feature(field: schema.Field) -> Any:
    import tensorflow_datasets as tfds

    if field.kind == "text":
        return tfds.features.Text()
    if field.kind == "class":
        return tfds.features.ClassLabel(num_classes=len(field.class_names))
    if field.kind == "texts":
        return tfds.features.Sequence(tfds.features.Text())
    if field.kind == "classes":
        return tfds.features.Sequence(tfds.features.ClassLabel(num_classes=len(field.class_names)))
    encoding = tfds.features.Encoding.BYTES if field.kind == "array" else tfds.features.Encoding.NONE
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype), encoding=encoding)


@pytest.mark.parametrize("kind", ["volume", "radiograph"])
@pytest.mark.parametrize("mask_labels", [(), ("liver",)])
@pytest.mark.parametrize("class_names", [(), ("no", "yes", "unsure")])
@pytest.mark.parametrize("image_dtype", ["int16", "float32"])
@pytest.mark.parametrize("box_labels", [(), ("nodule", "mass")])
@pytest.mark.filterwarnings("ignore")
def test_features_json_is_what_tfds_writes(
    kind: str,
    image_dtype: str,
    mask_labels: tuple[str, ...],
    class_names: tuple[str, ...],
    box_labels: tuple[str, ...],
    tmp_path: Path,
) -> None:
    import tensorflow_datasets as tfds

    record_fields = schema.fields(
        kind,
        image_dtype=image_dtype,
        mask_labels=mask_labels,
        class_names=class_names,
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
