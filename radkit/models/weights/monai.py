"""Weights of PyTorch's networks, as MONAI and torchvision name and lay them out, in radkit's twins of them.

`basic_unet`, `monai_unet` (MONAI's UNet), `dynunet`, `segresnet`: their layers bear MONAI's names. `densenet121`,
`resnet50` and their like, with `layout="torch"`: their layers bear Keras's names, which are found by `_NAMES`.
The axes of space stay in their order: an image (batch, channels, a, b, c) there is (batch, a, b, c, channels) here.
"""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from radkit.errors import UserError
from radkit.models.weights import files, loading
from radkit.models.weights.files import Stored
from radkit.models.weights.report import Report, few_lines

SUFFIXES = (".npz", ".safetensors")
_ORDER = ("weight", "bias", "running_mean", "running_var")  # that of Keras's layers
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
_WRAPPERS = ("module.", "_orig_mod.")  # around a network that trained in parallel, or compiled
# DynUNet lists its parts a second time, as the steps of its recursion.
_ALIASES = "skip_layers."
_NAMES = (
    (r"conv1", r"conv1_conv"),
    (r"bn1", r"conv1_bn"),
    (r"layer(\d+)\.(\d+)\.downsample\.0", r"conv{0}_block{1}_0_conv"),
    (r"layer(\d+)\.(\d+)\.downsample\.1", r"conv{0}_block{1}_0_bn"),
    (r"layer(\d+)\.(\d+)\.(?:conv)(\d)", r"conv{0}_block{1}_{2}_conv"),
    (r"layer(\d+)\.(\d+)\.(?:bn)(\d)", r"conv{0}_block{1}_{2}_bn"),
    (r"features\.conv0", r"conv1_conv"),
    (r"features\.norm0", r"conv1_bn"),
    (r"features\.denseblock(\d+)\.denselayer(\d+)\.(?:layers\.)?norm1", r"conv{0}_block{1}_0_bn"),
    (r"features\.denseblock(\d+)\.denselayer(\d+)\.(?:layers\.)?conv1", r"conv{0}_block{1}_1_conv"),
    (r"features\.denseblock(\d+)\.denselayer(\d+)\.(?:layers\.)?norm2", r"conv{0}_block{1}_1_bn"),
    (r"features\.denseblock(\d+)\.denselayer(\d+)\.(?:layers\.)?conv2", r"conv{0}_block{1}_2_conv"),
    (r"features\.transition(\d+)\.norm", r"pool{0}_bn"),
    (r"features\.transition(\d+)\.conv", r"pool{0}_conv"),
    (r"features\.norm5", r"bn"),
    (r"fc|classifier|class_layers\.out", r"predictions"),
)


def load(network: keras.Model, state: Mapping[str, Any] | str | Path) -> Report:
    """Gives a network all the weights of its twin in PyTorch.

    Args:
        network: Built with the settings that make it the twin's equal.
        state: The twin's `state_dict()`: names to arrays or tensors; or a `.npz` or `.safetensors` file of them.

    Returns:
        What went where.

    Raises:
        UserError: An array finds no place, a place no array, or their shapes differ; the message lists them, and the
            network is as it was.

    Example:
        >>> load(models.build("basic_unet", input_shape=(96, 96, 96, 1), num_classes=2), "unet.npz")  # doctest: +SKIP
    """
    stored = layers(network, state)
    with files.own(network) as (own, fill):
        arrays, report = loading.compare(network, own, stored, "MONAI", "sum", "average")
        _check(network, report)
        fill(arrays)
    return report


def _check(network: keras.Model, report: Report) -> None:
    """Refuses weights of another network than this one's twin."""
    rows = [row for row in report.rows if row.outcome != "loaded" and not _is_constant(network, row.layer)]
    wrong = [f"{row.layer}: {row.how}" for row in rows] + [f"{name}: no place for it" for name in report.unused]
    if wrong:
        raise UserError(
            f"MONAI's weights do not fit network {network.name!r}: {few_lines(wrong)}; build it with the settings that "
            "MONAI's network was made with"
        )


def _is_constant(network: keras.Model, name: str) -> bool:
    """Whether a layer's weights stay 1 and 0: PyTorch's normalisations without such have none in their files."""
    layer = next((layer for layer in network.layers if layer.name == name), None)
    return layer is not None and hasattr(layer, "gamma") and not layer.trainable


