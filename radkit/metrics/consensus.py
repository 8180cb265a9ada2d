"""One mask of several readers' masks: by votes, and by STAPLE.

Both depend on a voxel only through who marked it what, its pattern of votes; so the patterns are counted once, and all
that follows is reckoned on these few instead of on millions of voxels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError

_BLOCK = 1 << 18  # voxels at once: counting and looking up make a copy of 8 bytes each
_MOST_CODES = 1 << 16  # beyond it, the codes that occur are numbered anew
_MOST_COUNTED = 1 << 22  # codes that are counted in a table; beyond it they are sorted
_CHANGE = 1e-7  # of a sensitivity or specificity, below which ITK's filter has converged
_CHANGE_OF_LABELS = 1e-5  # of an entry of a confusion matrix, ITK's default
_MOST_ITERATIONS = 100_000
_MOST_LABELS = 255


@dataclass(frozen=True)
class _Votes:
    """The patterns of votes of an image.

    Attributes:
        votes: (patterns, readers) uint8: what each reader said.
        counts: (patterns,) float64: voxels of each.
        codes: The image's shape, unsigned: each voxel's pattern, by its code.
        present: (patterns,) Codes of the patterns, rising.
    """

    votes: np.ndarray
    counts: np.ndarray
    codes: np.ndarray
    present: np.ndarray

    def image(self, values: np.ndarray) -> np.ndarray:
        """Returns one value a pattern as an image."""
        return _looked_up(self.codes, self.present, values)


def majority_vote(readers: Iterable[ArrayLike]) -> dict[str, Any]:
    """Returns what more than half of the readers marked.

    Args:
        readers: One mask a reader, 0 and 1, all of one shape, (z, y, x) or (y, x).

    Returns:
        n_voxels; mask, uint8. A voxel that exactly half of them marked is 0, as in ITK's label voting with 0 for
        undecided voxels.

    Raises:
        UserError: No reader, differing shapes, or other values than 0 and 1.

    Example:
        >>> majority_vote([[[0, 1, 1]], [[0, 1, 0]], [[1, 1, 0]]])["n_voxels"]
        1
    """
    masks = _binary(readers)
    marks = np.zeros(masks[0].shape, np.min_scalar_type(len(masks)))
    for mask in masks:
        marks += mask
    inside = marks > len(masks) // 2
    return {"n_voxels": int(np.count_nonzero(inside)), "mask": inside.view(np.uint8)}


def staple(readers: Iterable[ArrayLike]) -> dict[str, Any]:
    """Returns where the truth is, each reader weighed by how often right, as the masks themselves tell.

    Prior, first guess and end are those of ITK's filter: the prior is the share of all marks in all voxels, the first
    guess the mean mask, and it ends when no sensitivity or specificity moves by more than 1e-7. Where the truth turns
    out to be empty (or to fill the image), ITK's filter says nan at each voxel; here the voxels are 0 (or 1), and only
    what is not defined is nan: sensitivities (or specificities).

    Args:
        readers: As of `majority_vote`. The prior depends on how much background there is: crop all alike, or none.

    Returns:
        n_voxels_p50 (voxels whose probability is at least 0.5), sum_prob, sensitivity and specificity (of each
        reader, against the hidden truth), iterations, and probability, float32 of the masks' shape.

    Raises:
        UserError: As `majority_vote`.

    Example:
        >>> staple([[[0, 1, 1, 0]], [[0, 1, 1, 0]], [[0, 1, 0, 1]]])["n_voxels_p50"]
        2

    Source: Warfield, Zou and Wells 2004, https://doi.org/10.1109/TMI.2004.828354; itk::STAPLEImageFilter.
    """
    found = _votes(_binary(readers), 2)
    truth, quality, iterations = _expected(found.votes == 1, found.counts)
    shown = truth.astype(np.float32)
    return {
        "n_voxels_p50": int(found.counts[shown >= 0.5].sum()),
        "sum_prob": float(found.counts @ truth),
        "sensitivity": quality[0].tolist(),
        "specificity": quality[1].tolist(),
        "iterations": iterations,
        "probability": found.image(shown),
    }


def majority_labels(readers: Iterable[ArrayLike], num_labels: int) -> np.ndarray:
    """Returns for each voxel the label that most readers gave it; background is a label, too.

    Args:
        readers: One label mask a reader, integers 0 (background) to `num_labels`, all of one shape.
        num_labels: 1 to 255.

    Returns:
        uint8 of the masks' shape. Where several labels have the most votes, the voxel is 0: no reader's word is
        preferred. This is ITK's label voting with 0 for undecided voxels.

    Raises:
        UserError: As `majority_vote`, or a label above `num_labels`.
    """
    found = _votes(_labelled(readers, num_labels), num_labels + 1)
    return found.image(_most_voted(found, num_labels + 1).astype(np.uint8))


def staple_labels(readers: Iterable[ArrayLike], num_labels: int) -> np.ndarray:
    """Returns for each voxel its most probable label, each reader weighed by how labels are confused.

    With one label it is `staple` at a probability of 0.5. With several, prior and end are those of ITK's filter; the
    first guess is `majority_labels` without its undecided voxels (ITK's filter writes those beside the matrix), so
    that very poor readers may lead the two to different answers.

    Args:
        readers: As of `majority_labels`.
        num_labels: 1 to 255.

    Returns:
        uint8 of the masks' shape; 0 where several labels are equally probable.

    Raises:
        UserError: As `majority_labels`.

    Source: Rohlfing, Russakoff and Maurer 2004, https://doi.org/10.1109/TMI.2004.830803;
    itk::MultiLabelSTAPLEImageFilter.
    """
    found = _votes(_labelled(readers, num_labels), num_labels + 1)
    if num_labels == 1:
        best = _expected(found.votes == 1, found.counts)[0].astype(np.float32) >= 0.5
    else:
        best = _most_probable(found, num_labels + 1)
    return found.image(best.astype(np.uint8))


def _expected(marked: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], int]:
    """Returns each pattern's probability, readers' sensitivities and specificities, and the iterations it took."""
    truth = marked.mean(axis=1)
    prior = float(counts @ truth) / counts.sum()
    before = np.full((2, marked.shape[1]), -10.0)
    for iteration in range(_MOST_ITERATIONS):
        inside, outside = counts * truth, counts * (1 - truth)
        with np.errstate(invalid="ignore"):  # 0 / 0 where no truth, or nothing but truth, is left
            sensitivity = (inside @ marked) / inside.sum()
            specificity = (outside @ ~marked) / outside.sum()
        now = np.stack([sensitivity, specificity])
        if np.isnan(now).any():
            break
        yes = prior * np.where(marked, sensitivity, 1 - sensitivity).prod(axis=1)
        no = (1 - prior) * np.where(marked, 1 - specificity, specificity).prod(axis=1)
        truth = yes / (yes + no)
        if iteration and (np.abs(now - before) <= _CHANGE).all():
            break
        before = now
    return truth, (now[0], now[1]), iteration + 1


def _most_voted(found: _Votes, num_values: int) -> np.ndarray:
    """Returns the label of most votes of each pattern; 0 where there are several such."""
    given = np.stack([(found.votes == value).sum(axis=1) for value in range(num_values)], axis=1)
    return _highest(given)


def _highest(scores: np.ndarray) -> np.ndarray:
    """Returns the place of each row's highest score; 0 where several are equally high."""
    alone = (scores == scores.max(axis=1, keepdims=True)).sum(axis=1) == 1
    return np.where(alone, scores.argmax(axis=1), 0)


def _most_probable(found: _Votes, num_values: int) -> np.ndarray:
    """Returns the most probable label of each pattern; 0 where several are equally probable."""
    num_readers = found.votes.shape[1]
    said = np.stack([np.bincount(v, found.counts, num_values) for v in found.votes.T])  # (readers, label said)
    log_prior = _log(said.sum(axis=0) / said.sum())
    given = np.stack([(found.votes == value).sum(axis=1) for value in range(num_values)], axis=1)
    top = given == given.max(axis=1, keepdims=True)
    truth = np.where(top.sum(axis=1, keepdims=True) == 1, top, 0.0)
    before = np.full((num_readers, num_values, num_values), -10.0)
    for _ in range(_MOST_ITERATIONS):
        now = _confusion(found, truth, num_values)
        scores = log_prior + sum(_log(now[k])[found.votes[:, k]] for k in range(num_readers))
        if np.abs(now - before).max() < _CHANGE_OF_LABELS:
            break
        truth, before = _share(scores), now
    return _highest(_share(scores))


def _confusion(found: _Votes, truth: np.ndarray, num_values: int) -> np.ndarray:
    """Returns (readers, label said, true label): how often each reader says what, given the truth."""
    weights = found.counts[:, None] * truth
    matrices = []
    for votes in found.votes.T:
        matrix = np.zeros((num_values, num_values))
        np.add.at(matrix, votes, weights)
        total = matrix.sum(axis=0)
        matrices.append(matrix / np.where(total, total, 1))
    return np.stack(matrices)


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logs: np.ndarray = np.log(values)
    return logs


def _share(scores: np.ndarray) -> np.ndarray:
    """Returns probabilities of rows of logarithms; all 0 where no label is possible."""
    highest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    total = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / np.where(total, total, 1))


