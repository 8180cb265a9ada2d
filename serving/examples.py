"""Classify, Regress and MultiInference: tf.Example in, classes and numbers out, through a signature that takes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from serving import refusals, signatures

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
# The names of TensorFlow Serving first, then those that radkit's tasks answer by.
_CLASSES, _SCORES = ("classes", "class_names"), ("scores", "probabilities")
_VALUES = ("outputs", "values")
_LIKELY = {
    CLASSIFY: (signatures.CLASSIFY, signatures.DEFAULT, signatures.EXAMPLES),
    REGRESS: (signatures.REGRESS, signatures.DEFAULT, signatures.EXAMPLES),
}

# What all examples together may take, bytes, with what they share in each of them.
_MOST_BYTES = 1 << 28

Answer = Callable[[str, Mapping[str, np.ndarray]], dict[str, np.ndarray]]
Known = Mapping[str, signatures.Signature]


def serialized(given: Any) -> np.ndarray:
    """Returns the examples of an Input message as bytes, (examples,) objects; what they share is part of each.

    Raises:
        Refusal: There is none.
    """
    kind = given.WhichOneof("kind")
    examples = getattr(given, kind).examples if kind else []
    if not examples:
        refusals.invalid("Input is empty: example_list.examples holds no tf.Example")
    shared = b""
    if kind == "example_list_with_context":
        _check_apart(given.example_list_with_context)
        # Two messages, one behind the other, are read as one in which their features are merged.
        shared = given.example_list_with_context.context.SerializeToString()
        if len(shared) * len(examples) > _MOST_BYTES:
            refusals.invalid(
                f"a context of {len(shared)} bytes for {len(examples)} examples takes more than {_MOST_BYTES}; "
                "send fewer examples at once"
            )
    found = np.empty(len(examples), object)
    found[:] = [shared + example.SerializeToString() for example in examples]
    return found


def _check_apart(given: Any) -> None:
    shared = set(given.context.features.feature)
    for example in given.examples:
        twice = sorted(shared & set(example.features.feature))
        if twice:
            refusals.invalid(f"feature {twice[0][:99]!r} is in the context and in an example; one place only")


def chosen(known: Known, name: str, method: str) -> str:
    """Returns the signature that answers a method; `name` is the request's, which may be empty.

    Raises:
        Refusal: The model has none.
    """
    if name and name not in known:
        there = ", ".join(sorted(known))
        refusals.invalid(f"No signature was found with the name: {name[:99]}; there are: {there}")
    for likely in (name,) if name else _LIKELY[method]:
        if likely in known and _takes_examples(known[likely]) and _gives(known[likely], method):
            return likely
    refusals.invalid(_why(name, method))


def _why(name: str, method: str) -> str:
    verb = method.rpartition("/")[2]
    gives = "classes or scores" if method == CLASSIFY else "outputs (float)"
    who = f"signature {name[:99]!r}" if name else "no signature of this model"
    can = "cannot" if name else "can"
    return f"{who} {can} {verb}: one string input of tf.Example and {gives} are needed; use Predict"


def _takes_examples(signature: signatures.Signature) -> bool:
    specs = list(signature.inputs.values())
    return len(specs) == 1 and specs[0].dtype == "string" and (specs[0].shape is None or len(specs[0].shape) == 1)


def _gives(signature: signatures.Signature, method: str) -> bool:
    wanted = (*_CLASSES, *_SCORES) if method == CLASSIFY else _VALUES
    return any(name in signature.outputs for name in wanted)


def classified(known: Known, name: str, given: Any, answer: Answer, into: Any) -> str:
    """Fills a ClassificationResult; returns the name of the signature that answered.

    Args:
        known: The model's signatures.
        name: The one asked for; may be empty.
        given: The request's Input message.
        answer: Asks the model.
        into: The result to fill.

    Raises:
        Refusal: No examples, no such signature, or outputs that are no classes.
    """
    used, outputs, count = _asked(known, name, CLASSIFY, given, answer)
    classes, scores = _first(outputs, _CLASSES), _first(outputs, _SCORES)
    for array, kind in ((classes, "O"), (scores, "f")):
        if array is not None and (array.ndim != 2 or len(array) != count or array.dtype.kind != kind):
            _odd(used, f"{array.dtype} {array.shape}", f"({count}, classes)")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        _odd(used, f"{classes.shape} classes and {scores.shape} scores", "the same shape")
    for number in range(count):
        result = into.classifications.add()
        labels = [] if classes is None else classes[number].tolist()
        values = [] if scores is None else scores[number].tolist()
        for place in range(max(len(labels), len(values))):
            label = labels[place].decode(errors="replace") if labels else ""
            result.classes.add(label=label, score=values[place] if values else 0.0)
    return used


def regressed(known: Known, name: str, given: Any, answer: Answer, into: Any) -> str:
    """Fills a RegressionResult; otherwise as `classified`."""
    used, outputs, count = _asked(known, name, REGRESS, given, answer)
    values = _first(outputs, _VALUES)
    assert values is not None  # `chosen` took a signature that has them
    if values.shape not in ((count,), (count, 1)) or values.dtype.kind != "f":
        _odd(used, f"{values.dtype} {values.shape}", f"float ({count},) or ({count}, 1)")
    for value in values.ravel().tolist():
        into.regressions.add(value=value)
    return used


def _asked(known: Known, name: str, method: str, given: Any, answer: Answer) -> tuple[str, dict[str, np.ndarray], int]:
    examples = serialized(given)
    used = chosen(known, name, method)
    (key,) = known[used].inputs
    return used, answer(used, {key: examples}), len(examples)


def _first(outputs: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    return next((outputs[name] for name in names if name in outputs), None)


def _odd(used: str, found: str, expected: str) -> NoReturn:
    refusals.unfit(f"signature {used!r} answered {found}; {expected} was expected")
