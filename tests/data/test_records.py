"""Bytes of records, with `tf.train.Example` as the oracle."""

import contextlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.data import records, schema
from radkit.errors import UserError

VOLUME = schema.fields("volume", mask_labels=("a", "b"), class_names=("no", "yes"), label_kind="class")
BOXED = schema.fields("radiograph", mask_labels=("a",), box_labels=("x", "y"), keep_readers=True)
RADIOGRAPH = schema.fields("radiograph")
SEVERAL = schema.fields("radiograph", class_names=("a", "b", "c"), label_kind="multi_label", has_report=True)
SURVIVAL = schema.fields("radiograph", label_kind="survival", label_unit="days")
MODALITY_VALUES = schema.fields("volume", image_dtype="float32")


def values_of(record_fields: tuple[schema.Field, ...], seed: int, sizes: tuple[int, ...], text: str) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for field in record_fields:
        shape = [1 if n == 1 else n or sizes[i % len(sizes)] for i, n in enumerate(field.shape)]
        if field.kind == "text":
            made[field.name] = text
        elif field.kind == "class":
            made[field.name] = seed % len(field.class_names)
        elif field.kind == "flags":
            made[field.name] = random.integers(-1, 2, len(field.class_names))
        elif field.kind == "texts":
            made[field.name] = [text, "", text[:1]][: seed % 4]
        elif field.kind == "classes":
            made[field.name] = list(random.integers(0, len(field.class_names), seed % 3))
        elif field.name == "boxes":
            made[field.name] = random.normal(size=(seed % 3, shape[1])).astype("float32")
        elif field.dtype in ("int16", "uint8"):
            info = np.iinfo(field.dtype)
            made[field.name] = random.integers(info.min, info.max, shape, field.dtype, endpoint=True)
        else:
            made[field.name] = random.normal(size=shape).astype(field.dtype)
    return made


def example(field: schema.Field, value: Any) -> dict[str, tf.train.Feature]:
    def in_bytes(content: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))

    if field.kind == "text":
        return {field.name: in_bytes(value.encode())}
    if field.kind == "texts":
        return {field.name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[one.encode() for one in value]))}
    if field.kind in ("class", "classes", "flags"):
        return {field.name: tf.train.Feature(int64_list=tf.train.Int64List(value=np.atleast_1d(value)))}
    if field.kind == "numbers":
        return {field.name: tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))}
    if None not in field.shape:
        return {field.name: in_bytes(value.tobytes())}
    shape = tf.train.Feature(int64_list=tf.train.Int64List(value=value.shape))
    return {f"{field.name}/shape": shape, f"{field.name}/value": in_bytes(value.tobytes())}


made_up = st.builds(
    lambda fields, seed, sizes, text: (fields, values_of(fields, seed, sizes, text)),
    st.sampled_from([VOLUME, RADIOGRAPH, MODALITY_VALUES, BOXED, SEVERAL, SURVIVAL]),
    st.integers(0, 1000),
    st.tuples(*[st.integers(1, 200)] * 2),
    st.text(st.characters(codec="utf-8"), max_size=300),
)


@given(made_up)
@settings(max_examples=40, deadline=None)
def test_the_bytes_are_a_tf_train_example(made: tuple[tuple[schema.Field, ...], dict[str, Any]]) -> None:
    record_fields, values = made
    expected = {key: f for field in record_fields for key, f in example(field, values[field.name]).items()}
    encoded = records.encode(values, record_fields)
    assert tf.train.Example.FromString(encoded) == tf.train.Example(features=tf.train.Features(feature=expected))


@given(made_up)
@settings(max_examples=40, deadline=None)
def test_decode_gives_back_what_was_encoded(made: tuple[tuple[schema.Field, ...], dict[str, Any]]) -> None:
    record_fields, values = made
    encoded = records.encode(values, record_fields)
    decoded = records.decode(encoded, record_fields)
    for field in record_fields:
        np.testing.assert_array_equal(decoded[field.name], values[field.name], strict=field.kind == "array")
    assert records.encode(decoded, record_fields) == encoded