def _votes(masks: list[np.ndarray], num_values: int) -> _Votes:
    """Returns the patterns of votes: a pattern's code is a number, one digit a reader.

    Where more readers would make too many codes, those that occur are numbered anew before it goes on.
    """
    codes, votes = np.zeros(masks[0].shape, np.uint8), np.zeros((1, 0), np.uint8)
    possible, waiting = 1, 0
    for left, mask in zip(range(len(masks) - 1, -1, -1), masks):
        possible, waiting = possible * num_values, waiting + 1
        codes = codes.astype(np.min_scalar_type(max(possible - 1, num_values)), copy=False)
        codes *= num_values
        codes += mask
        if left and possible * num_values <= _MOST_CODES:
            continue
        present, counts = _counted(codes, possible)
        votes, waiting = _digits(present, votes, waiting, num_values), 0
        if left:
            codes = _looked_up(codes, present, np.arange(len(present), dtype=np.min_scalar_type(len(present) - 1)))
            possible = len(present)
    return _Votes(votes, counts.astype(np.float64), codes, present)


def _digits(present: np.ndarray, votes: np.ndarray, waiting: int, num_values: int) -> np.ndarray:
    """Returns what each reader said in the patterns of these codes: `votes` of the first, then the last digits."""
    rest = present
    said: list[np.ndarray] = []
    for _ in range(waiting):
        rest, digit = np.divmod(rest, num_values)
        said.insert(0, digit.astype(np.uint8))
    return np.concatenate([votes[rest], np.stack(said, axis=1)], axis=1)


