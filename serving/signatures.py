"""What a served model takes and gives, read from its SignatureDef: numpy and protobuf only.

The contract of every radkit model: inputs `image` float32 (batch, [depth,] height, width, 1) in modality units,
`spacing_mm` float32 (batch, 3 | 2), slices first, and, where the config has `data.table`, `table` float32 (batch,
columns); outputs `mask` uint8 (batch, [depth,] height, width) with values 0..n, or `probabilities` or `values` float32
(batch, n), or `boxes` float32 (batch, m, 4 | 6), low then high edges in the image's voxels, with `scores` float32 and
`labels` int32 (batch, m) and `count` int32 (batch,): behind the count there are 0s, labels are -1. Each has
`class_names` string (batch, n). Where there is a signature `records`, it takes `spacing_mm` and
gives `data` string (batch,): the data section of the config as JSON, by which a client sets images on the grid of the
records that the model was trained on. `stored` takes int16 with slope and intercept, `examples`, `classify` and
`regress` take serialized records (docs/export.md).
"""

from dataclasses import dataclass
from typing import Any

from serving import protocol

DEFAULT, RECORDS, STORED, EXAMPLES = "serving_default", "records", "stored", "examples"
CLASSIFY, REGRESS = "classify", "regress"


@dataclass(frozen=True)
class Spec:
    """One tensor: numpy's dtype name (or `string`) and its shape; None stands for any size, or any rank."""

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        """Returns for instance `float32 (any, 64, 64, 1)`."""
        if self.shape is None:
            return f"{self.dtype} of any rank"
        return f"{self.dtype} ({', '.join('any' if size is None else str(size) for size in self.shape)})"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tells whether an array of this shape can be meant.

        >>> Spec("float32", (None, 3)).fits((7, 3)), Spec("float32", (None, 3)).fits((3,))
        (True, False)
        """
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(w in (None, g) for w, g in zip(self.shape, shape))


@dataclass(frozen=True)
class Signature:
    """The named tensors that go in and come out."""

    inputs: dict[str, Spec]
    outputs: dict[str, Spec]


def from_message(signature_def: Any) -> Signature:
    """Returns the signature that a SignatureDef message describes."""
    return Signature(_specs(signature_def.inputs), _specs(signature_def.outputs))


def _specs(infos: Any) -> dict[str, Spec]:
    return {name: Spec(protocol.dtype_name(info.dtype), _shape(info.tensor_shape)) for name, info in infos.items()}


def _shape(claimed: Any) -> tuple[int | None, ...] | None:
    if claimed.unknown_rank:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in claimed.dim)
