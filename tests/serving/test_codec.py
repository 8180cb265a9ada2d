"""Predict's messages as bytes: what protobuf reads, and what it writes, in every form that a tensor may come in."""

import functools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving import codec, messages, protocol
from tests import work

HEAD = messages.PredictRequest(model_spec=messages.ModelSpec(name="m"), output_filter=["mask"])
DTYPES = ("float32", "float64", "int32", "uint8", "int16", "int8", "int64", "bool", "uint16", "float16", "uint32")
ANY = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)


@given(ANY, ANY)
def test_protobuf_reads_what_is_written_and_back(first: np.ndarray, second: np.ndarray) -> None:
    given_ = {"first": first, "second": second[..., ::-1] if second.ndim else second, "text": ["a", "é"]}
    data = codec.request(HEAD, given_)
    read = messages.PredictRequest.FromString(data)
    assert (read.model_spec.name, list(read.output_filter)) == ("m", ["mask"])
    found, head = codec.inputs_of(data)
    assert head == HEAD
    for name in ("first", "second"):
        by_protobuf = protocol.to_array(read.inputs[name]) if np.size(given_[name]) else np.asarray(given_[name])
        for array in (by_protobuf, found[name]):
            assert (array.dtype, array.shape) == (given_[name].dtype, given_[name].shape)
            np.testing.assert_array_equal(array, given_[name])
    assert found["text"].tolist() == [b"a", "é".encode()]


LISTS = {
    "float_val": (1, [1.5, -2.0, 3.0, float("inf")]), "double_val": (2, [1e300, -1.0, 0.0, 2.0]),
    "int_val": (3, [1, -1, 2**31 - 1, -(2**31)]), "int64_val": (9, [1, -1, 2**63 - 1, -(2**63)]),
    "bool_val": (10, [True, False, True, True]), "uint32_val": (22, [0, 127, 128, 2**32 - 1]),
    "uint64_val": (23, [0, 1, 300, 2**64 - 1]), "half_val": (19, [15360, 0, 1, 65535]),
}  # fmt: skip


@pytest.mark.parametrize("field", LISTS)
def test_lists_are_read_as_protobuf_reads_them(field: str) -> None:
    number, values = LISTS[field]
    for some in (values, values[:1], values[:2]):  # the last one is repeated
        tensor = messages.TensorProto(dtype=number)
        tensor.tensor_shape.dim.add(size=4)
        getattr(tensor, field).extend(some)
        data = messages.PredictResponse(outputs={"y": tensor}).SerializeToString()
        np.testing.assert_array_equal(codec.outputs_of(data)[0]["y"], protocol.to_array(tensor))


def test_a_mask_as_a_list_of_numbers_is_one_and_too_large_ones_are_none() -> None:
    tensor = messages.TensorProto(dtype=4, int_val=[0, 1, 200, 255])
    tensor.tensor_shape.dim.add(size=4)
    data = messages.PredictResponse(outputs={"mask": tensor}).SerializeToString()
    assert codec.outputs_of(data)[0]["mask"].tolist() == [0, 1, 200, 255]
    tensor.int_val[2] = 256
    data = messages.PredictResponse(outputs={"mask": tensor}).SerializeToString()
    with pytest.raises(protocol.ProtocolError, match="mask: int_val holds a value that is no uint8"):
        codec.outputs_of(data)


def test_what_is_said_twice_counts_as_protobuf_has_it() -> None:
    first = messages.PredictResponse(outputs={"y": protocol.to_tensor(np.float32([1, 2]))}).SerializeToString()
    second = messages.PredictResponse(outputs={"y": protocol.to_tensor(np.float32([3]))}).SerializeToString()
    assert codec.outputs_of(first + second)[0]["y"].tolist() == [3.0]
    tensor = messages.TensorProto(dtype=1, float_val=[1.0]).SerializeToString()
    shape = messages.TensorProto(float_val=[2.0])
    shape.tensor_shape.dim.add(size=2)
    both = tensor + shape.SerializeToString()
    entry = b"\x0a\x01y\x12" + bytes([len(both)]) + both
    assert codec.outputs_of(b"\x0a" + bytes([len(entry)]) + entry)[0]["y"].tolist() == [1.0, 2.0]


WHOLE = codec.response(
    messages.PredictResponse(model_spec=messages.ModelSpec(name="m")),
    {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "names": [["a", "b"]]},
)


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_messages_are_refused_or_read_as_protobuf_reads_them(at: int, new: bytes, gone: int) -> None:
    data = WHOLE[:at] + new + WHOLE[at + gone :]
    try:
        found = codec.outputs_of(data)[0]
    except protocol.ProtocolError:
        return
    read = messages.PredictResponse.FromString(data).outputs
    assert set(found) == set(read)
    for name, array in found.items():
        np.testing.assert_array_equal(array, protocol.to_array(read[name]))


def test_a_claim_of_memory_that_no_byte_pays_for_is_refused() -> None:
    tensor = messages.TensorProto(dtype=1, float_val=[1.0])
    tensor.tensor_shape.dim.add(size=1 << 20)
    data = messages.PredictRequest(inputs={"x": tensor}).SerializeToString()
    with pytest.raises(protocol.ProtocolError, match="at most 1000 are read"):
        codec.inputs_of(data, max_bytes=1000)


def _refused(data: bytes) -> None:
    with pytest.raises(protocol.ProtocolError, match="more than 16384 fields"):
        codec.inputs_of(data)


def test_a_message_of_countless_fields_is_not_read_to_its_end() -> None:
    for field in (b"\x38\x01", b"\x12\x06\x0a\x04name"):
        few, many = (work.calls(functools.partial(_refused, field * number)) for number in (20_000, 200_000))
        assert many <= few + 99


def test_a_tensor_of_countless_fields_is_read_by_protobuf() -> None:
    texts = [f"{number}".encode() for number in range(codec.MOST_FIELDS + 1)]
    assert codec.inputs_of(codec.request(HEAD, {"x": np.array(texts, object)}))[0]["x"].tolist() == texts
    tensor = messages.TensorProto(dtype=1)
    tensor.tensor_shape.dim.add(size=100_000)
    unpacked = tensor.SerializeToString() + b"\x2d\x00\x00\x80\x3f" * 100_000
    entry = b"\x0a\x01x" + codec._tag(2, len(unpacked)) + unpacked
    data = codec._tag(2, len(entry)) + entry
    assert (codec.inputs_of(data)[0]["x"] == 1).all()
    # No more of them are looked at one by one than in a message that is refused for them.
    assert work.calls(lambda: codec.inputs_of(data)) < 1.1 * work.calls(lambda: _refused(b"\x38\x01" * 100_000))


@pytest.mark.slow
def test_a_volume_of_134_mb_is_copied_once_to_be_built_and_not_to_be_parsed() -> None:
    volume = np.random.default_rng(0).normal(size=(1, 256, 256, 512, 1)).astype(np.float32)
    tracemalloc.start()
    try:
        data = codec.request(HEAD, {"image": volume})
        built = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        found = codec.inputs_of(data)[0]["image"]
        parsed = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(built, parsed) < volume.nbytes + 1e6
    assert found.base is not None
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, volume)
