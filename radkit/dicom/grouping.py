"""Which planes make one volume: by grid first, then by what tells images at the same places apart."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from radkit.dicom import geometry
from radkit.dicom.frames import Frame, numbers
from radkit.dicom.geometry import GeometryError, Irregular

# Planes are of one grid when they differ by no more: of a direction cosine, mm between pixels, ms of echo time.
# Compared with a tolerance, not rounded: scanners write the same orientation with jitter in the last digits.
_ORIENTATION, _SPACING, _ECHO = 1e-3, 1e-4, 1e-2
_ALIKE = 1 + 1e-6  # tolerances: 0.7818 less 0.7817 is a little more than 0.0001

# What tells images of one place apart, in the order tried.
_APART = (
    "ImageType", "ComplexImageComponent", "TemporalPositionIdentifier", "DiffusionBValue",
    "DiffusionGradientOrientation", "InversionTime", "FlipAngle", "TriggerTime", "FrameReferenceTime",
    "AcquisitionNumber", "AcquisitionTime", "ContentTime", "DimensionIndexValues",
)  # fmt: skip
_BY_ORDER = "InstanceNumber"


@dataclass(frozen=True)
class Group:
    """The planes of one volume.

    Attributes:
        frames: In no order.
        apart: What sets it apart from the series' other volumes: DICOM keyword to value, as text.
        findings: What a reader should know, in words.
    """

    frames: tuple[Frame, ...]
    apart: dict[str, str]
    findings: tuple[str, ...]


def groups(frames: Sequence[Frame], irregular: Irregular) -> Iterator[Group]:
    """Yields the volumes that planes with a place make up.

    Args:
        frames: Planes of one series, each with position, orientation and spacing.
        irregular: Whether images that are at a place more often than others are refused.

    Raises:
        GeometryError: Images repeat at some places and not at others, and `irregular` is `refuse`.
    """
    grids = _grids(frames)
    said = _differ(grids)
    for grid in grids:
        own: dict[str, str] = {name: grid[0].fact(name) for name in ("EchoTime", "StackID") if name in said}
        found = [f"one of {len(grids)} grids in the series, which differ in {' and '.join(said)}"] if said else []
        for part, apart in _volumes(tuple(grid), geometry_places(grid), irregular):
            yield Group(part, {**own, **apart}, (*found, *_told(grid, part, apart)))


def geometry_places(grid: Sequence[Frame]) -> np.ndarray:
    """Returns a number for each plane of a grid: equal where planes lie at one place."""
    positions = [frame.position_mm or () for frame in grid]
    return geometry.places_along(positions, grid[0].orientation or ())


def _grids(frames: Sequence[Frame]) -> list[list[Frame]]:
    grids: list[tuple[tuple[object, ...], np.ndarray, list[Frame]]] = []
    keys = [_key(frame) for frame in frames]
    last = 0
    # In the order of their values, so that what jitters about the tolerance falls the same whatever the files' names.
    for index in sorted(range(len(frames)), key=lambda i: (str(keys[i][0]), keys[i][1].tolist())):
        exact, measured = keys[index]
        # Most planes are of the grid of the one before.
        for at in (last, *range(len(grids))):
            if at < len(grids) and grids[at][0] == exact and (np.abs(grids[at][1] - measured) <= _ALIKE).all():
                grids[at][2].append(frames[index])
                last = at
                break
        else:
            last = len(grids)
            grids.append((exact, measured, [frames[index]]))
    return [members for _, _, members in sorted(grids, key=lambda g: (g[1].tolist(), str(g[0])))]


def _key(frame: Frame) -> tuple[tuple[object, ...], np.ndarray]:
    echo = _echo(frame)
    exact = (frame.rows, frame.columns, frame.fact("FrameOfReferenceUID"), frame.fact("StackID"), len(echo))
    measured = [
        *(v / _ORIENTATION for v in frame.orientation or ()),
        *(v / _SPACING for v in frame.spacing_mm or ()),
        *(v / _ECHO for v in echo),
    ]
    return exact, np.array(measured)


def _echo(frame: Frame) -> tuple[float, ...]:
    said = frame.fact("EchoTime")
    return (numbers(said, "EchoTime", 1) or ()) if said else ()


def _differ(grids: Sequence[Sequence[Frame]]) -> list[str]:
    """Returns the keywords in which grids differ."""
    if len(grids) < 2:
        return []
    firsts = [grid[0] for grid in grids]
    asked: dict[str, tuple[Sequence[tuple[float, ...] | None], float]] = {
        "ImageOrientationPatient": ([f.orientation for f in firsts], _ORIENTATION),
        "PixelSpacing": ([f.spacing_mm for f in firsts], _SPACING),
        "Rows and Columns": ([(f.rows, f.columns) for f in firsts], 0),
        "EchoTime": ([_echo(f) for f in firsts], _ECHO),
    }
    found = [name for name, (values, tolerance) in asked.items() if _vary(values, tolerance)]
    return [*found, *(name for name in ("FrameOfReferenceUID", "StackID") if len({f.fact(name) for f in firsts}) > 1)]


def _vary(values: Sequence[tuple[float, ...] | None], tolerance: float) -> bool:
    if len({len(v or ()) for v in values}) > 1:
        return True
    spread = np.ptp(np.array(values, float).reshape(len(values), -1), axis=0)
    return bool((spread > tolerance * _ALIKE).any())


def _volumes(
    part: tuple[Frame, ...], places: np.ndarray, irregular: Irregular
) -> Iterator[tuple[tuple[Frame, ...], dict[str, str]]]:
    """Yields a grid's volumes: it whole, or parts at the same places, each with what tells it apart."""
    counts = np.bincount(places)
    if counts.max() == 1:
        yield part, {}
        return
    parts = _by_keyword(part, places, lambda own: _fills(own, len(counts)))
    if parts is None and irregular != "refuse":
        parts = _by_keyword(part, places, lambda own: _nearly_fills(own, len(counts), int(counts.max())))
    if parts is not None:
        keyword, by_value = parts
        for value, members in sorted(by_value.items(), key=lambda item: _number_or_text(item[0])):
            for frames, apart in _volumes(tuple(part[i] for i in members), _dense(places[members]), irregular):
                yield frames, {keyword: value, **apart}
        return
    yield from _by_order(part, places, counts, irregular)