def _counted(codes: np.ndarray, possible: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the codes that occur, and how often each."""
    if possible > _MOST_COUNTED:
        present, found = np.unique(codes, return_counts=True)
        return present.astype(np.int64), found
    counts = np.zeros(possible, np.int64)
    flat = codes.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        counts += np.bincount(flat[start : start + _BLOCK], minlength=possible)
    present = np.flatnonzero(counts)
    return present, counts[present]


def _looked_up(codes: np.ndarray, present: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the values that belong to the codes; value n is that of code n of `present`."""
    in_table = int(present[-1]) < _MOST_COUNTED
    table = values
    if in_table:
        table = np.zeros(int(present[-1]) + 1, values.dtype)
        table[present] = values
    image, flat = np.empty(codes.size, values.dtype), codes.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        image[start : start + _BLOCK] = table[block if in_table else np.searchsorted(present, block)]
    return image.reshape(codes.shape)


def _binary(readers: Iterable[ArrayLike]) -> list[np.ndarray]:
    return _checked(readers, 1, "0 and 1 only; a label mask goes to majority_labels or staple_labels")


def _labelled(readers: Iterable[ArrayLike], num_labels: int) -> list[np.ndarray]:
    if not 1 <= num_labels <= _MOST_LABELS:
        raise UserError(f"num_labels must be 1 to {_MOST_LABELS}, not {num_labels}")
    return _checked(readers, num_labels, f"whole numbers from 0 to {num_labels}")


def _checked(readers: Iterable[ArrayLike], highest: int, expected: str) -> list[np.ndarray]:
    """Returns readers' masks as uint8 of one shape, or says what is wrong with them."""
    masks = [np.asarray(reader) for reader in readers]
    if not masks:
        raise UserError("readers is empty; at least one reader's mask is expected")
    shapes = list(dict.fromkeys(mask.shape for mask in masks))
    if len(shapes) > 1:
        raise UserError(f"readers must be masks of one shape, not {', '.join(map(str, shapes[:3]))}")
    if not masks[0].size or masks[0].ndim not in (2, 3):
        raise UserError(f"readers must be masks, (z, y, x) or (y, x), with voxels in them, not of shape {shapes[0]}")
    return [_whole(mask, highest, f"reader {number}", expected) for number, mask in enumerate(masks, start=1)]


def _whole(mask: np.ndarray, highest: int, who: str, expected: str) -> np.ndarray:
    if mask.dtype.kind not in "biuf":
        raise UserError(f"{who}'s mask must hold {expected}; it holds no numbers")
    if mask.dtype == np.uint8:  # the usual case, without copies
        wrong = mask > highest
    elif mask.dtype == bool:
        return mask.view(np.uint8)
    else:
        with np.errstate(invalid="ignore"):
            wrong = ~((mask >= 0) & (mask <= highest) & (mask == np.floor(mask)))
    if wrong.any():
        raise UserError(f"{who}'s mask must hold {expected}; {int(wrong.sum())} of {mask.size} voxels do not")
    return mask.astype(np.uint8, copy=False)
