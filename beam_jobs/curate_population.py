"""The series beside one another: the same images under two names, and what is unlike the rest of its modality."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_jobs import curate_series, curate_values
from radkit.dicom.findings import Finding

LEAST = 20  # series of a modality from which on one can be unlike the others
_FAR = 3.0  # times the middle half's width, beyond it: Tukey's outer fence
_LEAST_WIDTH = 0.06  # of logarithms: where nearly all are alike, a fifth more is far
_RARE = 0.05  # of a modality's series: what more of them share is a protocol of its own
_NAMED = 6  # series that a finding names, and one more
# Turned round, an image is the opposite of what the others have in common. Of 6 left ventricles, lungs or hippocampi,
# drawn by chance, none correlates with the other 5 by less than -0.25; all together it is 0.
LEAST_LOOKS = 6
_OPPOSITE, _IN_COMMON = -0.35, 0.5
_FEW = 0.1  # of the series: more of them are another kind of images

Row = curate_series.Row


@dataclass(frozen=True)
class Feature:
    """What series are compared by.

    Attributes:
        name: As the page says it.
        unit: Of its values.
        of: Returns a series' value; None where it has none.
        on_axis: Maps a value to where its distances are alike everywhere.
    """

    name: str
    unit: str
    of: Callable[[Row], float | None]
    on_axis: Callable[[float], float]


@dataclass(frozen=True)
class Outlier:
    """A series that stands out."""

    number: int
    modality: str
    feature: Feature
    value: float
    usual: tuple[float, float]  # in which the middle half lies

    @property
    def text(self) -> str:
        """What stands out, in words."""
        unit = f" {self.feature.unit}" if self.feature.unit else ""
        low, high = self.usual
        return (
            f"{self.feature.name} {self.value:.4g}{unit}; half of the {self.modality} series: {low:.4g} to {high:.4g}"
        )


def _step(place: int) -> Callable[[Row], float | None]:
    return lambda row: (row.get("spacing_mm") or [None] * 3)[place]


def _middle(row: Row) -> float | None:
    return row["values"][1] if "values" in row else None


def _log(value: float) -> float:
    return math.log(max(value, 1e-6))


def _signed_log(value: float) -> float:
    return float(curate_values.on_log(np.asarray(value)))


GEOMETRY = (
    Feature("pixel spacing", "mm", _step(1), _log),
    Feature("slice spacing", "mm", _step(0), _log),
    Feature("number of slices", "", lambda row: row.get("num_slices"), _log),
    Feature("slice thickness", "mm", lambda row: row["thickness_mm"] if "num_slices" in row else None, _log),
)
VALUES = Feature("median value", "", _middle, _signed_log)


def outliers(rows: Sequence[Row]) -> list[Outlier]:
    """Returns what is far from the others of its modality, by series.

    Source: Tukey, Exploratory Data Analysis, 1977, 2E (outer fences).
    """
    by_modality: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_modality[row["modality"]].append(row)
    found = [o for group in by_modality.values() for feature in (*GEOMETRY, VALUES) for o in _far(group, feature)]
    return sorted(found, key=lambda outlier: (outlier.number, outlier.feature.name))


def _far(group: Sequence[Row], feature: Feature) -> Iterator[Outlier]:
    told = [(row, value) for row in group if (value := feature.of(row)) is not None]
    if len(told) < LEAST:
        return
    places = np.array([feature.on_axis(value) for _, value in told])
    low, high = np.percentile(places, [25, 75])
    room = _FAR * max(high - low, _LEAST_WIDTH)
    far = (places < low - room) | (places > high + room)
    if far.mean() > _RARE:
        return
    usual = tuple(float(v) for v in np.percentile([value for _, value in told], [25, 75]))
    for place in np.flatnonzero(far):
        row, value = told[place]
        yield Outlier(row["number"], row["modality"], feature, value, (usual[0], usual[1]))


def duplicates(rows: Sequence[Row]) -> dict[int, list[Finding]]:
    """Returns findings of volumes that several series hold, by the series' number."""
    holders: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for digest in sorted(set(row.get("digests", ()))):
            holders[digest].append(row)
    found: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for held in holders.values():
        if len(held) > 1:
            for row, name, numbers in _shared(held):
                found[row["number"]][name] |= numbers
    return {
        number: [Finding(name, _told(numbers)) for name, numbers in sorted(kinds.items())]
        for number, kinds in sorted(found.items())
    }


def _shared(held: Sequence[Row]) -> Iterator[tuple[Row, str, set[int]]]:
    """Yields each series with some of the others that hold the same: of its own patient, and of others."""
    by_patient: dict[str, list[int]] = defaultdict(list)
    for row in held:
        by_patient[row["patient_id"]].append(row["number"])
    # A few of each patient are enough to name some, and thousands of copies do not take the square of their number.
    few = sorted((number, patient) for patient, all_of in by_patient.items() for number in sorted(all_of)[:_NAMED])
    for row in held:
        patient = row["patient_id"]
        own = set(sorted(by_patient[patient])[: _NAMED + 1]) - {row["number"]}
        foreign = {number for number, whose in few[: 2 * _NAMED] if whose != patient}
        if own:
            yield row, "repeated_images", own
        if foreign:
            yield row, "duplicate_images", foreign


def _told(numbers: set[int]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[: _NAMED - 1]))
    return f"the pixels are those of series {shown}{' and others' if len(numbers) >= _NAMED else ''}"


def masks(rows: Sequence[Row]) -> dict[int, list[Finding]]:
    """Returns findings of masks unlike the other cases', by the series' number."""
    cases = {str(row["number"]): row["mask_features"] for row in rows if row.get("mask_features")}
    if not cases:
        return {}
    from radkit.dicom import plausible  # SciPy

    found: dict[int, list[Finding]] = defaultdict(list)
    for number, finding in plausible.outliers(cases):
        found[int(number)].append(finding)
    return dict(found)


def turned(rows: Sequence[Row]) -> dict[int, list[Finding]]:
    """Returns findings of images that are the opposite of the others of their modality, by the series' number.

    Where images have little in common (several parts of the body), nothing is said.
    """
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("look"):
            groups[row["modality"], len(row["look"])].append(row)
    found: dict[int, list[Finding]] = {}
    for (modality, _), group in sorted(groups.items()):
        if len(group) < LEAST_LOOKS:
            continue
        alike = _alike(curate_values.looks([row["look"] for row in group]))
        over = np.flatnonzero(alike < _OPPOSITE)
        if np.median(alike) < _IN_COMMON or len(over) > max(1, _FEW * len(group)):
            continue
        for place in over:
            said = f"dark is where it is bright in the other {modality} series (correlation {alike[place]:.2f})"
            found[group[place]["number"]] = [Finding("inverted", said)]
    return found


def _alike(looks: np.ndarray) -> np.ndarray:
    """Returns how each picture correlates with the mean of the others."""
    others = looks.sum(axis=0) - looks
    return np.asarray((looks * others).sum(axis=1) / np.maximum(np.linalg.norm(others, axis=1), 1e-6))


def share_by_bin(rows: Sequence[Row]) -> list[float]:
    """Returns the mean of series' histograms."""
    held: list[Any] = [row["histogram"] for row in rows if "histogram" in row]
    return [float(v) for v in np.mean(held, axis=0)] if held else []
