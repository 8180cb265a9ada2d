"""Parts of images and masks, from one of three sources, which are chosen by what a record is.

1. Its grid is the network's: the part is cut out of the mapped file.
2. It is to be resampled, and its prepared image fits into the memory that the trainer was given: it is prepared once.
3. It does not fit: it is prepared each time.

2 and 3 give the same arrays, so the budget changes the time that an example takes and nothing else.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radkit import config
from radkit.data.feeding import grids, mapped, places
from radkit.errors import UserError

_AT_ONCE = 2  # whole images in the making: each takes some ten times the memory that it does on the disk
_UNCHANGED = {"centre": np.zeros(2, np.float32), "deviation": np.ones((), np.float32)}


@dataclass(frozen=True)
class Preparing:
    """What whole images are prepared by: the functions that evaluation and export use.

    Attributes:
        image: (normalised values (*spatial, 1) float32, spacing_mm) -> (*fed, 1) float32, on the network's grid.
        mask: ((*spatial, 1) uint8, fed sizes) -> (*fed, 1) uint8.
    """

    image: Callable[[np.ndarray, np.ndarray], np.ndarray]
    mask: Callable[[np.ndarray, Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class _Prepared:
    image: np.ndarray
    mask: np.ndarray | None


class Images:
    """The images of some records, by the record's number.

    Attributes:
        fed: Each record's size on the network's grid.
        is_stored: Whether all are on it, so that parts are given as they are stored; else they are given normalised.
    """

    def __init__(
        self, records: Sequence[places.Record], mine: Sequence[int], data: config.Data, preparing: Preparing, gib: float
    ) -> None:
        """Looks at the records' sizes; `mine` are those that parts will be asked of, `gib` is the memory for them."""
        self._records, self._data, self._preparing = records, data, preparing
        self._shards = mapped.Shards()
        self.fed = [_fed_shape(record, data) for record in records]
        self.is_stored = all(self._is_direct(which) for which in range(len(records)))
        self._kept = self._within(mine, gib * 2**30)
        self._prepared: dict[int, _Prepared] = {}
        self._at_work = threading.Semaphore(_AT_ONCE)
        self._figures: dict[int, Mapping[str, np.ndarray]] = {}

    def part(self, which: int, low: Sequence[int], region: Sequence[int]) -> dict[str, np.ndarray]:
        """Returns `image`, `mask` where there are masks, and `slope`, `intercept`, `centre`, `deviation`.

        The normalised value is (image * slope + intercept - centre[0] - centre[1]) / deviation, or that within the
        window. What lies outside of the image is 0 as stored; of what is given normalised it has no meaning.

        Raises:
            UserError: The record is damaged.
        """
        num_slices = region[0] if self._data.kind == "volume" else 1
        ones = np.ones(num_slices, np.float32)
        as_it_is = {"slope": ones, "intercept": 0 * ones, **_UNCHANGED}
        if not self._is_direct(which):
            prepared = self._prepare(which)
            image, mask, mapping = prepared.image, prepared.mask, as_it_is
        else:
            image, mask = self._shards.array(self._records[which], "image"), self.mask(which)
            mapping = self._mapping(which, low[0], num_slices)
        part = grids.cut(image, low, region)
        if self._is_direct(which) and not self.is_stored:
            part, mapping = self._normalised(part, mapping), as_it_is
        found = {"image": part, **mapping}
        return found if mask is None else {**found, "mask": grids.cut(mask, low, region)}

    def mask(self, which: int) -> np.ndarray | None:
        """Returns a record's whole mask on the network's grid; None where there are none."""
        if not self._data.mask_labels:
            return None
        return self._shards.array(self._records[which], "mask") if self._is_direct(which) else self._prepare(which).mask

    def _is_direct(self, which: int) -> bool:
        return self.fed[which] == self._records[which].arrays["image"].shape[:-1]

    def _within(self, mine: Sequence[int], num_bytes: float) -> frozenset[int]:
        """Returns the records that are kept once they are prepared: the first ones that fit."""
        a_voxel = 4 + bool(self._data.mask_labels)
        wanted = [which for which in mine if not self._is_direct(which)]
        sizes = np.cumsum([np.prod(self.fed[which], dtype=np.int64) * a_voxel for which in wanted])
        return frozenset(which for which, size in zip(wanted, sizes) if size <= num_bytes)

    def _prepare(self, which: int) -> _Prepared:
        if which in self._prepared:
            return self._prepared[which]
        with self._at_work:
            if which in self._prepared:  # by another thread in the meantime
                return self._prepared[which]
            record = self._records[which]
            stored = self._shards.array(record, "image")
            values = self._normalised(stored, self._mapping(which, 0, len(stored)))
            image, mask = self._preparing.image(values, record.values["spacing_mm"]), None
            if self._data.mask_labels:
                mask = self._preparing.mask(self._shards.array(record, "mask"), self.fed[which])
            prepared = _Prepared(image, mask)
            if which in self._kept:
                self._prepared[which] = prepared
            return prepared

    def _mapping(self, which: int, first: int, num_slices: int) -> dict[str, np.ndarray]:
        told = self._records[which].values
        slices = np.clip(np.arange(first, first + num_slices), 0, len(told["rescale_slope"]) - 1)
        at = slices if self._data.kind == "volume" else np.zeros(1, np.intp)
        return {"slope": told["rescale_slope"][at], "intercept": told["rescale_intercept"][at], **self._of_whole(which)}

    def _of_whole(self, which: int) -> Mapping[str, np.ndarray]:
        """Returns `centre` and `deviation` of the whole image; 0 and 1 where it is not normalised by them."""
        if self._data.normalise != "zscore":
            return _UNCHANGED
        if which not in self._figures:
            record = self._records[which]
            told = record.values["rescale_slope"], record.values["rescale_intercept"]
            centre, deviation = mean_and_deviation(self._shards.array(record, "image"), *told)
            self._figures[which] = {"centre": centre, "deviation": deviation}
        return self._figures[which]

    def _normalised(self, part: np.ndarray, mapping: dict[str, np.ndarray]) -> np.ndarray:
        shape = (-1,) + (1,) * (part.ndim - 1)
        values: np.ndarray = part.astype(np.float32)  # one array from here on: volumes are large
        values *= mapping["slope"].reshape(shape)
        values += mapping["intercept"].reshape(shape)
        if self._data.normalise == "window":
            low, high = (np.float32(edge) for edge in self._data.window)
            values -= low
            values /= high - low
            np.clip(values, 0, 1, out=values)
            values *= 2
            values -= 1
        elif self._data.normalise == "zscore":
            values -= mapping["centre"][0]
            values -= mapping["centre"][1]
            values /= mapping["deviation"]
        return values


