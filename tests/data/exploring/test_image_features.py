"""One record's description: plain JSON, right by numpy and scipy, and never stopped by an odd record."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from radkit import config
from radkit.data import schema
from radkit.data.exploring import image_features

VOLUME = config.Data(dataset="made", mask_labels=("core", "shell"))
RADIOGRAPH = config.Data(dataset="made", kind="radiograph", label="sick", class_names=("no", "yes"))


def record(image: np.ndarray, data: config.Data, **more: Any) -> dict[str, Any]:
    """A decoded record: (slices, rows, columns) or (rows, columns), with nothing else told."""
    slices = len(image) if image.ndim == 3 else 1
    fields = schema.fields(data.kind, mask_labels=data.mask_labels)
    return {
        **{field.name: "" for field in fields if field.kind == "text"},
        **{field.name: np.float32(np.nan) for field in fields if field.kind == "numbers" and not field.shape},
        "image": image[..., None],
        "rescale_slope": np.ones(slices, np.float32),
        "rescale_intercept": np.zeros(slices, np.float32),
        "spacing_mm": np.full(image.ndim, np.nan, np.float32),
        "record_uid": "1.2.3",
        "patient_id": "P1",
        **more,
    }


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.int16)


def test_a_description_is_json_and_finite():
    image, mask = noise(9, 30, 20), np.zeros((9, 30, 20), np.uint8)
    mask[2, 5:10, 5:9], mask[6, :3, :2] = 1, 2
    spacing = np.array([2, 0.5, 0.25], np.float32)
    told = record(image, VOLUME, mask=mask[..., None], spacing_mm=spacing, age_years=np.float32(61), site="North")
    found = json.loads(json.dumps(image_features.describe(told, VOLUME), allow_nan=False))
    assert found["size"] == [9, 30, 20]
    assert found["spacing_mm"] == [2, 0.5, 0.25]
    assert found["mask_voxels"] == {"core": 20, "shell": 6}
    assert (found["site"], found["age_years"], found["tube_voltage_kv"], found["label"]) == ("North", 61, None, None)
    assert len(found["features"]) >= 30


def test_first_order_features_are_numpys_and_scipys():
    image = noise(64, 64)
    found = image_features.describe(record(image, RADIOGRAPH), RADIOGRAPH)
    values = image.ravel().astype(float)
    expected = {
        "mean": values.mean(), "deviation": values.std(), "skewness": stats.skew(values),
        "kurtosis": stats.kurtosis(values, fisher=False), "percentile_1": np.percentile(values, 1),
        "percentile_50": np.median(values), "least_share": (values == values.min()).mean(),
        "most_share": (values == values.max()).mean(),
    }  # fmt: skip
    assert {name: found["features"][name] for name in expected} == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        found["quantiles"], np.quantile(values, np.linspace(0, 1, image_features.NUM_QUANTILES)), rtol=1e-5
    )


def test_values_are_modality_values_slice_by_slice():
    image = np.stack([np.full((8, 8), 10), np.full((8, 8), 10)]).astype(np.int16)
    slopes, intercepts = np.array([1, 2], np.float32), np.array([-5, 0], np.float32)
    told = record(image, VOLUME, rescale_slope=slopes, rescale_intercept=intercepts)
    found = image_features.describe({**told, "mask": np.zeros_like(image)[..., None]}, VOLUME)
    assert (found["quantiles"][0], found["quantiles"][-1]) == (5, 20)
    assert found["features"]["mean"] == 12.5


def test_texture_does_not_depend_on_units():
    image = noise(50, 40)
    plain = image_features.describe(record(image, RADIOGRAPH), RADIOGRAPH)["features"]
    scaled = record(image, RADIOGRAPH, rescale_slope=np.array([4], np.float32))
    other = image_features.describe(scaled, RADIOGRAPH)["features"]
    texture = [name for name in plain if name.startswith(("cooc", "pattern", "grad", "fine", "mirror"))]
    assert {name: other[name] for name in texture} == {name: plain[name] for name in texture}
    assert other["mean"] == pytest.approx(4 * plain["mean"], rel=1e-5)


def test_a_large_image_is_looked_at_in_all_columns():
    image = np.zeros((1024, 1024), np.int16)
    image[:, 512:] = 1000
    found = image_features.describe(record(image, RADIOGRAPH), RADIOGRAPH)
    assert found["features"]["mean"] == pytest.approx(500, abs=5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 6, 7), np.int16), np.zeros((1, 1, 1), np.int16), np.zeros((0, 4, 4), np.int16),
        np.full((3, 4, 5), np.nan, np.float32), np.full((2, 3, 70000), 7, np.int16),
    ],
)  # fmt: skip
def test_odd_images_are_described(image):
    told = record(image, VOLUME, mask=np.zeros((*image.shape, 1), np.uint8))
    found = json.loads(json.dumps(image_features.describe(told, VOLUME), allow_nan=False))
    assert found["quantiles"][0] == found["quantiles"][-1]
    assert np.isfinite(list(found["features"].values())).all()


def test_what_is_no_number_is_counted_and_left_out():
    image = np.arange(100, dtype=np.float32).reshape(10, 10)
    image[0, :4] = [np.nan, np.inf, -np.inf, np.nan]
    found = image_features.describe(record(image, RADIOGRAPH), RADIOGRAPH)
    assert found["not_finite"] == 0.04
    assert (found["quantiles"][0], found["quantiles"][-1]) == (4, 99)


def test_labels_of_every_kind_are_said_as_people_say_them():
    def of(label: Any, **data: Any) -> Any:
        settings = {"dataset": "made", "kind": "radiograph", "label": "x", **data}
        told = {"label": label, "event": 1} if data["label_kind"] == "survival" else {"label": label}
        return image_features.label_of(told, config.Data(**settings))

    names = ("a", "b", "c")
    assert of(2, label_kind="class", class_names=names) == "c"
    assert of(0, label_kind="ordinal", class_names=names) == "a"
    assert of(np.array([1, 0, -1]), label_kind="multi_label", class_names=names) == {"a": 1, "b": 0, "c": -1}
    assert of(np.float32(2.5), label_kind="regression") == 2.5
    assert of(np.float32(np.nan), label_kind="regression") is None
    assert of(np.float32(30), label_kind="survival") == {"time": 30, "event": True}
    assert image_features.label_of({}, VOLUME) is None


def decoded(thumbnail: dict[str, Any], name: str) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(thumbnail[name]), np.uint8)
    return flat.reshape(thumbnail["rows"], thumbnail["columns"])


def test_a_thumbnail_shows_the_slice_with_most_of_the_mask():
    image = np.zeros((5, 100, 60), np.int16)
    image[3, :50] = 1000
    mask = np.zeros((5, 100, 60), np.uint8)
    mask[3, 20:80, 10:50], mask[1, :2] = 2, 1
    spacing = np.array([1, 2, 1], np.float32)
    shown = image_features.thumbnail(record(image, VOLUME, mask=mask[..., None], spacing_mm=spacing), VOLUME)
    grey, drawn = decoded(shown, "image"), decoded(shown, "mask")
    assert grey.shape == (64, 38)
    assert shown["aspect"] == 2
    assert grey[:30].min() == 255
    assert grey[34:].max() == 0
    assert (drawn == 2).mean() == pytest.approx(60 * 40 / 6000, abs=0.02)


def test_a_thumbnail_uses_the_window_that_the_network_sees():
    data = config.Data(dataset="made", normalise="window", window=(0.0, 100.0))
    image = np.array([[[0, 50], [100, 400]]], np.int16)
    shown = image_features.thumbnail(record(image, data), data)
    assert decoded(shown, "image").tolist() == [[0, 128], [255, 255]]
    assert "mask" not in shown


def test_records_of_schema_3_are_described():
    told = record(noise(12, 10), RADIOGRAPH, label=1)
    del told["site"], told["study_date"]
    found = image_features.describe(told, RADIOGRAPH)
    assert found["label"] == "yes"
    assert "site" not in found
