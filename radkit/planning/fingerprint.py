"""What a plan goes by: spacing, sizes and intensities of the training records, as `radkit statistics` wrote them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radkit.errors import UserError


@dataclass(frozen=True)
class Fingerprint:
    """A data set, as a plan sees it.

    Attributes:
        spacing_mm: To resample to, slices first; of radiographs, which are fitted into a size, 1 on both axes.
        median_size: Voxels of the images' content at that spacing.
        num_records: Of training.
        num_classes: Channels of the network's output, background included.
        window: The 0.5th and 99.5th percentile of the foreground's modality values; None where nobody measured them.
    """

    spacing_mm: tuple[float, ...]
    median_size: tuple[float, ...]
    num_records: int
    num_classes: int
    window: tuple[float, float] | None = None

    @property
    def num_voxels(self) -> float:
        """Of all training images together, about."""
        total = float(self.num_records)
        for size in self.median_size:
            total *= size
        return total


def read(found: Mapping[str, Any], *, is_volume: bool, num_classes: int) -> Fingerprint:
    """Returns the fingerprint that `statistics.json` holds.

    Args:
        found: What the file says.
        is_volume: Whether records are volumes, which are resampled, or radiographs, which are fitted into a size.
        num_classes: Channels of the network's output.

    Raises:
        UserError: There are no training records, or volumes whose spacing nobody knows.
    """
    print_of, train = found.get("fingerprint") or {}, found.get("train") or {}
    if not print_of or not train.get("records"):
        raise UserError(
            "the statistics are of no training records (fingerprint is empty); convert a data set with a training "
            "split and run radkit statistics again"
        )
    if is_volume and "target_spacing_mm" not in print_of:
        raise UserError(
            "the statistics know no spacing_mm of the volumes; a plan resamples by it: convert them with it"
        )
    if is_volume:
        spacing, size = print_of["target_spacing_mm"], print_of["median_size_at_target_spacing"]
    else:
        size = print_of["median_size"]
        spacing = [1.0] * len(size)
    rank = 3 if is_volume else 2
    if len(size) != rank or len(spacing) != rank or min(size) < 1:
        raise UserError(f"the statistics give a median size of {size}; {rank} sizes of 1 or more were expected")
    return Fingerprint(
        tuple(float(mm) for mm in spacing), tuple(float(n) for n in size), int(train["records"]), num_classes,
        _window(print_of.get("foreground_intensity") or {}),
    )  # fmt: skip


def _window(looked: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = (looked.get(name) for name in ("percentile_00_5", "percentile_99_5"))
    if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
        return float(low), float(high)
    return None
