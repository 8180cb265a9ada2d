"""SavedModels in memory, each call checked against the signature before TensorFlow sees it.

Layout on disk, as TensorFlow Serving wants it: `BASE/<version>/saved_model.pb`. Neither keras nor radkit's networks
are needed to load one. TensorFlow itself is imported when the first model is loaded, so that a wrong folder is told
at once.
"""

import contextlib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from radkit import quiet
from radkit.errors import UserError
from serving import messages, sessions, signatures

GRAPH = "saved_model.pb"
TAG = "serve"
# A signature by name only: how the graph sets itself up.
_INIT = "__saved_model_init_op"
MAX_WORDS = 600


_Signature = signatures.Signature  # the module's name is a field's, too, in `Model`


class BadRequest(ValueError):
    """Inputs or an output filter that do not fit the signature; the message says which and what would."""


class UnknownSignature(ValueError):
    """The model has no such signature; the message lists those that it has."""


class ModelFailed(RuntimeError):
    """TensorFlow refused or failed while answering; `code` is its status code, the same as gRPC's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Model:
    """One loaded version of a model.

    Attributes:
        version: The folder's name.
        signatures: Name to what goes in and comes out; only those that can be called.
        definitions: The SavedModel's own SignatureDefMap, as GetModelMetadata answers it.
        loaded: The graph in memory, until `close`.
        folder: Where it was read from.
        sha256: Of its graph file, hexadecimal: which model it was that answered.
    """

    version: int
    signatures: dict[str, signatures.Signature]
    definitions: Any
    loaded: sessions.Session
    folder: Path
    sha256: str
    _tensors: dict[str, tuple[dict[str, str], dict[str, str]]]

    def close(self) -> None:
        """Gives the memory back; no call may be under way."""
        self.loaded.close()

    def signature(self, name: str) -> "_Signature":
        """Returns what goes in and comes out; an empty name means `serving_default`.

        Raises:
            UnknownSignature: There is no such signature.
        """
        if (name or signatures.DEFAULT) not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise UnknownSignature(f"Serving signature key {name[:99]!r} not found; there are: {known}")
        return self.signatures[name or signatures.DEFAULT]

    def answer(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name.

        Args:
            signature_name: Empty means `serving_default`.
            inputs: Arrays by input name.
            output_filter: Names of the outputs wanted; empty means all.
            timeout_s: After how long TensorFlow gives up.

        Raises:
            UnknownSignature: There is no such signature.
            BadRequest: The inputs or the filter do not fit it.
            ModelFailed: TensorFlow's own error.
        """
        signature = self.signature(signature_name)
        check_inputs(signature, inputs)
        wanted = check_filter(signature, output_filter)
        return self.run(signature_name or signatures.DEFAULT, inputs, wanted, timeout_s)

    def run(
        self, name: str, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], timeout_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of inputs that were checked; otherwise as `answer`.

        Raises:
            ModelFailed: TensorFlow's own error.
        """
        import tensorflow as tf

        takes, gives = self._tensors[name]
        # In the signature's order, whatever the request's was: each order would be another way through the graph.
        feeds = {tensor: inputs[key] for key, tensor in takes.items()}
        try:
            found = self.loaded.run(feeds, [gives[key] for key in wanted], timeout_s)
        except tf.errors.OpError as error:
            raise ModelFailed(_words(error.message), int(error.error_code)) from error
        except UnicodeDecodeError as error:  # the error's words hold the request's own bytes, and its code is lost
            words = bytes(error.object).decode(errors="replace")
            raise ModelFailed(_words(words), tf.errors.INVALID_ARGUMENT) from None
        return {key: found[gives[key]] for key in wanted}


def check_base(base: Path) -> None:
    """Refuses a folder that will not hold versions: it is none, a version itself, or full of something else.

    Raises:
        UserError: The message says what the folder looks like instead.
    """
    if not base.is_dir():
        raise UserError(f"{base} is not a folder; name the one that holds version folders, as {base}/1/{GRAPH}")
    if (base / GRAPH).is_file():
        hint = f"name its parent {base.parent}" if base.name.isdigit() else f"move it into {base}/1"
        raise UserError(f"{base} holds a SavedModel itself; a folder of version folders was expected: {hint}")
    if any(base.iterdir()) and not _numbered(base):
        raise UserError(f"{base} holds no version folder; {base}/1/{GRAPH} was expected (radkit export writes it)")


def find_version(base: Path, version: int | None = None) -> tuple[int, Path]:
    """Returns the version and the folder that holds it: the highest one, or the one asked for.

    Raises:
        UserError: There is none; the message says what the folder looks like instead.
    """
    check_base(base)
    versions = {number: p for number, p in _numbered(base).items() if p.is_dir()}
    if not versions:
        raise UserError(f"{base} holds no version folder; {base}/1/{GRAPH} was expected (radkit export writes it)")
    chosen = max(versions) if version is None else version
    if chosen not in versions:
        raise UserError(f"{base} holds no version {chosen}; there are: {', '.join(map(str, sorted(versions)))}")
    if not (versions[chosen] / GRAPH).is_file():
        raise UserError(f"{versions[chosen]} holds no {GRAPH}; it is not a SavedModel, or half copied")
    return chosen, versions[chosen]


def versions(base: Path) -> dict[int, Path]:
    """Returns the version folders of a model that hold a graph, by number."""
    if not base.is_dir():
        return {}
    return {number: folder for number, folder in sorted(_numbered(base).items()) if (folder / GRAPH).is_file()}


def _numbered(base: Path) -> dict[int, Path]:
    """Returns what bears a number that a ModelSpec can hold, 64 bits."""
    named = [p for p in base.iterdir() if p.name.isdecimal() and p.name.isascii() and len(p.name) < 20]
    return {int(p.name): p for p in named if int(p.name) < 1 << 63}


def load(base: Path, version: int | None = None, threads: sessions.Threads = sessions.Threads()) -> Model:  # noqa: B008
    """Loads a version of the model in `base`; the highest unless one is named.

    Raises:
        UserError: There is no such version, or TensorFlow cannot load it.
    """
    chosen, folder = find_version(base, version)
    data = (folder / GRAPH).read_bytes()
    definitions = _definitions(folder / GRAPH, data)
    with quiet.held_back() if "tensorflow" not in sys.modules else contextlib.nullcontext():
        import tensorflow as tf

    try:
        loaded = sessions.Session(folder, TAG, threads)
    except (tf.errors.OpError, OSError, ValueError, LookupError, AttributeError, RuntimeError, TypeError) as error:
        raise UserError(f"{folder} cannot be loaded: {_words(str(error))}") from error
    tensors = {
        name: (_names(definition.inputs), _names(definition.outputs))
        for name, definition in definitions.signature_def.items()
        if name != _INIT
    }
    tensors = {name: (a, b) for name, (a, b) in tensors.items() if b and loaded.holds([*a.values(), *b.values()])}
    if not tensors:
        loaded.close()
        raise UserError(f"{folder} has no signature to call; export it with signatures=...")
    callable_ones = {name: signatures.from_message(definitions.signature_def[name]) for name in tensors}
    sha256 = hashlib.sha256(data).hexdigest()
    return Model(chosen, callable_ones, definitions, loaded, folder, sha256, tensors)


def _names(infos: Any) -> dict[str, str]:
    return {key: info.name for key, info in sorted(infos.items())}


def _definitions(graph: Path, data: bytes) -> Any:
    """Returns the SignatureDefMap of the meta graph that serves."""
    saved = messages.SavedModel()
    try:
        saved.ParseFromString(data)
    except DecodeError as error:
        raise UserError(f"{graph} is not a SavedModel: it cannot be decoded") from error
    found = messages.SignatureDefMap()
    for meta_graph in saved.meta_graphs:
        if TAG in meta_graph.meta_info_def.tags:
            for name, definition in meta_graph.signature_def.items():
                found.signature_def[name].CopyFrom(definition)
            return found
    raise UserError(f"{graph} has no meta graph with the tag {TAG!r}; export the model for serving")


def check_inputs(signature: signatures.Signature, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses inputs that the signature does not take.

    Raises:
        BadRequest: Names missing or too many, another dtype, another rank or fixed size.
    """
    expected = ", ".join(f"{name} {spec}" for name, spec in sorted(signature.inputs.items()))
    missing = sorted(set(signature.inputs) - set(inputs))
    unknown = sorted(name[:99] for name in set(inputs) - set(signature.inputs))
    if missing or unknown:
        problems = [f"input {', '.join(missing)} is missing"] * bool(missing)
        problems += [f"input {', '.join(unknown[:9])} is unknown"] * bool(unknown)
        raise BadRequest(f"{'; '.join(problems)}; the signature takes {expected}")
    for name, spec in signature.inputs.items():
        dtype = "string" if inputs[name].dtype == object else inputs[name].dtype.name
        if dtype != spec.dtype or not spec.fits(inputs[name].shape):
            raise BadRequest(f"input {name} is {signatures.Spec(dtype, inputs[name].shape)}; {spec} was expected")


