"""Tensors as JSON and back, as TensorFlow Serving's REST API writes them.

>>> spec = signatures.Spec("float32", (None, 2))
>>> inputs, by_row = arrays({"instances": [[1, 2], [3, 4]]}, {"x": spec})
>>> inputs["x"].tolist(), by_row
([[1.0, 2.0], [3.0, 4.0]], True)

Source: TensorFlow Serving, g3doc/api_rest.md.
"""

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving import messages, protocol, refusals, signatures

# Outputs so named hold bytes, no text.
BINARY = "_bytes"


def arrays(body: Mapping[str, Any], specs: Mapping[str, signatures.Spec]) -> tuple[dict[str, np.ndarray], bool]:
    """Returns a predict request's inputs, and whether they came by row (`instances`) rather than by column (`inputs`).

    Raises:
        Refusal: Neither or both, or values that the signature does not take.
    """
    by_row = "instances" in body
    if by_row == ("inputs" in body):
        refusals.invalid("Missing 'inputs' or 'instances' key: a request has one of them, not both")
    columns = _columns(body["instances"], specs) if by_row else _named(body["inputs"], specs)
    return {name: _array(name[:99], value, specs.get(name)) for name, value in columns.items()}, by_row


def _columns(rows: Any, specs: Mapping[str, signatures.Spec]) -> dict[str, Any]:
    if not isinstance(rows, list) or not rows:
        refusals.invalid("'instances' must be a list that is not empty")
    if not isinstance(rows[0], dict) or set(rows[0]) == {"b64"}:
        return _named(rows, specs)
    keys = set(rows[0])
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != keys:
            refusals.invalid(f"instance {number} has not the same inputs as instance 0; all need the same names")
    return {key: [row[key] for row in rows] for key in rows[0]}


def _named(value: Any, specs: Mapping[str, signatures.Spec]) -> dict[str, Any]:
    if isinstance(value, dict) and set(value) != {"b64"}:
        return value
    if len(specs) != 1:
        refusals.invalid(f"the signature takes {len(specs)} inputs; name them: {', '.join(sorted(specs))}")
    return {next(iter(specs)): value}


def _array(name: str, value: Any, spec: signatures.Spec | None) -> np.ndarray:
    if spec is None:
        return np.zeros(0)  # an unknown name: the signature's own check tells it, with those that there are
    shape, flat = _flat(name, value)
    if spec.dtype == "string":
        texts = np.empty(len(flat), object)
        texts[:] = [_text(name, one) for one in flat]
        return texts.reshape(shape)
    # Not numpy's own look at the lists: a long text among them would take its length for each of the others.
    if not set(map(type, flat)) <= _types(spec.dtype):
        refusals.invalid(f"input {name} holds what is no {spec.dtype}; {spec} was expected")
    dtype = _dtype(spec.dtype)
    if dtype.kind in "iu" and flat and not _within(flat, dtype):
        refusals.invalid(f"input {name} holds a number that is no {spec.dtype}")
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, dtype if dtype.kind in "biu" else np.float64).astype(dtype, copy=False).reshape(shape)
    except OverflowError:
        refusals.invalid(f"input {name} holds a number that is no {spec.dtype}")


def _flat(name: str, value: Any) -> tuple[list[int], list[Any]]:
    """Returns the sizes of lists of lists, and what is in the innermost ones, one behind the other."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        shape.append(len(level[0]))
        if len(shape) > protocol.MAX_RANK:
            refusals.invalid(f"input {name}: lists in lists in lists; a tensor has at most {protocol.MAX_RANK} axes")
        if any(not isinstance(one, list) or len(one) != shape[-1] for one in level):
            refusals.invalid(f"input {name}: the lists are not of equal length; a tensor has no ragged edge")
        level = list(itertools.chain.from_iterable(level))
    if any(isinstance(one, list) for one in level):
        refusals.invalid(f"input {name}: the lists are not of equal depth; a tensor has no ragged edge")
    return shape, level


def _types(dtype: str) -> set[type]:
    if dtype == "bool":
        return {bool}
    if "float" in dtype:
        return {int, float}
    if "int" in dtype:
        return {int}
    refusals.unfit(f"{dtype} cannot be told as JSON; use gRPC")


def _dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _within(found: list[int], dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return min(found) >= int(limits.min) and max(found) <= int(limits.max)


def _text(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            refusals.invalid(f"input {name}: b64 holds what is no base64")
    refusals.invalid(f'input {name} takes texts, or bytes as {{"b64": ...}}, not {type(value).__name__}')


def answer(outputs: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """Returns the body of a predict reply.

    Raises:
        Refusal: By row, outputs that differ in their number of rows.
    """
    told = {name: _told(name, array) for name, array in outputs.items()}
    if not by_row:
        return {"outputs": told if len(told) != 1 else next(iter(told.values()))}
    counts = {array.shape[:1] for array in outputs.values()}
    if len(counts) != 1 or () in counts:
        refusals.invalid("the outputs have not one row an instance; ask by column, with 'inputs'")
    if len(told) == 1:
        return {"predictions": next(iter(told.values()))}
    return {"predictions": [dict(zip(told, row)) for row in zip(*told.values())]}


def _told(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        flat = np.empty(array.size, object)
        flat[:] = [_shown(name, one) for one in array.ravel().tolist()]
        return flat.reshape(array.shape).tolist()
    if array.dtype.kind == "c":
        refusals.unfit(f"output {name} is {array.dtype}, which cannot be told as JSON; use gRPC")
    plain = array.dtype.kind in "biuf"  # bfloat16 is none of numpy's own
    return (array if plain else array.astype(np.float32)).tolist()


def _shown(name: str, value: bytes) -> Any:
    try:
        if not name.endswith(BINARY):
            return value.decode()
    except UnicodeDecodeError:
        pass  # bytes, whatever the name says
    return {"b64": base64.b64encode(value).decode()}


def example(told: Any, into: Any) -> None:
    """Fills a tf.Example from `{"feature": value or list}`.

    Raises:
        Refusal: It is no object, a name is no text, a value is no number, truth value, text or bytes, or a list is
            mixed.
    """
    if not isinstance(told, dict):
        refusals.invalid("an example must be an object of features")
    for name, value in told.items():
        values = value if isinstance(value, list) else [value]
        try:
            feature = into.features.feature[name]
        except UnicodeEncodeError:
            refusals.invalid("a feature's name holds half a character; UTF-8 cannot say it")
        kinds = {type(one) for one in values}
        if kinds <= {int, bool} and values:
            _filled(name, feature.int64_list, [int(one) for one in values])
        elif kinds <= {int, float} and values:
            _filled(name, feature.float_list, values)
        else:
            feature.bytes_list.value.extend(_text(name[:99], one) for one in values)


def _filled(name: str, numbers: Any, values: list[Any]) -> None:
    try:
        numbers.value.extend(values)
    except (ValueError, OverflowError):
        refusals.invalid(f"feature {name[:99]!r} holds a number of more than 64 bits")


def examples(body: Mapping[str, Any]) -> Any:
    """Returns a classify or regress request's Input message.

    Raises:
        Refusal: There are no examples.
    """
    told = body.get("examples")
    if not isinstance(told, list) or not told:
        refusals.invalid("'examples' must be a list that is not empty")
    given = messages.ClassificationRequest().input
    kind = given.example_list_with_context if "context" in body else given.example_list
    for one in told:
        example(one, kind.examples.add())
    if "context" in body:
        example(body["context"], kind.context)
    return given
