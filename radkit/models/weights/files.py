"""Files of weights as lists of layers: Keras's `.weights.h5` and `.keras`, and the `.h5` of Keras 2.

A layer is known by its name where a person gave it one, and else (`conv2d_17`: the number depends on what else the
process built) by its place among the nameless layers of its kind.
"""

import contextlib
import io
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from radkit.errors import UserError

_NO_WEIGHTS = ("seed_generator", "optimizer")
# What readers of archives, arrays, JSON and HDF5 raise of bytes that are damaged, cut off or of another kind.
DAMAGED = (
    OSError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError,
    OverflowError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One layer's arrays.

    Attributes:
        name: As a person would call it; of a nameless layer its kind and place, as `conv2d_3`.
        kind: Its class, as `conv2d`.
        named: Whether a person gave it its name.
        arrays: In the layer's order.
        paths: Of each array, where it stands in the file.
    """

    name: str
    kind: str
    named: bool
    arrays: tuple[np.ndarray, ...]
    paths: tuple[str, ...]


def read(path: Path) -> list[Stored]:
    """Returns a file's layers that have weights, in the file's order.

    Raises:
        UserError: It is missing, damaged, or holds no weights of Keras's.
    """
    require_file(path)
    try:
        with h5py.File(_opened(path), "r") as file:
            found = list(_of_keras_2(file) if _is_of_keras_2(file) else _of_keras_3(file))
    except DAMAGED as error:
        raise unreadable(path, error, "is it a whole .weights.h5, .keras or .h5?") from error
    if not found:
        raise UserError(f"{path} holds no layers of a Keras network; name a .weights.h5, .keras or .h5 file")
    return found


def require_file(path: Path) -> None:
    """Refuses what is no file.

    Raises:
        UserError: There is nothing, or a folder.
    """
    if path.is_dir():
        raise UserError(f"the weights {path} are a folder; name a file in it, or write run:{path} for a run's best")
    if not path.is_file():
        raise UserError(f"the weights {path} do not exist; name a .weights.h5, .keras, .h5, .safetensors or .npz file")


def unreadable(path: Path, error: Exception, advice: str) -> UserError:
    """Returns what to raise of a file whose bytes make no sense."""
    if path.suffix in _PICKLED:
        advice = "radkit opens no pickles; write safetensors.torch.save_file(network.state_dict(), ...) there"
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"the weights {path} cannot be read ({reason}); {advice}")


_PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".pkl")  # PyTorch's; to open one is to run what is in it


def _opened(path: Path) -> Any:
    """Returns what h5py can open; a `.keras` file is an archive with such a file in it."""
    if not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read("model.weights.h5"))


@contextlib.contextmanager
def own(network: keras.Model) -> Iterator[tuple[list[Stored], Callable[[Mapping[str, np.ndarray]], None]]]:
    """Gives a network's layers as `read` would from its own file, and a function that gives it other weights.

    The function takes arrays by their paths in that file; the network's other weights stay.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.weights.h5"
        network.save_weights(path)

        def put(arrays: Mapping[str, np.ndarray]) -> None:
            with h5py.File(path, "r+") as file:
                for place, array in arrays.items():
                    file[place][...] = array
            network.load_weights(path)

        yield read(path), put


def _is_of_keras_2(file: h5py.File) -> bool:
    return "layer_names" in file.attrs or "layer_names0" in file.attrs or "model_weights" in file


def _of_keras_2(file: h5py.File) -> Iterator[Stored]:
    root = file.get("model_weights", file)
    places: dict[str, int] = {}
    for name in _listed(root, "layer_names"):
        for inner, paths in _parts(root[name], name).items():
            kind = re.sub(r"_\d+$", "", inner)
            named = kind not in _KINDS
            shown = inner.replace("/", "_") if named else _place(places, kind)
            yield Stored(shown, "" if named else kind, named, tuple(file[p][()] for p in paths), tuple(paths))


def _parts(group: h5py.Group, name: str) -> dict[str, list[str]]:
    """Returns the paths of a layer's weights by its name; of a network within the network by its layers' names."""
    parts: dict[str, list[str]] = {}
    for weight in _listed(group, "weight_names"):
        parts.setdefault(weight.rpartition("/")[0], []).append(f"{group.name}/{weight}")
    if len(parts) == 1:
        return {name: next(iter(parts.values()))}
    return {inner.rpartition("/")[2]: paths for inner, paths in parts.items()}


def _listed(group: h5py.Group, name: str) -> list[str]:
    """Returns a list of names; a long one is kept in several attributes."""
    parts = [group.attrs[name]] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{name}{len(parts)}"])
    return [one.decode() if isinstance(one, bytes) else str(one) for part in parts for one in part]


def _of_keras_3(file: h5py.File) -> Iterator[Stored]:
    groups: dict[str, list[str]] = {}

    def note(path: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset) and not any(word in path for word in _NO_WEIGHTS):
            groups.setdefault(path.rpartition("/")[0], []).append(path)

    file.visititems(note)
    places: dict[str, int] = {}
    for group in sorted(groups, key=_natural):
        paths = sorted(groups[group], key=_natural)
        name, kind, named = _called(file, group, places)
        yield Stored(name, kind, named, tuple(file[path][()] for path in paths), tuple(paths))


def _natural(path: str) -> list[tuple[str, int]]:
    """Sorts conv2d before conv2d_1, and that before conv2d_10."""
    found = [re.fullmatch(r"(.*?)_?(\d*)", part) for part in path.split("/")]
    return [(match[1], int(match[2] or 0)) if match else ("", 0) for match in found]


def _called(file: h5py.File, group: str, places: dict[str, int]) -> tuple[str, str, bool]:
    """Returns name, kind and whether the name is a person's, of a group as `layers/lstm_1/cell/vars`."""
    parts = group.removesuffix("/vars").split("/")
    words, named, kind = [], False, ""
    for place, part in enumerate(parts):
        if part == "layers":
            continue
        own = re.sub(r"_\d+$", "", part)
        if place and parts[place - 1] == "layers":
            kind = own
            given = _name(file, "/".join(parts[: place + 1]))
            named = bool(given) and not re.fullmatch(re.escape(own) + r"(_\d+)?", given)
            words.append(given if named else own)
        else:
            kind = f"{kind}/{part}"
            words.append(part)
    name = "/".join(words)
    return (name, kind, True) if named else (_place(places, name), kind, False)


def _name(file: h5py.File, group: str) -> str:
    found = file[group].get("vars")
    name = "" if found is None else found.attrs.get("name", "")
    return name.decode() if isinstance(name, bytes) else str(name)


def _place(places: dict[str, int], kind: str) -> str:
    number = places[kind] = places.get(kind, -1) + 1
    return f"{kind}_{number}" if number else kind


def snake_case(name: str) -> str:
    """Returns a class's name as Keras makes layers' names of it.

    >>> snake_case("Conv2DTranspose"), snake_case("BatchNormalization")
    ('conv2d_transpose', 'batch_normalization')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_KINDS = frozenset(snake_case(name) for name in dir(keras.layers) if name[:1].isupper())