def check_filter(signature: signatures.Signature, output_filter: Sequence[str]) -> list[str]:
    """Returns the names of the outputs that are wanted.

    Raises:
        BadRequest: A name is unknown or comes twice.
    """
    known = ", ".join(sorted(signature.outputs))
    for number, name in enumerate(output_filter):
        if name not in signature.outputs:
            raise BadRequest(f"output tensor alias not found in signature: {name[:99]}; there are: {known}")
        if name in output_filter[:number]:
            raise BadRequest(f"duplicate output tensor alias: {name}")
    return list(output_filter) or sorted(signature.outputs)


def _words(message: str) -> str:
    """Returns what TensorFlow says in one line, without its stack traces and graph node names.

    >>> _words('Graph execution error:\\n\\nDetected at node add defined at (most recent call last):\\n'
    ...        '  File "a.py", line 1, in f\\n<stack traces unavailable>\\n'
    ...        'Incompatible shapes\\n\\t [[{{node add}}]] [Op:__inference_f_1]')
    'Incompatible shapes'
    """
    message = message.rsplit("<stack traces unavailable>", 1)[-1]
    noise = ("File ", "Detected at node", "Graph execution error", "Traceback", "[[")
    lines = [line.split("[[{{")[0].split("[Op:")[0].strip() for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(noise))[:MAX_WORDS] or "the model failed"