def _range(counts: np.ndarray) -> str:
    return f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else str(counts.max())


def _by_keyword(
    part: Sequence[Frame], places: np.ndarray, fills: Callable[[np.ndarray], bool]
) -> tuple[str, dict[str, list[int]]] | None:
    """Returns the first attribute whose every value fills the places, and where each value is; None: there is none.

    An attribute whose values do not tells slices apart, or a slice is there twice.
    """
    for keyword in _APART:
        by_value: dict[str, list[int]] = defaultdict(list)
        for index, frame in enumerate(part):
            by_value[frame.fact(keyword)].append(index)
        if len(by_value) > 1 and all(fills(places[members]) for members in by_value.values()):
            return keyword, by_value
    return None


def _dense(places: np.ndarray) -> np.ndarray:
    """Returns places numbered anew, without those that nothing is at."""
    return np.unique(places, return_inverse=True)[1]


def _nearly_fills(own: np.ndarray, num_places: int, most: int) -> bool:
    """Tells whether images are at more than half of the places, and less often than in the whole."""
    counts = np.bincount(own, minlength=num_places)
    return bool((counts > 0).mean() > 0.5 and counts.max() < most)


def _fills(own: np.ndarray, num_places: int) -> bool:
    counts = np.bincount(own, minlength=num_places)
    return bool(counts.min() == counts.max())


def _by_order(
    part: tuple[Frame, ...], places: np.ndarray, counts: np.ndarray, irregular: Irregular
) -> Iterator[tuple[tuple[Frame, ...], dict[str, str]]]:
    """Yields the first image at each place, then the second, ...: in the order of InstanceNumber."""
    told = len({(places[i], frame.fact(_BY_ORDER)) for i, frame in enumerate(part)}) == len(part)
    if irregular == "refuse" and not (told and counts.min() == counts.max()):
        repeated = int((counts > (counts.min() if told and counts.min() != counts.max() else 1)).sum())
        raise GeometryError(
            f"{repeated} slice positions occur more than once: {_range(counts)} images at one, "
            "and no attribute tells them apart"
        )
    ranked = sorted(range(len(part)), key=lambda i: (_number_or_text(part[i].fact(_BY_ORDER)), i))
    layers: list[list[Frame]] = [[] for _ in range(counts.max())]
    met = np.zeros(len(counts), int)
    for index in ranked:
        layers[met[places[index]]].append(part[index])
        met[places[index]] += 1
    for number, layer in enumerate(layers, 1):
        yield tuple(layer), {_BY_ORDER: str(number)}


def _told(grid: Sequence[Frame], part: Sequence[Frame], apart: dict[str, str]) -> list[str]:
    found = []
    for keyword in apart:
        if keyword == _BY_ORDER:
            found.append("told from others at its slices' heights by the order of InstanceNumber alone")
        else:
            count = len({frame.fact(keyword) for frame in grid})
            found.append(f"one of {count} that {keyword} tells apart")
    return found


def _number_or_text(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text
