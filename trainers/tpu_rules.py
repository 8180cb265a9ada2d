"""What of a batch and of a traced step a TPU would refuse, each with its place and what to do about it.

A TPU runs nothing but what XLA compiles, with all sizes known beforehand. Three looks find what is in the way, and none
needs a TPU:

1. of the batch: whether each leaf has a fixed shape and numbers;
2. of the graph: whether XLA knows each operation, and whether a TPU computes its type;
3. of the program: XLA is handed the step as a TPU's driver would hand it; what it makes of it must hold no size that is
   found only while the step runs (`<=N` in its text), and nothing that calls the host.

TensorFlow registers XLA's kernels for processors, GPUs and TPUs from one list, so that those of the first two are
looked at. Source: TensorFlow's tensorflow/core/tpu/tpu_compilation_device.cc, tpu_node_device_util.cc, tpu_defs.h.
"""

import functools
import os
import re
import site
import sysconfig
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

_FUNCTIONS = ("f", "body", "cond", "then_branch", "else_branch")  # attributes of operations that call a function
_NO_KERNEL = {"Placeholder"}  # arguments of functions: nothing is computed
_HOST = (
    "it runs Python on the host, which a TPU cannot call",
    "write it in TensorFlow's operations, or move it into the input pipeline",
)
_PRINT = ("a TPU prints no text", "print what the step returns, after it")
_TEXT = ("a TPU holds no text", "turn text into numbers in the input pipeline")
_FREE = "the size of what it gives is known only while the step runs"
_NMS = (
    _FREE,
    "use radkit.boxes.suppression, or tf.image.non_max_suppression_padded with pad_to_max_output_size=True",
)
_WHERE = (_FREE, "use tf.where with three arguments, or multiply by the mask: all sizes stay as they are")
_UNIQUE = (_FREE, "sort and compare neighbours, or count in a table of fixed size")
_UNKNOWN = ("XLA has no kernel of this operation", "use other operations, or move it into the input pipeline")
_SIZES = (_FREE, "pad to a fixed size, and say by a mask or a count what holds")
# Of an operation's type: why a TPU refuses it, and what to do.
_REASONS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("PyFunc", "PyFuncStateless", "EagerPyFunc"), _HOST),
    **dict.fromkeys(("Print", "PrintV2"), _PRINT),
    **dict.fromkeys(("AsString", "StringFormat", "StringJoin", "StringToNumber", "StringSplitV2"), _TEXT),
    **dict.fromkeys(("Where", "DynamicPartition"), _WHERE),
    **dict.fromkeys(("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2", "ListDiff"), _UNIQUE),
    **dict.fromkeys([f"NonMaxSuppression{version}" for version in ("", "V2", "V3", "V4", "V5")], _NMS),
    "CombinedNonMaxSuppression": _NMS,
}
_FREE_SIZES = {name for name, (why, _) in _REASONS.items() if why == _FREE}
# Types that a TPU does not have, or that are slow there; what to do, and whether it is refused.
_TYPES: Mapping[Any, tuple[str, str, bool]] = {
    tf.float64: ("TPUs have no float64", "cast to float32", True),
    tf.complex128: ("TPUs have no complex128", "cast to complex64", True),
    tf.float16: ("TPUs compute in bfloat16, not in float16", "set trainer.precision=mixed_bfloat16", False),
}
_MANY = 2**20  # elements from which on int64, which is two numbers of 32 bits there, is worth a word
_SHOWN = 3  # places of one offence that are named
_HARMLESS_CALLS = {"TopK", "Sharding"}  # custom calls that a TPU's compiler knows


@dataclass(frozen=True)
class Offence:
    """What a TPU refuses, or is slow at.

    Attributes:
        what: An operation, a leaf of the batch, or a setting.
        where: Layer, name and line; empty: `what` says it.
        why: What is wrong with it.
        advice: What to do.
        is_refused: Else it is only slow.
    """

    what: str
    where: str
    why: str
    advice: str
    is_refused: bool = True

    def spell(self) -> str:
        """Returns it in one line.

        >>> Offence("Where", "loss.py:3", "its size is free", "use a mask").spell()
        'refused: Where (loss.py:3): its size is free; use a mask'
        """
        place = f" ({self.where})" if self.where else ""
        return f"{'refused' if self.is_refused else 'advice'}: {self.what}{place}: {self.why}; {self.advice}"