def layers(network: keras.Model, state: Mapping[str, Any] | str | Path) -> list[Stored]:
    """Returns PyTorch's weights as a Keras file of `network` would have them.

    Args:
        network: Whose layers' names are taken.
        state: As `load`.

    Raises:
        UserError: They cannot be read, or hold what is no weight of a layer.
    """
    arrays = read(Path(state)) if isinstance(state, (str, Path)) else _plain(state)
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, array in _without_aliases(arrays).items():
        module, _, what = name.rpartition(".")
        if what == "num_batches_tracked":
            continue
        if what not in _ORDER or not module:
            raise UserError(f"MONAI's weights: {name!r} is no {', '.join(_ORDER)} of a layer")
        modules.setdefault(module, {})[what] = array
    known = {layer.name: layer for layer in network.layers}
    return [_stored(module, parts, known) for module, parts in modules.items()]


def _stored(module: str, parts: Mapping[str, np.ndarray], known: Mapping[str, keras.layers.Layer]) -> Stored:
    name = module if module in known else _renamed(module)
    found = [parts[what] for what in _ORDER if what in parts]
    arrays = [array.transpose(*range(2, array.ndim), 1, 0) if array.ndim > 1 else array for array in found]
    if isinstance(known.get(name), keras.layers.PReLU):
        shape = known[name].weights[0].shape
        arrays = [array.reshape(shape) if array.size == np.prod(shape) else array for array in arrays]
    return Stored(name, "", True, tuple(arrays), ())


def _renamed(module: str) -> str:
    """Returns the Keras name of a module of a ResNet or DenseNet; the module's own where it is none of theirs.

    >>> _renamed("layer1.0.conv2"), _renamed("features.transition3.norm")
    ('conv2_block1_2_conv', 'pool4_bn')
    """
    for pattern, name in _NAMES:
        match = re.fullmatch(pattern, module)
        if match:
            numbers = [int(number) for number in match.groups()]
            # Keras counts the stem as the first level, and PyTorch a ResNet's blocks from 0.
            numbers[:1] = [number + 1 for number in numbers[:1]]
            if module.startswith("layer"):
                numbers[1:2] = [number + 1 for number in numbers[1:2]]
            return name.format(*numbers)
    return module


def _without_aliases(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leaves out what is there twice; an alias of nothing stays, and finds no place."""
    kept = {name: array for name, array in arrays.items() if not name.startswith(_ALIASES)}
    if len(kept) == len(arrays):
        return kept
    known = {(array.shape, array.tobytes()) for array in kept.values()}
    return {n: a for n, a in arrays.items() if not n.startswith(_ALIASES) or (a.shape, a.tobytes()) not in known}


def _plain(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns a state's arrays; a tensor needs no PyTorch here, it brings its own."""
    if not isinstance(state, Mapping):
        raise UserError(f"MONAI's weights must be a state_dict() or the path of a file, not {type(state).__name__}")
    inner = state.get("state_dict", state)
    arrays = {
        str(name): np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value)
        for name, value in inner.items()
    }
    for prefix in _WRAPPERS:
        if arrays and all(name.startswith(prefix) for name in arrays):
            return _plain({name.removeprefix(prefix): array for name, array in arrays.items()})
    return arrays


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a `.npz` or `.safetensors` file.

    Raises:
        UserError: It is missing, damaged or of another kind.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: weights of PyTorch are read from {' or '.join(SUFFIXES)}; write one there with "
            "safetensors.torch.save_file(network.state_dict(), ...)"
        )
    files.require_file(path)
    try:
        if path.suffix == ".npz":
            # Of the bytes: of a damaged file numpy would leave the handle open.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
                return _plain(dict(found))
        return _plain(_safetensors(path.read_bytes()))
    except files.DAMAGED as error:
        raise files.unreadable(path, error, f"is it a whole {path.suffix} file of a state dict?") from error


def _safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Returns a file's arrays: the header's length (8 bytes), the header as JSON, then the values.

    Source: https://huggingface.co/docs/safetensors, "Format".
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays = {}
    for name, told in header.items():
        first, last = told["data_offsets"]
        array = np.frombuffer(data[start + first : start + last], _DTYPES[told["dtype"]]).reshape(told["shape"])
        if told["dtype"] == "BF16":  # the upper half of a float32
            array = (array.astype("<u4") << 16).view("<f4")
        arrays[name] = array
    return arrays