def test_what_tensorflow_wrote_is_read() -> None:
    values = values_of(VOLUME, 3, (2, 300), "patient")
    features = {key: f for field in VOLUME for key, f in example(field, values[field.name]).items()}
    written = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    assert records.encode(records.decode(written, VOLUME), VOLUME) == records.encode(values, VOLUME)


def test_pixels_are_not_copied() -> None:
    values = values_of(VOLUME, 1, (20, 30), "x")
    parts = records.parts(values, VOLUME)
    assert b"".join(parts) == records.encode(values, VOLUME)
    for name in ("image", "mask"):
        assert any(np.shares_memory(part, values[name]) for part in parts if isinstance(part, np.ndarray))


def test_pixels_that_do_not_lie_in_order_are_put_in_order() -> None:
    values = values_of(VOLUME, 1, (2, 3), "x")
    turned = values["image"].transpose(2, 1, 0, 3)[::-1]
    straight = {**values, "image": turned.copy(order="C")}
    assert records.encode({**values, "image": turned}, VOLUME) == records.encode(straight, VOLUME)


def test_the_order_of_the_values_changes_no_byte() -> None:
    values = values_of(VOLUME, 1, (2, 3), "x")
    assert records.encode(dict(reversed(values.items())), VOLUME) == records.encode(values, VOLUME)


@pytest.mark.parametrize("cut", [1, 5, 40, 200, -1, -7])
def test_a_record_cut_short_is_refused(cut: int) -> None:
    encoded = records.encode(values_of(VOLUME, 1, (2, 3), "x"), VOLUME)
    with pytest.raises(UserError, match="not a record"):
        records.decode(encoded[:cut], VOLUME)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(UserError, match="not a record"):
        records.decode(garbage, VOLUME)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_record_is_read_or_refused_but_never_crashes(data: st.DataObject) -> None:
    encoded = bytearray(records.encode(values_of(VOLUME, 1, (2, 3), "x"), VOLUME))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UserError):
        records.decode(bytes(encoded), VOLUME)


def test_a_record_of_another_schema_is_refused() -> None:
    encoded = records.encode(values_of(RADIOGRAPH, 1, (2, 3), "x"), RADIOGRAPH)
    with pytest.raises(UserError, match="not a record"):
        records.decode(encoded, VOLUME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((2, 3, 1), np.int16)}, "'image' has shape"),
        ({"image": np.full((2, 3, 3, 1), 40000, np.uint16)}, "'image' is uint16; int16 was expected"),
        ({"image": np.full((2, 3, 3, 1), 0.5)}, "'image' is float64"),
        ({"spacing_mm": [1.0, 2.0]}, "'spacing_mm' has shape"),
        ({"label": 2}, "'label' is 2; 0 to 1"),
        ({"label": -1}, "'label' is -1"),
        ({"colour": 1}, "unknown fields \\['colour'\\]"),
    ],
)
def test_values_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        records.encode({**values_of(VOLUME, 1, (2, 3), "x"), **change}, VOLUME)


@pytest.mark.parametrize("flags", [[1, 0], [1, 0, 2], [1, 0, -2], [1, 0, -1, 0], []])
def test_flags_are_one_a_class_and_yes_no_or_unknown(flags: list[int]) -> None:
    with pytest.raises(UserError, match=r"'label' is .*; 1, 0 or -1 for each of \('a', 'b', 'c'\) was expected"):
        records.encode({**values_of(SEVERAL, 1, (2, 3), "x"), "label": flags}, SEVERAL)


def test_a_missing_field_is_refused() -> None:
    values = values_of(VOLUME, 1, (2, 3), "x")
    del values["sex"]
    with pytest.raises(UserError, match="lacks \\['sex'\\]"):
        records.encode(values, VOLUME)


@pytest.mark.parametrize("gib", [2.0, 40.0])
def test_a_size_is_refused_before_there_is_a_record(gib: float) -> None:
    with pytest.raises(UserError, match=f"the record has {gib:.1f} GiB"):
        records.check_size(int(gib * 2**30))
    records.check_size(2**31 - 2**20)


def test_a_record_that_tensorflow_could_not_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MOST_BYTES", 1000)
    with pytest.raises(UserError, match="2 GiB"):
        records.encode(values_of(VOLUME, 1, (20, 30), "x"), VOLUME)