def mean_and_deviation(stored: np.ndarray, slope: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of an image's modality values, float32: (2,), the mean and what rounding it left; ().

    The deviation is at least 1e-6. That of a constant image is infinite: it becomes 0, even where another processor
    computes its values to another last bit. The sums do not depend on the number of threads.

    Args:
        stored: (slices, rows, columns, 1) or (rows, columns, 1), read slice by slice.
        slope: (slices,), or (1,).
        intercept: As slope.
    """
    slices = stored if stored.ndim == 4 else stored[None]
    origin = np.float64(np.float32(slices[0].flat[0]) * slope[0] + intercept[0])
    total = squares = 0.0
    for image, factor, offset in zip(slices, slope, intercept):
        # From some value of the image on: squares of large offsets would lose digits.
        values = (image.astype(np.float32) * factor + offset).astype(np.float64).reshape(-1) - origin
        total += float(values.sum())
        squares += float(np.square(values, out=values).sum())
    mean = total / stored.size
    deviation = max(squares / stored.size - mean * mean, 0.0) ** 0.5
    rounded = np.float32(origin + mean)
    centre = np.array([rounded, origin + mean - np.float64(rounded)], np.float32)
    return centre, np.asarray(np.inf if deviation == 0 else max(deviation, 1e-6), np.float32)


def _fed_shape(record: places.Record, data: config.Data) -> tuple[int, ...]:
    spacing = record.values["spacing_mm"]
    if data.kind == "volume" and data.spacing_mm and not (spacing > 0).all():
        raise UserError(
            f"record {record.uid} has spacing_mm {spacing.tolist()}, and data.spacing_mm asks for resampling by it; "
            "leave the series out, or set data.spacing_mm=()"
        )
    return grids.fed_shape(record.arrays["image"].shape[:-1], spacing, data)