def of_batch(specs: Mapping[str, Any]) -> list[Offence]:
    """Returns what is wrong with the batches of an input pipeline.

    Args:
        specs: Each leaf's name and `tf.TypeSpec`, as `element_spec` of a data set.
    """
    found = []
    for name, spec in specs.items():
        leaf = f"batch[{name!r}]"
        if not isinstance(spec, tf.TensorSpec):
            kind = type(spec).__name__.removesuffix("Spec")
            found.append(Offence(leaf, "", f"it is a {kind}; a TPU takes dense tensors only", _SIZES[1]))
        elif spec.dtype == tf.string:
            found.append(Offence(leaf, "", "it is text, which a TPU does not hold", "leave it out of the batch"))
        elif not spec.shape.is_fully_defined():
            why = f"its shape is {spec.shape}: None is a size that differs from batch to batch"
            found.append(Offence(leaf, "", why, "batch with drop_remainder=True, and pad to a fixed size"))
        elif spec.dtype in _TYPES:
            why, advice, is_refused = _TYPES[spec.dtype]
            found.append(Offence(leaf, "", why, f"{advice} in the input pipeline", is_refused))
    return found


def of_step(step: Any, arguments: tuple[Any, ...], layers: Collection[str], *, compiles: bool = True) -> list[Offence]:
    """Returns what is wrong with a function that a TPU is to run.

    Args:
        step: A `tf.function` with jit_compile=True.
        arguments: What it is called with, as `tf.TensorSpec`s of fixed shapes.
        layers: Names of the network's layers, to name the one in which something arises.
        compiles: Whether XLA compiles it for this machine's processor, too: that finds what XLA's own passes refuse.
    """
    # TensorFlow's own, as `experimental_get_compiler_ir` of a tf.function, which takes no dict of specs.
    from tensorflow.python.eager.polymorphic_function import compiler_ir

    traced = step.get_concrete_function(*arguments)
    there = list(operations(traced.graph))
    found = _of_operations(there, layers)
    make = compiler_ir.from_concrete_function(traced)
    try:
        program = make(stage="hlo")
        found += _of_program(program, {operation.name: operation for operation in there}, layers)
        if compiles and not any(one.is_refused for one in found):
            make(stage="optimized_hlo")
    except (ValueError, tf.errors.OpError) as error:
        if not any(one.is_refused for one in found):  # else that is what XLA says in other words
            found.append(_told(str(error)))
        found += _of_free_sizes(there, layers)
    return _once(found)


def operations(graph: Any) -> Iterator[Any]:
    """Yields the operations of a traced function, and of the functions that it calls."""
    for operation in graph.get_operations():
        yield operation
        for called in _called(graph, operation):
            yield from operations(called)


def _called(graph: Any, operation: Any) -> Iterator[Any]:
    names = [operation.get_attr(name) for name in _FUNCTIONS if name in operation.node_def.attr]
    if "branches" in operation.node_def.attr:
        names += operation.get_attr("branches")
    for name in names:
        function = graph._get_function(getattr(name, "name", name))
        if function is not None and hasattr(function, "graph"):
            yield function.graph


def _of_operations(there: Collection[Any], layers: Collection[str]) -> list[Offence]:
    found = []
    for operation in there:
        kind = operation.type
        if kind not in _NO_KERNEL and not _has_kernel(kind):
            found.append(Offence(kind, place(operation, layers), *_REASONS.get(kind, _UNKNOWN)))
            continue
        for tensor in operation.outputs:
            if tensor.dtype in _TYPES and not _inherits(operation, tensor.dtype):
                found.append(Offence(f"{kind} of {tensor.dtype.name}", place(operation, layers), *_TYPES[tensor.dtype]))
            elif tensor.dtype == tf.int64 and (tensor.shape.num_elements() or 0) >= _MANY:
                why = f"int64 is two numbers of 32 bits on a TPU, and these are {tensor.shape.num_elements():,}"
                found.append(Offence(f"{kind} of int64", place(operation, layers), why, "use int32", False))
    return found


def _inherits(operation: Any, dtype: Any) -> bool:
    """Tells whether an operation has a type because what it reads has it: then the first of them is named."""
    return any(tensor.dtype == dtype for tensor in operation.inputs)


def _of_free_sizes(there: Collection[Any], layers: Collection[str]) -> list[Offence]:
    """Returns the operations whose sizes are free, by their types: where there is no program to look at."""
    return [Offence(one.type, place(one, layers), *_REASONS[one.type]) for one in there if _has_free_size(one)]


def _has_free_size(operation: Any) -> bool:
    if operation.type == "NonMaxSuppressionV4":
        return not operation.get_attr("pad_to_max_output_size")
    return operation.type in _FREE_SIZES


