from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving import messages, protocol

DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool", "complex64", "complex128",
)  # fmt: skip
# TensorFlow's Python writes tensor_content for these types only, and never for a lone value.
STOCK_CONTENT = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
ANY_ARRAY = st.sampled_from(DTYPES).flatmap(
    lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)


def stock(message: Any) -> Any:
    return tensor_pb2.TensorProto.FromString(message.SerializeToString())


def ours(message: Any) -> Any:
    return messages.TensorProto.FromString(message.SerializeToString())


def listed(array: np.ndarray) -> Any:
    """TensorFlow's own `*_val` form: make_tensor_proto writes lists for a single value only, so by the C++ op."""
    field = {"f2": "half_val", "f4": "float_val", "f8": "double_val", "i8": "int64_val", "b1": "bool_val",
             "u4": "uint32_val", "u8": "uint64_val", "c8": "scomplex_val", "c16": "dcomplex_val"}  # fmt: skip
    tensor = tf.make_tensor_proto(array)
    tensor.tensor_content = b""
    values = array.ravel()
    if array.dtype.kind == "c":
        values = values.view(f"f{array.dtype.itemsize // 2}")
    if array.dtype == np.float16:
        values = values.view(np.uint16)
    name = field.get(array.dtype.str[1:], "int_val")
    del getattr(tensor, name)[:]
    getattr(tensor, name).extend(values.tolist())
    return tensor


@settings(deadline=None, max_examples=150)
@given(ANY_ARRAY)
def test_bytes_equal_those_of_tensorflow_and_come_back(array: np.ndarray) -> None:
    tensor = protocol.to_tensor(array)
    back = protocol.to_array(tensor)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(tf.make_ndarray(stock(tensor)), array)
    if array.size > 1 and array.dtype.name in STOCK_CONTENT:
        expected = tf.make_tensor_proto(array).SerializeToString(deterministic=True)
        assert tensor.SerializeToString(deterministic=True) == expected


@settings(deadline=None, max_examples=150)
@given(ANY_ARRAY)
def test_lists_of_values_are_read(array: np.ndarray) -> None:
    back = protocol.to_array(ours(listed(array)))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("name", [*DTYPES, "bfloat16"])
def test_the_last_value_is_repeated_as_tensorflow_does(name: str) -> None:
    given = np.array([0, 1, 1, 1, 1, 1]).astype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    tensor = listed(given[:2]) if name != "bfloat16" else tensor_pb2.TensorProto(dtype=14, half_val=[0, 0x3F80])
    tensor.tensor_shape.CopyFrom(tf.TensorShape([2, 3]).as_proto())
    oracle = tf.io.parse_tensor(tensor.SerializeToString(), tf.as_dtype(name)).numpy()
    np.testing.assert_array_equal(protocol.to_array(ours(tensor)), oracle)
    np.testing.assert_array_equal(oracle, given.reshape(2, 3))


def test_bfloat16_goes_there_and_back() -> None:
    array = np.array([[1.5, -2.0], [np.inf, 0.0]], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(protocol.to_array(protocol.to_tensor(array)), array)
    np.testing.assert_array_equal(tf.make_ndarray(stock(protocol.to_tensor(array))), array)


@pytest.mark.parametrize("array", [np.array(["ä", "b"]), np.array([b"\xe4\x00", b""], object), "lone", b"tail\x00"])
def test_strings_are_those_of_tensorflow(array: Any) -> None:
    expected = np.array(tf.constant(array).numpy(), object)
    tensor = protocol.to_tensor(array)
    assert protocol.to_array(tensor).tolist() == expected.tolist()
    assert (
        np.array(tf.io.parse_tensor(tensor.SerializeToString(), tf.string).numpy(), object).tolist()
        == expected.tolist()
    )


def test_packed_strings_are_read() -> None:
    # tf.io.serialize_tensor writes string_val; the packing is that of TensorFlow's EncodeStringList.
    tensor = messages.TensorProto(dtype=7, tensor_content=b"\x02\x00\x81\x01" + b"ab" + b"c" * 129)
    tensor.tensor_shape.dim.add(size=3)
    oracle = tf.io.parse_tensor(tensor.SerializeToString(), tf.string).numpy()
    assert protocol.to_array(tensor).tolist() == oracle.tolist() == [b"ab", b"", b"c" * 129]


def test_big_endian_and_strided_arrays_are_sent_as_what_they_mean() -> None:
    array = np.arange(12, dtype=">i2").reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(protocol.to_array(protocol.to_tensor(array)), array)


def test_any_byte_but_zero_is_true() -> None:
    tensor = messages.TensorProto(dtype=10, tensor_content=b"\x00\x02\xff")
    tensor.tensor_shape.dim.add(size=3)
    assert protocol.to_array(tensor).view(np.uint8).tolist() == [0, 1, 1]


def claim(*shape: int, **fields: object) -> Any:
    tensor = messages.TensorProto(**{"dtype": 1, **fields})
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (claim(3, tensor_content=b"\0" * 11), "11 bytes of tensor_content .* takes 12"),
        (claim(0, tensor_content=b"\0"), "1 bytes of tensor_content"),
        (claim(2**40, float_val=[1.0]), "at most"),
        (claim(2**23, float_val=[1.0]), "lacks 8388607 values"),
        (claim(2**20, dtype=7, string_val=[b""]), "lacks 1048575 values"),
        (claim(2**26, dtype=7, string_val=[b""]), "at most"),
        (claim(1, dtype=7, string_val=[b"", b""]), "2 values; the shape holds 1"),
        (claim(2**62, 2**62, float_val=[1.0]), "at most"),
        (claim(0, 2**62, 2**62), "at most"),
        (claim(2**40, dtype=7, string_val=[b""]), "at most"),
        (claim(-1, float_val=[1.0]), "negative"),
        (claim(*[1] * 99, float_val=[1.0]), "99 dimensions"),
        (claim(2), "came without values"),
        (claim(2, float_val=[1, 2, 3]), "3 values; the shape holds 2"),
        (claim(1, dtype=4, int_val=[256]), "no uint8"),
        (claim(1, dtype=19, half_val=[-1]), "no float16"),
        (claim(2, dtype=8, scomplex_val=[1, 2, 3]), "pairs"),
        (claim(1, dtype=20), "DataType 20"),
        (claim(1, dtype=0, float_val=[1]), "DataType 0"),
        (claim(1, dtype=-7, float_val=[1]), "DataType -7"),
        (claim(2, dtype=7, tensor_content=b"\x05"), "cut short"),
        (claim(1, dtype=7, tensor_content=b"\x05ab"), "announced"),
        (claim(1, dtype=7, tensor_content=b"\xff" * 9), "cut short"),
    ],
)
def test_contradictions_are_refused_with_numbers(tensor: Any, words: str) -> None:
    with pytest.raises(protocol.ProtocolError, match=words):
        protocol.to_array(tensor)


