"""What a volume's values are compared by: a sample of them, their histogram, a digest."""

import numpy as np

from radkit.dicom import checks
from radkit.dicom.volumes import Volume

_MOST_SAMPLED = 500_000  # voxels of a volume that stand for its values
# Values fall into as many bins of one width: of HU for CT, else of the logarithm to 2, so that all scanners' fit.
BINS = 64
CT_RANGE = (-1024.0, 3072.0)
LOG_RANGE = (-2.0, 18.0)


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
