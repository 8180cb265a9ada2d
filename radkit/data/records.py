"""Records as bytes: `tf.train.Example` written and read without TensorFlow, the same bytes every time.

The wire format is small (protobuf messages Example > Features > map<string, Feature>), keys are sorted, and pixels
are not copied. Source: tensorflow/core/example/{example,feature}.proto; protobuf's encoding guide.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from radkit.data.schema import Field
from radkit.errors import UserError

_BYTES, _FLOATS, _INTS = 0x0A, 0x12, 0x1A  # tags of Feature's bytes_list, float_list, int64_list
_FIRST = 0x0A  # tag of field 1, length-delimited
_MOST_BYTES = 2**31 - 64  # protobuf's limit of a message, with room for the outermost head

Part = bytes | np.ndarray  # a piece of a record's bytes; arrays are (bytes,) uint8


def encode(values: Mapping[str, Any], record_fields: tuple[Field, ...]) -> bytes:
    """Returns one record's bytes; see `parts`."""
    return b"".join(parts(values, record_fields))  # type: ignore[arg-type]  # arrays are buffers


def parts(values: Mapping[str, Any], record_fields: tuple[Field, ...]) -> list[Part]:
    """Returns one record's bytes in pieces, one after the other; pixels are not copied.

    Args:
        values: Each field's value by name.
        record_fields: From `schema.fields`.

    Returns:
        Pieces whose `len` is their number of bytes: bytes, and (bytes,) uint8 views of the values' own arrays.

    Raises:
        UserError: A field is missing, unknown, or has another shape or kind of number than the schema says, or the
            record is larger than TensorFlow reads.
    """
    unknown = set(values) - {f.name for f in record_fields}
    missing = {f.name for f in record_fields} - set(values)
    if unknown or missing:
        raise UserError(f"a record lacks {sorted(missing)} and has the unknown fields {sorted(unknown)}")
    features: dict[str, list[Part]] = {}
    for field in record_fields:
        features.update(_encode_field(field, values[field.name]))
    entries: list[Part] = []
    for key, feature in sorted(features.items()):
        entries += _message(_FIRST, [*_message(_FIRST, [key.encode()]), *_message(0x12, feature)])
    check_size(_size(entries))
    return _message(_FIRST, entries)


def check_size(num_bytes: int) -> None:
    """Refuses a record larger than TensorFlow reads: with its pixels' size alone, before it is made.

    Raises:
        UserError: It would be.
    """
    if num_bytes > _MOST_BYTES:
        raise UserError(f"the record has {num_bytes / 2**30:.1f} GiB; TensorFlow reads records of less than 2 GiB")


def _encode_field(field: Field, value: Any) -> dict[str, list[Part]]:
    if field.kind == "text":
        return {field.name: _message(_BYTES, _message(_FIRST, [str(value).encode()]))}
    if field.kind == "texts":
        return {field.name: _message(_BYTES, [p for one in value for p in _message(_FIRST, [str(one).encode()])])}
    if field.kind in ("class", "classes"):
        return {field.name: _ints(_classes(field, [value] if field.kind == "class" else value))}
    if field.kind == "flags":
        return {field.name: _ints(_flags(field, value))}
    given = np.asarray(value)
    if field.kind == "array" and given.size and not np.can_cast(given.dtype, field.dtype):
        raise UserError(f"field {field.name!r} is {given.dtype}; {field.dtype} was expected, so that nothing is lost")
    array = np.asarray(given, np.dtype(field.dtype).newbyteorder("<"), order="C")
    if array.ndim != len(field.shape) or any(n not in (None, m) for n, m in zip(field.shape, array.shape)):
        raise UserError(f"field {field.name!r} has shape {array.shape}; {field.shape} was expected")
    content = _message(_FIRST, [array.reshape(-1).view(np.uint8)])
    if field.kind == "numbers":
        return {field.name: _message(_FLOATS, content)}
    pixels = _message(_BYTES, content)
    if not field.has_free_size:
        return {field.name: pixels}
    return {f"{field.name}/shape": _ints(array.shape), f"{field.name}/value": pixels}


def _classes(field: Field, values: Iterable[Any]) -> list[int]:
    found = [int(value) for value in values]
    for value in found:
        if not 0 <= value < len(field.class_names):
            raise UserError(f"field {field.name!r} is {value}; 0 to {len(field.class_names) - 1} were expected")
    return found


def _flags(field: Field, values: Iterable[Any]) -> list[int]:
    found = [int(value) for value in values]
    if len(found) != len(field.class_names) or not {-1, 0, 1}.issuperset(found):
        raise UserError(f"field {field.name!r} is {found}; 1, 0 or -1 for each of {field.class_names} was expected")
    return found


def _ints(values: Any) -> list[Part]:
    return _message(_INTS, _message(_FIRST, [b"".join(_varint(int(v)) for v in values)]))


def _message(tag: int, content: list[Part]) -> list[Part]:
    return [bytes([tag]) + _varint(_size(content)), *content]


def _size(content: list[Part]) -> int:
    return sum(map(len, content))


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= 0xFFFFFFFFFFFFFFFF  # of what is below 0, the two's complement (protobuf's int64)
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(record: bytes, record_fields: tuple[Field, ...]) -> dict[str, Any]:
    """Returns a record's values by field name; `encode` gives the same bytes back.

    Raises:
        UserError: The bytes are no record of these fields.
    """
    try:
        features = {key: _decode_feature(feature) for key, feature in _features(memoryview(record))}
        return {field.name: _decode_field(field, features) for field in record_fields}
    except (KeyError, IndexError, ValueError, TypeError, OverflowError) as error:
        raise UserError(f"the bytes are not a record of this schema ({error})") from error


def _decode_field(field: Field, features: Mapping[str, Any]) -> Any:
    if field.kind == "text":
        return bytes(_only(features[field.name])).decode()
    if field.kind == "class":
        return int(features[field.name][0])
    if field.kind in ("classes", "flags"):
        return np.array(features[field.name], np.int64)
    if field.kind == "texts":
        return [bytes(one).decode() for one in features[field.name]]
    if field.kind == "numbers":
        return np.frombuffer(features[field.name], "<f4").reshape([-1 if n is None else n for n in field.shape])
    dtype = np.dtype(field.dtype).newbyteorder("<")
    if not field.has_free_size:
        return np.frombuffer(_only(features[field.name]), dtype).reshape([n or 0 for n in field.shape])
    return np.frombuffer(_only(features[f"{field.name}/value"]), dtype).reshape(features[f"{field.name}/shape"])


def _only(values: list[memoryview]) -> memoryview:
    return values[0] if values else memoryview(b"")


def _features(record: memoryview) -> Iterator[tuple[str, memoryview]]:
    for _, features in _parts(record):
        for _, entry in _parts(features):
            parts = dict(_parts(entry))
            yield bytes(parts[_FIRST]).decode(), parts[0x12]


def _decode_feature(feature: memoryview) -> Any:
    for tag, content in _parts(feature):
        values = [value for _, value in _parts(content)]
        if tag == _BYTES:
            return values
        return _read_varints(_only(values)) if tag == _INTS else _only(values)
    return []


def _parts(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    place = 0
    while place < len(message):
        tag = message[place]
        length, place = _read_varint(message, place + 1)
        if place + length > len(message):
            raise ValueError("cut short")
        yield tag, message[place : place + length]
        place += length


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _read_varints(packed: memoryview) -> list[int]:
    values, place = [], 0
    while place < len(packed):
        value, place = _read_varint(packed, place)
        values.append(value - 2**64 if value >> 63 else value)
    return values
