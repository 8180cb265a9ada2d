"""Weights from elsewhere: where they come from, what of them fits, and which of them learn."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import keras

from radkit.errors import UserError, did_you_mean
from radkit.models.weights import files, imagenet, loading, monai
from radkit.models.weights.freezing import freeze as freeze
from radkit.models.weights.freezing import shares as shares
from radkit.models.weights.loading import load_own as load_own
from radkit.models.weights.report import Report as Report

IMAGENET = "imagenet"
RUN = "run:"
BEST = "best.weights.h5"  # of a run's folder, see radkit.runs
_WISHES = {"channels": ("sum", "mean"), "depth": ("average", "centre")}


def start(
    network: keras.Model, name: str, weights: str | os.PathLike[str], patterns: str | Sequence[str]
) -> Report | None:
    """Gives a new network weights from elsewhere, prints what fitted, and keeps some from learning.

    Args:
        network: Just built.
        name: What `models.build` was asked for, as `resnet50`.
        weights: As `load`; empty: its own stay.
        patterns: As `freeze`.

    Raises:
        UserError: As `load` and `freeze`.
    """
    report = load(network, weights, name) if weights else None
    if report:
        print(report.text())
    freeze(network, patterns)
    return report


def load(network: keras.Model, weights: str | os.PathLike[str], name: str = "") -> Report:
    """Gives a network what fits of weights from elsewhere.

    Args:
        network: Its layers that find nothing stay as they are.
        weights: `imagenet`: Keras Applications' of `name`, or `imagenet:resnet50`, of an encoder; `run:DIR`: the best
            ones of an earlier run; or a file: `.weights.h5`, `.keras`, the `.h5` of Keras 2, or PyTorch's as
            `.safetensors` or `.npz`. Behind it may stand how they are changed:
            `imagenet?channels=mean&depth=centre`; see `radkit.models.weights.inflation`.
        name: Which network it is, as `resnet50`; its own if not given.

    Returns:
        What was loaded, adapted, left new and not used.

    Raises:
        UserError: They cannot be had or read, or nothing of them fits.

    Example:
        >>> load(network, "imagenet:resnet50").of("loaded")  # doctest: +SKIP
    """
    where, wishes = _wishes(_told(weights))
    path = _file(network, where, name or network.name)
    stored = monai.layers(network, path) if path.suffix in monai.SUFFIXES else files.read(path)
    report = loading.put(network, stored, source=where, **wishes)
    return dataclasses.replace(report, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def check(weights: str) -> None:
    """Refuses wishes that are none, before anything is built.

    Raises:
        UserError: A wish is unknown, or its value.
    """
    _wishes(weights)


def _told(weights: str | os.PathLike[str]) -> str:
    if not isinstance(weights, str | os.PathLike):
        raise UserError(f"weights={weights!r}: 'imagenet', a file or 'run:DIR' was expected")
    return os.fspath(weights)


def _wishes(weights: str) -> tuple[str, dict[str, Any]]:
    """Returns where weights come from, and how they are to be changed."""
    where, mark, behind = weights.partition("?")
    wishes = dict(parse_qsl(behind, keep_blank_values=True))
    if mark and not wishes:
        raise UserError(f"weights={weights!r} asks for no change behind its '?'; write as {where}?channels=mean")
    for wish, value in wishes.items():
        if wish not in _WISHES:
            raise UserError(
                f"weights={weights!r}: {wish!r} is no change{did_you_mean(wish, _WISHES)}; there are: "
                f"{', '.join(_WISHES)}"
            )
        if value not in _WISHES[wish]:
            raise UserError(f"weights={weights!r}: {wish} must be {' or '.join(_WISHES[wish])}, not {value!r}")
    return where, wishes


def _file(network: keras.Model, where: str, name: str) -> Path:
    kind, mark, architecture = where.partition(":")
    if kind == IMAGENET:
        if mark and not architecture:
            raise UserError("weights='imagenet:' names no architecture; write as imagenet:resnet50")
        outputs = network.outputs[0].shape
        top = not mark and len(outputs) == 2 and outputs[-1] == imagenet.CLASSES
        return imagenet.fetch(architecture or name, top=top)
    if where.startswith(RUN):
        path = Path(where.removeprefix(RUN)) / BEST
        if not path.is_file():
            raise UserError(f"weights={where!r}: {path} does not exist; name the folder of a run of radkit train")
        return path
    return Path(where)
