"""How much memory a training step takes, from its graph alone: nothing is run.

The step is traced as it would run, with its sizes known. Its operations are then gone through in the order in which
they become ready; a tensor is held from the operation that makes it to the last that reads it, and element-wise
operations write over an input that nobody else reads. The most that is held at once, and a share more for what lies
between tensors and for what kernels hold, is what the step takes beside the variables. The graph itself takes memory,
too: some tens of kilobytes for each operation, as much as a small step's tensors.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

GIB = 2**30
# Measured on processors, with oneDNN; docs/plan.md tells how, and how far off predictions are.
PROGRAM_BYTES = int(0.835 * GIB)  # the process: TensorFlow, Keras, kernels' code, threads
OPERATION_BYTES = 22 * 2**10  # of an operation: as traced, and its copies as the graph is optimised and run
# Bytes that the process grows by for each byte in use: what lies between tensors, and what kernels hold for themselves.
GAPS = 1.28
_SAME_BUFFER = {
    "Identity", "IdentityN", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "PreventGradient", "EnsureShape",
    "CheckNumerics",
}  # fmt: skip
_IN_PLACE = {
    "AddV2", "Add", "AddN", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Neg", "Relu", "Relu6", "LeakyRelu", "Elu",
    "Sigmoid", "Tanh", "Rsqrt", "Sqrt", "Square", "Exp", "Log", "Log1p", "Reciprocal", "ReluGrad", "LeakyReluGrad",
    "EluGrad", "SigmoidGrad", "TanhGrad", "RsqrtGrad", "SqrtGrad", "BiasAdd", "SelectV2", "Select", "Softmax",
    "LogSoftmax", "SquaredDifference", "MulNoNan", "DivNoNan", "Erf", "Softplus", "SoftplusGrad", "ClipByValue",
}  # fmt: skip
_JOINED = {"Pack", "ConcatV2"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


@dataclass(frozen=True)
class Prediction:
    """The most memory that training takes at once, in bytes.

    Attributes:
        program: The process with its libraries and the step's graph, before any step.
        variables: Weights and the optimizer's slots.
        step: Activations, gradients and what kernels need for themselves.
    """

    program: int
    variables: int
    step: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.program + self.variables + self.step

    def spell(self) -> str:
        """Returns it as people read it.

        >>> Prediction(GIB, GIB // 4, 2 * GIB).spell()
        '3.25 GiB (program 1.00, weights and optimizer 0.25, step 2.00)'
        """
        parts = (self.program, self.variables, self.step)
        program, variables, step = (f"{part / GIB:.2f}" for part in parts)
        return f"{self.total / GIB:.2f} GiB (program {program}, weights and optimizer {variables}, step {step})"


def predict(step: Any, variables: Iterable[Any]) -> Prediction:
    """Returns what a training step takes.

    Args:
        step: A concrete function, its shapes known: `tf.function(...).get_concrete_function(...)`.
        variables: All that it reads and writes: weights, moving statistics, the optimizer's.
    """
    held = sum(_size(variable.shape, variable.dtype) for variable in variables)
    program = PROGRAM_BYTES + OPERATION_BYTES * len(step.graph.get_operations())
    return Prediction(program, held, int(GAPS * most_held(step.graph)))


def most_held(graph: Any) -> int:
    """Returns the most bytes that a graph's tensors take at once; variables are not among them."""
    return _Run(graph).peak()


def _size(shape: Any, dtype: Any) -> int:
    sizes = tf.TensorShape(shape)
    if sizes.rank is None or dtype in (tf.resource, tf.variant, tf.string):
        return 0
    return int(np.prod([1 if n is None else n for n in sizes.as_list()], dtype=np.int64)) * tf.as_dtype(dtype).size


class _Run:
    """One pass over a graph: which buffers there are, how large, and who has still to read them."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.order = _ready_order(graph)
        self.size = _sizes(self.order)
        self.buffer: dict[str, int] = {}  # a tensor's name to its buffer
        self.bytes: list[int] = []
        self.readers: list[int] = []
        self.held = self.most = 0
        self.reads: dict[str, int] = {}
        for operation in self.order:
            for tensor in operation.inputs:
                self.reads[tensor.name] = self.reads.get(tensor.name, 0) + 1
        for tensor in graph.outputs:
            self.reads[tensor.name] = self.reads.get(tensor.name, 0) + 1

    def peak(self) -> int:
        for operation in self.order:
            self._make(operation)
            self.most = max(self.most, self.held + self._working(operation))
            for tensor in operation.inputs:
                self._drop(tensor.name, 1)
        return self.most

    def _make(self, operation: Any) -> None:
        for number, tensor in enumerate(operation.outputs):
            readers = self.reads.get(tensor.name, 0)
            shared = self._shared(operation, tensor, number)
            if shared is None:
                shared = len(self.bytes)
                self.bytes.append(self._new_bytes(operation, tensor))
                self.readers.append(0)
                self.held += self.bytes[shared]
            self.buffer[tensor.name] = shared
            self.readers[shared] += readers
            if not self.readers[shared]:
                self.held -= self.bytes[shared]

    def _new_bytes(self, operation: Any, tensor: Any) -> int:
        # Variables are counted by themselves, constants are small.
        return 0 if operation.type in ("ReadVariableOp", "Const") else self.size[tensor.name]

    def _shared(self, operation: Any, tensor: Any, number: int) -> int | None:
        """Returns the buffer of an input in which the output stands, too."""
        if operation.type in _SAME_BUFFER and number < len(operation.inputs):
            return self.buffer.get(operation.inputs[number].name)
        if operation.type == "Unpack" and operation.get_attr("axis") == 0:  # parts of what is there
            return self.buffer.get(operation.inputs[0].name)
        if operation.type not in _IN_PLACE:
            return None
        for read in operation.inputs:
            at = self.buffer.get(read.name)
            if at is not None and self.readers[at] == 1 and self.bytes[at] == self.size[tensor.name]:
                return at
        return None

    def _drop(self, name: str, times: int) -> None:
        at = self.buffer.get(name)
        if at is not None:
            self.readers[at] -= times
            if not self.readers[at]:
                self.held -= self.bytes[at]

    def _working(self, operation: Any) -> int:
        """Returns what an operation holds while it runs, beside its inputs and outputs."""
        if operation.type in _CALLS:
            called = self.graph._get_function(operation.get_attr("f").name)
            if called is None or not hasattr(called, "graph"):
                return 0
            given = sum(_size(tensor.shape, tensor.dtype) for tensor in called.graph.inputs)
            return most_held(called.graph) - given  # the caller holds what it gives
        return 0


def _sizes(order: list[Any]) -> dict[str, int]:
    """Returns each tensor's bytes; where a shape is not known when a graph is made, what its maker makes of it."""
    found: dict[str, int] = {}
    for operation in order:
        read = [found[tensor.name] for tensor in operation.inputs]
        for tensor in operation.outputs:
            # A list of tensors is a scalar to its shape.
            is_known = not read or (tensor.dtype != tf.variant and tensor.shape.is_fully_defined())
            found[tensor.name] = _size(tensor.shape, tensor.dtype) if is_known else _guessed(operation, tensor, read)
    for operation in reversed(order):
        if operation.type in _SAME_BUFFER | {"TensorListStack"} and operation.inputs:
            given, made = operation.inputs[0], operation.outputs[0]
            if given.dtype == tf.variant or not given.shape.is_fully_defined():
                found[given.name] = found[made.name]
    return found


def _guessed(operation: Any, tensor: Any, read: list[int]) -> int:
    if operation.type in _JOINED:
        return sum(read)
    if operation.type == "Unpack":
        return read[0] // len(operation.outputs)
    if operation.type == "TensorListFromTensor":
        return read[0]
    if tensor.dtype in (tf.resource, tf.variant, tf.string):
        return 0
    largest = int(np.argmax(read))
    return read[largest] * tensor.dtype.size // max(1, operation.inputs[largest].dtype.size)


def _ready_order(graph: Any) -> list[Any]:
    """Returns operations as an executor comes to them: first come, first served."""
    operations = graph.get_operations()
    waiting: dict[str, int] = {}
    followers: Mapping[str, list[Any]] = {operation.name: [] for operation in operations}
    ready: deque[Any] = deque()
    for operation in operations:
        before = {tensor.op.name for tensor in operation.inputs} | {one.name for one in operation.control_inputs}
        waiting[operation.name] = len(before)
        for name in before:
            followers[name].append(operation)
        if not before:
            ready.append(operation)
    order = []
    while ready:
        operation = ready.popleft()
        order.append(operation)
        for follower in followers[operation.name]:
            waiting[follower.name] -= 1
            if not waiting[follower.name]:
                ready.append(follower)
    return order
