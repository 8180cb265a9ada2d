"""The export gate: an export that does not answer as its run does is refused, and nothing is kept of it.

Made-up images of the training size and of odd sizes, and records of them, are asked of the functions in this process,
of the SavedModel loaded here (twice: the same answer), and in a fresh process without keras, directly and through
`serving.server` (`serving.apart`). Numbers may differ by `TOLERANCE` of 1 or of their size; masks, classes and
texts not at all.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config
from radkit.data import clinical, convert, records, schema
from radkit.errors import UserError
from serving import signatures

TOLERANCE = 1e-5
_MINUTES = 60
# A GPU rounds otherwise, and this process may hold all of its memory.
_PLAIN_RUN = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
# Outputs that must be numbers; `thresholds` are nan where there is none.
_FINITE = {"probabilities", "scores", "values", "outputs", "boxes", "masks"}
Arrays = dict[str, np.ndarray]
Golden = dict[str, Arrays]  # by NUMBER/SIGNATURE


def golden(data: config.Data, names: set[str]) -> Golden:
    """Returns made-up inputs for an export's signatures, by `NUMBER/SIGNATURE`.

    `serving_default` gets two images of the training size at once, and one of odd sizes beyond and one below it; of a
    table the second image knows nothing. The others get the smallest one.
    """
    random = np.random.default_rng(0)
    sizes = [data.image_size, tuple(s + 5 for s in data.image_size), tuple(max(1, s - 7) for s in data.image_size)]
    found: Golden = {}
    for number, size in enumerate(sizes):
        batch = 2 if number == 0 else 1
        found[f"{number}/{signatures.DEFAULT}"] = {
            "image": random.normal(100, 30, (batch, *size, 1)).astype(np.float32),
            **_beside(data, batch),
        }
    stored = random.normal(100, 30, (1, *sizes[-1], 1)).astype(np.int16)
    slices = sizes[-1][0] if data.kind == "volume" else 1
    slope, intercept = np.full((1, slices), 1.5, np.float32), np.full((1, slices), -3.0, np.float32)
    found[f"3/{signatures.STORED}"] = {
        "image": stored, "rescale_slope": slope, "rescale_intercept": intercept, **_beside(data, 1),
    }  # fmt: skip
    record = _record(stored[0], slope[0], intercept[0], data)
    for number, (name, key) in enumerate(
        [(signatures.EXAMPLES, "examples"), (signatures.CLASSIFY, "inputs"), (signatures.REGRESS, "inputs")], 4
    ):
        if name in names:
            found[f"{number}/{name}"] = {key: np.array([record], object)}
    return found


def _beside(data: config.Data, batch: int) -> Arrays:
    rank = len(data.image_size)
    beside = {"spacing_mm": np.array([data.spacing_mm or (1.0,) * rank] * batch, np.float32)}
    if data.table:
        known, unknown = [clinical.SCALES[name][0] for name in data.table], [np.nan] * len(data.table)
        beside["table"] = np.array([known, unknown][:batch], np.float32)
    return beside


_PLAIN: Mapping[str, Any] = {"text": "", "texts": [], "class": 0, "classes": []}


def _record(stored: np.ndarray, slope: np.ndarray, intercept: np.ndarray, data: config.Data) -> bytes:
    """Returns a made-up record of an image, as conversion would write one of nobody."""
    own = {
        "image": stored if data.image_dtype == "int16" else stored.astype(np.float32),
        "rescale_slope": slope,
        "rescale_intercept": intercept,
        "spacing_mm": _beside(data, 1)["spacing_mm"][0],
    }
    fields = convert.fields_of(data)
    return records.encode({field.name: own.get(field.name, _plain(field)) for field in fields}, fields)


def _plain(field: schema.Field) -> Any:
    if field.kind in _PLAIN:
        return _PLAIN[field.kind]
    shape = [size or 0 for size in field.shape]
    if field.kind == "flags":
        return np.zeros(shape, np.int64)
    return np.zeros(shape, field.dtype if field.kind == "array" else np.float32)


def check(folder: Path, functions: Mapping[str, Callable[..., Any]], given: Golden) -> None:
    """Refuses an export that does not answer as the functions that it was made of.

    Args:
        folder: The SavedModel's.
        functions: By signature, in this process.
        given: From `golden`.

    Raises:
        UserError: It says which answer differs, where, and by how much.
    """
    expected = {group: _asked(functions[group.partition("/")[2]], inputs) for group, inputs in given.items()}
    for group, answer in expected.items():
        _require_numbers(answer, group)
    loaded = tf.saved_model.load(str(folder))
    for group, inputs in given.items():
        signature = loaded.signatures[group.partition("/")[2]]
        first, second = (_asked(signature, inputs) for _ in range(2))
        for name, value in first.items():
            if not _same(value, second[name], 0.0):
                raise UserError(
                    f"the export gave two different answers ({name}) to the same image; nothing was written"
                )
        _compare(first, expected[group], group, "the export's")
    del loaded
    apart = _apart(folder, given)
    for group, answer in expected.items():
        _compare(apart[f"direct/{group}"], answer, group, "without keras the export's")
        _compare(apart[f"served/{group}"], answer, group, "through a server the export's")


def _require_numbers(answer: Arrays, group: str) -> None:
    for name in sorted(_FINITE & set(answer)):
        if not np.isfinite(answer[name]).all():
            raise UserError(
                f"the run answers a made-up image with {name} that are no finite numbers ({group.partition('/')[2]}); "
                "nothing was written"
            )


def _asked(function: Callable[..., Any], inputs: Arrays) -> Arrays:
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


def _apart(folder: Path, given: Golden) -> dict[str, Arrays]:
    arrays = {f"{group}/{name}": value for group, inputs in given.items() for name, value in inputs.items()}
    with tempfile.TemporaryDirectory() as base:
        asked, found = Path(base) / "given.npz", Path(base) / "found.npz"
        np.savez(asked, **arrays)  # type: ignore[arg-type]  # numpy's own keyword is no array
        said = [sys.executable, "-m", "serving.apart", str(folder), str(asked), str(found)]
        try:
            done = subprocess.run(
                said,
                capture_output=True,
                text=True,
                timeout=60 * _MINUTES,
                check=False,
                env={**os.environ, **_PLAIN_RUN},
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"the export did not answer in {_MINUTES} minutes; nothing was written") from error
        if done.returncode:
            words = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise UserError(f"the export cannot be used apart from this process: {words}; nothing was written")
        with np.load(found, allow_pickle=True) as read:
            answers: dict[str, Arrays] = {}
            for path in read.files:
                group, _, name = path.rpartition("/")
                answers.setdefault(group, {})[name] = read[path]
    return answers


def _compare(found: Arrays, expected: Arrays, group: str, whose: str) -> None:
    signature = group.partition("/")[2]
    if set(found) != set(expected):
        raise UserError(
            f"{whose} {signature} has the outputs {', '.join(sorted(found))}, the run's {', '.join(sorted(expected))}; "
            "nothing was written"
        )
    for name, value in expected.items():
        if not _same(found[name], value, TOLERANCE):
            raise UserError(
                f"{whose} {name} differs from the run's{_by(found[name], value)} ({signature}); nothing was written"
            )


def _same(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if expected.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    return found.shape == expected.shape and bool(
        np.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    )


def _by(found: np.ndarray, expected: np.ndarray) -> str:
    if found.shape != expected.shape:
        return f": its shape is {found.shape}, not {expected.shape}"
    if expected.dtype.kind != "f":
        return f" in {np.mean(found != expected):.3%} of its values"
    return f" by up to {np.nanmax(np.abs(found - expected)):.3g}"
