"""Predict's messages as bytes, with the tensors' own bytes written and read where they lie: numpy and protobuf only.

Protobuf copies a tensor three times on its way into a request. Here all but the tensors' contents is built by protobuf,
and the request is joined once from views of the arrays; a reply's arrays are views of its bytes. The packed
lists in which TensorFlow Serving answers by default are read without a Python object a value, too.

>>> head = messages.PredictRequest(model_spec=messages.ModelSpec(name="m"))
>>> data = request(head, {"x": np.array([[1, 2]], np.int16)})
>>> messages.PredictRequest.FromString(data).inputs["x"].tensor_content
b'\\x01\\x00\\x02\\x00'

Source: https://protobuf.dev/programming-guides/encoding; tensorflow/core/framework/tensor.proto,
tensorflow_serving/apis/predict.proto (field numbers).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from serving import messages, protocol
from serving.protocol import ProtocolError

_INPUTS, _OUTPUTS = 2, 1  # fields of PredictRequest and PredictResponse
_KEY, _VALUE = 1, 2  # of a map's entry
_CONTENT = 4  # of TensorProto
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types; groups are not spoken here
_LONGEST = 10  # bytes of a varint
# Fields of one message that are looked at one by one; each costs a hundred times its two bytes while that is done.
MOST_FIELDS = 1 << 14


class _Many(ProtocolError):
    """A message of more fields than are looked at one by one."""


class _Field(NamedTuple):
    number: int
    kind: int
    whole: memoryview
    value: memoryview


def request(head: Any, inputs: Mapping[str, Any]) -> bytes:
    """Returns a PredictRequest's bytes.

    Args:
        head: All of the request but the inputs.
        inputs: Arrays, or what numpy takes for one, by name.

    Raises:
        ProtocolError: A type without a DataType, or 2 GiB and more.
    """
    return _joined(head, _INPUTS, inputs)


def response(head: Any, outputs: Mapping[str, Any]) -> bytes:
    """Returns a PredictResponse's bytes; see `request`."""
    return _joined(head, _OUTPUTS, outputs)


def _joined(head: Any, field: int, arrays: Mapping[str, Any]) -> bytes:
    parts: list[bytes | memoryview] = [head.SerializeToString()]
    for name, array in arrays.items():
        small, content = protocol.split(array)
        tensor = small.SerializeToString()
        if content.nbytes:
            tensor += _tag(_CONTENT, content.nbytes)
        key = name.encode()
        start = _tag(_KEY, len(key)) + key + _tag(_VALUE, len(tensor) + content.nbytes)
        parts += [_tag(field, len(start) + len(tensor) + content.nbytes), start, tensor, content]
    total = sum(map(len, parts))
    if total > protocol.MAX_BYTES:
        raise ProtocolError(f"a message of {total} bytes cannot be sent; one holds {protocol.MAX_BYTES}")
    return b"".join(parts)


def _tag(field: int, size: int) -> bytes:
    """Returns what stands before a field of so many bytes."""
    out = bytearray([field << 3 | _BYTES])
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def inputs_of(data: bytes, max_bytes: int = protocol.MAX_BYTES) -> tuple[dict[str, np.ndarray], Any]:
    """Returns a PredictRequest's inputs, and the message without them; see `outputs_of`."""
    return _parsed(data, _INPUTS, messages.PredictRequest, max_bytes)


def outputs_of(data: bytes, max_bytes: int = protocol.MAX_BYTES) -> tuple[dict[str, np.ndarray], Any]:
    """Returns a PredictResponse's outputs, and the message without them.

    Args:
        data: The message.
        max_bytes: What all arrays together may take.

    Returns:
        Arrays by name, read-only views of `data` where they came as bytes.

    Raises:
        ProtocolError: No such message, or a tensor that `protocol.to_array` refuses.
    """
    return _parsed(data, _OUTPUTS, messages.PredictResponse, max_bytes)


def _parsed(data: bytes, field: int, kind: Any, max_bytes: int) -> tuple[dict[str, np.ndarray], Any]:
    tensors, others = {}, []
    for found in _fields(memoryview(data)):
        if (found.number, found.kind) == (field, _BYTES):
            name, tensor = _entry(found.value)
            tensors[name] = tensor
        else:
            others.append(found.whole)
    arrays, left = {}, max_bytes
    for name, tensor in tensors.items():
        try:
            arrays[name] = protocol.to_array(tensor, left)
        except ProtocolError as error:
            raise ProtocolError(f"{name[:99]}: {error}") from error
        left -= arrays[name].nbytes
    return arrays, _message(kind, others)


