"""What a volume's values are compared by: a sample of them, their histogram, a digest, a small picture."""

import base64

import numpy as np

from radkit.dicom import checks
from radkit.dicom.volumes import Volume

_MOST_SAMPLED = 500_000  # voxels of a volume that stand for its values
# Values fall into as many bins of one width: of HU for CT, else of the logarithm to 2, so that all scanners' fit.
BINS = 64
CT_RANGE = (-1024.0, 3072.0)
LOG_RANGE = (-2.0, 18.0)
LOOK = (6, 8, 8)  # parts of a volume that make its small picture
_LOOK_SCALE = 32.0  # of a deviation, in a byte


def sampled(volume: Volume) -> np.ndarray:
    """Returns some of a volume's modality values, evenly spread over it, (n,) float32; finite ones only."""
    step = max(1, -(-volume.stored.size // _MOST_SAMPLED))
    places = np.arange(0, volume.stored.size, step + (step % 2 == 0))  # an even step would miss every other column
    slices = places // (volume.stored.size // len(volume.stored))
    stored = volume.stored.reshape(-1)[places].astype(np.float32)
    values = stored * volume.slope[slices] + volume.intercept[slices]
    values = values[np.isfinite(values)]
    return values if values.size else np.zeros(1, np.float32)


def histogram(values: np.ndarray, modality: str) -> list[float]:
    """Returns the share of values in each of `BINS` bins; what lies beyond them counts in the outermost."""
    low, high = CT_RANGE if modality == "CT" else LOG_RANGE
    places = values if modality == "CT" else on_log(values)
    counts, _ = np.histogram(np.clip(places, low, high), BINS, (low, high))
    return [round(float(count), 5) for count in counts / len(values)]


def on_log(values: np.ndarray) -> np.ndarray:
    """Returns the signed logarithm to 2 of 1 + the size of each value."""
    signed: np.ndarray = np.sign(values) * np.log2(1 + np.abs(values))
    return signed


def digest(volume: Volume) -> str:
    """Returns what volumes of the same values share; empty for blank ones, of which all are alike."""
    if volume.stored.size == 0 or volume.stored.min() == volume.stored.max():
        return ""
    return checks.digest(volume)


def look(volume: Volume) -> str:
    """Returns a small picture for `looks`: means of 6 x 8 x 8 parts; of few slices, of the middle one.

    Empty where nothing is on it, of colour, and of fewer than 8 pixels a side.
    """
    stored = volume.stored
    if stored.ndim != 3 or min(stored.shape[1:]) < LOOK[1]:
        return ""
    middle = len(stored) // 2
    taken = np.arange(len(stored)) if len(stored) >= LOOK[0] else np.array([middle])
    if taken.size > 4 * LOOK[0]:
        taken = np.linspace(0, len(stored) - 1, 4 * LOOK[0]).astype(int)
    down, right = (max(1, side // 128) for side in stored.shape[1:])
    values = stored[taken, ::down, ::right].astype(np.float32)
    values = values * volume.slope[taken, None, None] + volume.intercept[taken, None, None]
    if not np.isfinite(values).all():
        return ""
    values = np.clip(values, *np.percentile(values, (1, 99)))
    for axis, parts in enumerate(LOOK if len(taken) > 1 else (1, *LOOK[1:])):
        starts = np.arange(parts) * values.shape[axis] // parts
        sizes = np.diff(np.append(starts, values.shape[axis])).reshape([-1 if k == axis else 1 for k in range(3)])
        values = (np.add.reduceat(values, starts, axis=axis) / sizes).astype(np.float32)
    values = values - values.mean()
    if values.std() <= 1e-6:
        return ""
    small = np.clip(np.rint(values / values.std() * _LOOK_SCALE), -127, 127).astype(np.int8)
    return base64.b64encode(small.tobytes()).decode("ascii")


def looks(texts: list[str]) -> np.ndarray:
    """Returns small pictures of one size, (n, parts) float32, each of length 1.

    Args:
        texts: What `look` gave.
    """
    small = np.stack([np.frombuffer(base64.b64decode(text), np.int8) for text in texts]).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    return np.asarray(small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6))