_INSTRUCTION = re.compile(r" = (?P<shape>\(.*?\)|\S+) (?P<code>[a-z][\w-]*)\((?P<rest>.*)")
_METADATA = re.compile(r'op_type="(?P<type>[^"]*)" op_name="(?P<name>[^"]*)"')
_CUSTOM = re.compile(r'custom_call_target="([^"]*)"')
_HANDED_ON = {"parameter", "get-tuple-element", "tuple", "while", "conditional", "call"}


def _of_program(program: str, named: Mapping[str, Any], layers: Collection[str]) -> list[Offence]:
    """Returns what of a program, as XLA spells it, has free sizes or calls the host."""
    found = []
    for line in program.splitlines():
        is_free, called = "<=" in line, _CUSTOM.search(line)
        said = _INSTRUCTION.search(line) if is_free or called else None
        if said is None:
            continue
        metadata = _METADATA.search(line)
        kind, name = (metadata["type"], metadata["name"]) if metadata else (said["code"], "")
        where = _place_of(name, named, layers)
        read = said["rest"].partition(", metadata=")[0]
        # What is made of free sizes has free sizes, too: the first is named.
        if is_free and "<=" in said["shape"] and "<=" not in read and said["code"] not in _HANDED_ON:
            found.append(Offence(kind, where, *_REASONS.get(kind, _SIZES)))
        if called and called[1] not in _HARMLESS_CALLS:
            why = f"XLA would call {called[1]}, which a TPU does not have"
            found.append(Offence(kind, where, why, _UNKNOWN[1]))
    return found


def _place_of(name: str, named: Mapping[str, Any], layers: Collection[str]) -> str:
    """Returns the place of an operation that XLA names, which puts names of callers in front."""
    inner = name
    while inner:
        if inner in named:
            return place(named[inner], layers)
        inner = inner.partition("/")[2]
    return name


def place(operation: Any, layers: Collection[str] = ()) -> str:
    """Returns where an operation arises: its layer, its name, and the line of code that is not a library's."""
    scopes = operation.name.split("/")[:-1]
    # A layer that is called again in one graph has a number put to its scope.
    known = [scope if scope in layers else re.sub(r"_\d+$", "", scope) for scope in scopes]
    of_layers = [name for name in known if name in layers]
    said = [f"layer {of_layers[-1]!r}"] if of_layers else []
    return ", ".join([*said, operation.name, *_line(operation)])


def _line(operation: Any) -> list[str]:
    for frame in reversed(list(operation.traceback or ())):
        if not _is_library(frame.filename):
            return [f"{_short(frame.filename)}:{frame.lineno}"]
    return []


@functools.cache
def _is_library(path: str) -> bool:
    known = {*site.getsitepackages(), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    return path.startswith("<") or any(path.startswith(folder + os.sep) for folder in known)


def _short(path: str) -> str:
    """Returns a path as seen from here, if it lies below."""
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


@functools.cache
def _has_kernel(kind: str) -> bool:
    """Tells whether XLA has a kernel of an operation, for every kind of device."""
    from tensorflow.python.framework import kernels  # TensorFlow's own list; a test holds that it is there

    _wake()
    known = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(kind).kernel}
    return {"XLA_CPU_JIT", "XLA_GPU_JIT"} <= known


@functools.cache
def _wake() -> None:
    """Lets XLA register its kernels, which it does when something is compiled for the first time."""
    with tf.device("CPU:0"):
        one: Callable[[tf.Tensor], tf.Tensor] = tf.function(lambda number: number + 1.0, jit_compile=True)
        one(tf.constant(1.0))


_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def _told(message: str) -> Offence:
    """Returns what XLA says when it does not compile a step."""
    text = message.removeprefix("Failed getting HLO text: ").strip("'\" ")
    first = text.splitlines()[0].strip()
    node = re.search(r"\{\{node ([^}]+)\}\}", text)
    lines = [f"{_short('/' + path.lstrip('/'))}:{line}" for path, line in _FRAME.findall(text)]
    own = [line for line in lines if not _is_library(os.path.abspath(line.rpartition(":")[0]))]
    where = ", ".join([*([node[1]] if node else []), *own[-1:]])
    return Offence("the step", where, f"XLA does not compile it: {first[:300]}", "let sizes follow from shapes alone")


def _once(found: list[Offence]) -> list[Offence]:
    """Returns each offence once, refusals first; of many of one kind the first three, and how many more there are."""
    groups: dict[tuple[str, str], list[Offence]] = {}
    for one in sorted(dict.fromkeys(found), key=lambda one: not one.is_refused):
        groups.setdefault((one.what, one.why), []).append(one)
    kept = []
    for group in groups.values():
        kept += group[:_SHOWN]
        if len(group) > _SHOWN:
            kept[-1] = replace(kept[-1], where=f"{kept[-1].where}; and {len(group) - _SHOWN} more")
    return kept