def _message(kind: Any, parts: list[memoryview]) -> Any:
    try:
        return kind.FromString(b"".join(parts))
    except DecodeError as error:
        raise ProtocolError(f"a {kind.DESCRIPTOR.name} cannot be decoded") from error


def _entry(data: memoryview) -> tuple[str, "_Tensor"]:
    name = ""
    parts: list[memoryview] = []
    for found in _fields(data):
        if (found.number, found.kind) == (_KEY, _BYTES):
            try:
                name = bytes(found.value).decode()
            except UnicodeDecodeError as error:
                raise ProtocolError("a tensor's name is no UTF-8") from error
        elif (found.number, found.kind) == (_VALUE, _BYTES):
            parts.append(found.value)  # said twice, the two are merged
    return name, _Tensor(parts)


class _Tensor:
    """A TensorProto whose long fields stay in the message that they came in; read as one by `protocol.to_array`."""

    def __init__(self, parts: list[memoryview]) -> None:
        self._long: dict[str, Any] = {}
        try:
            fields = list(itertools.chain.from_iterable(map(_fields, parts)))
        except _Many:  # a string, or a number of a list that is not packed, is a field each: all of it is protobuf's
            self._small = _message(messages.TensorProto, parts)
            return
        times = Counter(found.number for found in fields)
        small = []
        for found in fields:
            if (found.number, found.kind) == (_CONTENT, _BYTES):
                self._long["tensor_content"] = found.value  # the last one counts
            elif found.number in _LISTS and found.kind == _BYTES and times[found.number] == 1:
                name, read = _LISTS[found.number]
                self._long[name] = read(found.value)
            else:
                small.append(found.whole)
        self._small = _message(messages.TensorProto, small)

    def __getattr__(self, name: str) -> Any:
        return self._long[name] if name in self._long else getattr(self._small, name)


def _numbers(dtype: str) -> Callable[[memoryview], np.ndarray]:
    def read(data: memoryview) -> np.ndarray:
        if len(data) % np.dtype(dtype).itemsize:
            raise ProtocolError("a packed list of a tensor ends within a value")
        return np.frombuffer(data, dtype)

    return read


def _varints(*steps: str) -> Callable[[memoryview], np.ndarray]:
    def read(data: memoryview) -> np.ndarray:
        octets = np.frombuffer(data, np.uint8)
        if not (octets & 0x80).any():
            return octets  # the usual case, of masks and small numbers: a byte a value
        values = _long_varints(octets)
        for number, step in enumerate(steps):
            values = values.view(step) if number else values.astype(step)
        return values

    return read


def _long_varints(octets: np.ndarray) -> np.ndarray:
    """Returns the values of varints that stand one behind the other, uint64."""
    ends = np.flatnonzero(octets < 0x80)
    if not ends.size or ends[-1] != len(octets) - 1:
        raise ProtocolError("a packed list of a tensor ends within a value")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise ProtocolError(f"a packed list of a tensor has a value of {lengths.max()} bytes")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        there = lengths > place
        values[there] |= (octets[starts[there] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values


def _bools(data: memoryview) -> np.ndarray:
    return _varints("u8")(data) != 0


# TensorProto's lists by number. Protobuf keeps the lower half of what is too long for 32 bits.
_LISTS: dict[int, tuple[str, Callable[[memoryview], np.ndarray]]] = {
    5: ("float_val", _numbers("<f4")), 6: ("double_val", _numbers("<f8")), 9: ("scomplex_val", _numbers("<f4")),
    12: ("dcomplex_val", _numbers("<f8")), 7: ("int_val", _varints("u4", "i4")), 13: ("half_val", _varints("u4", "i4")),
    10: ("int64_val", _varints("u8", "i8")), 11: ("bool_val", _bools), 16: ("uint32_val", _varints("u4")),
    17: ("uint64_val", _varints("u8")),
}  # fmt: skip


def _fields(data: memoryview) -> Iterator[_Field]:
    at, end, number = 0, len(data), 0
    while at < end:
        number += 1
        if number > MOST_FIELDS:
            raise _Many(f"the message has more than {MOST_FIELDS} fields")
        start = at
        key, at = _varint(data, at)
        kind, size = key & 7, 0
        if kind == _VARINT:
            size = _varint(data, at)[1] - at
        elif kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        if not key >> 3 or kind not in (_VARINT, _BYTES, _EIGHT, _FOUR) or at + size > end:
            raise ProtocolError("the message is cut short or damaged")
        yield _Field(key >> 3, kind, data[start : at + size], data[at : at + size])
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, octet in enumerate(data[at : at + _LONGEST]):
        value |= (octet & 0x7F) << 7 * place
        if octet < 0x80:
            return value, at + place + 1
    raise ProtocolError("the message is cut short or damaged")
