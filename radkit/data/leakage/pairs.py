"""Pairs of records that show one image: found by their pixels' sums, or by laying one on the other."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radkit.data.leakage import alignment, candidates, thumbnails
from radkit.data.leakage.alignment import Fit
from radkit.data.leakage.fingerprints import Row, Store

IDENTICAL, NEAR = "identical_pixels", "near_identical"
_MOST_OF_ONE = 200  # pairs that are listed of one image, were it there a thousand times
_STRAIGHT = 1.0  # degrees, and per cent of size, below which nothing is said


@dataclass(frozen=True)
class Pair:
    """Two records that show one image.

    Attributes:
        kind: `identical_pixels` or `near_identical`.
        first: Number of one record.
        second: Number of the other.
        score: How sure it is, see `alignment.Fit.score`; 0 of identical pixels.
        agreeing: Places that agree.
        share: Of what both show, how much correlates.
        how: What was done to the first, in words.
    """

    kind: str
    first: int
    second: int
    score: float = 0.0
    agreeing: int = 0
    share: float = 0.0
    how: str = ""


def apart(rows: Sequence[Row]) -> np.ndarray:
    """Returns a number for each record; those of one patient on one side have the same and are not compared."""
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault((row["side"], row["patient_id"]), len(numbers)) for row in rows], np.int64)


def identical(rows: Sequence[Row]) -> list[Pair]:
    """Returns pairs whose stored pixels are the same; images of one value are left out."""
    together: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row["places"][0] or np.prod(row["shape"]):
            together[row["pixels"]].append(number)
    of = apart(rows)
    found = []
    for members in together.values():
        pairs = [(a, b) for n, a in enumerate(members) for b in members[n + 1 :] if of[a] != of[b]]
        found += [Pair(IDENTICAL, a, b) for a, b in pairs[:_MOST_OF_ONE]]
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def likely(rows: Sequence[Row], store: Store) -> list[tuple[int, int]]:
    """Returns pairs that are worth laying on each other: planes with planes, volumes with volumes."""
    found: list[tuple[int, int]] = []
    of = apart(rows)
    same = {(pair.first, pair.second) for pair in identical(rows)}
    for rank in (2, 3):
        numbers = [n for n, row in enumerate(rows) if len(row["shape"]) == rank and row["places"][0]]
        places = [store.keypoints(n) for n in numbers]
        if not places:
            continue
        owners = np.repeat(np.arange(len(numbers)), [len(p.scales) for p in places])
        descriptors = np.concatenate([p.descriptors for p in places])
        scales = np.concatenate([p.scales for p in places])
        chosen = candidates.find(descriptors, scales, owners, of[numbers])
        found += [(numbers[a], numbers[b]) for a, b in chosen]
    return sorted(set(found) - same)


def judged(pairs: Sequence[tuple[int, int]], store: Store) -> list[Pair]:
    """Returns those of the pairs that show one image."""
    found = []
    for first, second in pairs:
        images = [thumbnails.levelled(store.thumbnail(n)) for n in (first, second)]
        fit = alignment.fit(images[0], images[1], store.keypoints(first), store.keypoints(second))
        if fit is not None and fit.is_copy:
            score, share = round(fit.score, 1), round(fit.share, 2)
            found.append(Pair(NEAR, first, second, score, fit.agreeing, share, in_words(fit)))
    return found


def in_words(fit: Fit) -> str:
    """Returns what a map does to the first image: turned, mirrored, inverted; sizes are of thumbnails, and unsaid."""
    linear = fit.matrix[:, :-1]
    size = np.abs(np.linalg.det(linear)) ** (1 / len(linear))
    turn, _, after = np.linalg.svd(linear)
    turn = turn @ after
    mirrored = np.linalg.det(turn) < 0
    if mirrored:
        turn = turn @ np.diag([*[1.0] * (len(turn) - 1), -1.0])  # left and right
    cosine = (np.trace(turn) - (len(turn) - 2)) / 2
    degrees = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    said = [f"turned by {degrees:.0f} degrees"] if degrees >= _STRAIGHT else []
    said += ["mirrored"] if mirrored else []
    said += [f"zoomed {size:.2f}x"] if abs(size - 1) >= _STRAIGHT / 100 * 2 else []
    said += ["inverted"] if fit.likeness < 0 else []
    return ", ".join(said) or "in place"