def test_unknown_rank_and_the_callers_limit_are_refused() -> None:
    unknown = messages.TensorProto(dtype=1, float_val=[1.0])
    unknown.tensor_shape.unknown_rank = True
    with pytest.raises(protocol.ProtocolError, match="unknown rank"):
        protocol.to_array(unknown)
    with pytest.raises(protocol.ProtocolError, match="takes 400 bytes; at most 399"):
        protocol.to_array(claim(100, float_val=[1.0]), max_bytes=399)


@pytest.mark.parametrize("array", [np.array(["2020-01-01"], "M8[D]"), np.array([1, "a"], object), [object()]])
def test_types_without_a_datatype_are_not_sent(array: Any) -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.to_tensor(array)


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_give_an_array_or_a_protocol_error(data: bytes) -> None:
    try:
        tensor = messages.TensorProto.FromString(data)
        array = protocol.to_array(tensor, max_bytes=1 << 20)
    except (DecodeError, protocol.ProtocolError):
        return
    assert array.nbytes <= 1 << 20


@settings(deadline=None, max_examples=150)
@given(ANY_ARRAY, st.data())
def test_a_message_cut_short_never_gives_another_array_of_the_same_shape(
    array: np.ndarray, data: st.DataObject
) -> None:
    whole = protocol.to_tensor(array).SerializeToString(deterministic=True)
    cut = whole[: data.draw(st.integers(0, max(len(whole) - 1, 0)))]
    try:
        back = protocol.to_array(messages.TensorProto.FromString(cut))
    except (DecodeError, protocol.ProtocolError):
        return
    assert (
        back.shape != array.shape or back.size == 0 or np.array_equal(back, array, equal_nan=array.dtype.kind in "fc")
    )


def test_requests_and_replies_are_read_alike_by_the_stock_messages() -> None:
    request = messages.PredictRequest(output_filter=["a", "b"])
    request.model_spec.name, request.model_spec.version.value = "m", 7
    request.model_spec.signature_name = "s"
    request.inputs["x"].CopyFrom(protocol.to_tensor(np.arange(3)))
    theirs = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (theirs.model_spec.name, theirs.model_spec.version.value, theirs.model_spec.signature_name) == ("m", 7, "s")
    assert list(theirs.output_filter) == ["a", "b"]
    assert tf.make_ndarray(theirs.inputs["x"]).tolist() == [0, 1, 2]
    assert messages.PredictRequest.FromString(theirs.SerializeToString()) == request

    theirs = get_model_status_pb2.GetModelStatusResponse()
    theirs.model_version_status.add(version=3, state=30).status.error_message = "fine"
    back = messages.GetModelStatusResponse.FromString(theirs.SerializeToString())
    assert back.model_version_status[0].state == messages.AVAILABLE
    assert back.SerializeToString() == theirs.SerializeToString()

    theirs = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    theirs.model_spec.version_label = "stable"
    back = messages.GetModelMetadataRequest.FromString(theirs.SerializeToString())
    assert back.model_spec.version_label == "stable"
    assert back.SerializeToString() == theirs.SerializeToString()
