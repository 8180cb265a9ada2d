"""Federated averaging: one set of weights from several sites' own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import inputs


def fedavg(weights: Sequence[Any] | np.ndarray, n: ArrayLike) -> Any:
    """Returns the mean of the sites' weights, each counted by its number of samples.

    Args:
        weights: One entry a site, all built alike: an array, a list of numbers, a list of arrays (Keras's
            `get_weights()`), or a dict of these by layer.
        n: Number of samples of each site, (sites,). A site with none is left out, whatever its weights are.

    Returns:
        What one site's entry is: arrays stay arrays of their floating dtype (others become float64), lists stay lists.
        Sums are made in float64. nan throughout when no site has samples.

    Raises:
        UserError: No sites, negative counts, or sites whose weights are not built alike.

    Example:
        >>> fedavg([[1.0, 10.0], [3.0, 30.0]], n=[3, 1])
        [1.5, 15.0]

    Source: McMahan et al. 2017, https://arxiv.org/abs/1602.05629, algorithm 1.
    """
    counts = inputs.measurements("n", n)
    inputs.same_length(weights=weights, n=counts)
    if not counts.size or (counts < 0).any():
        raise UserError(f"n must hold a number of samples >= 0 for at least one site, not {counts.tolist()}")
    seen = [site for site in range(counts.size) if counts[site] > 0]
    if not seen:
        return _mean([weights[0]], np.array([np.nan]), "weights")
    return _mean([weights[site] for site in seen], counts[seen] / counts.sum(), "weights")


def _mean(entries: list[Any], shares: np.ndarray, place: str) -> Any:
    """Returns the weighted mean of entries built alike; place names them in messages."""
    first = entries[0]
    if isinstance(first, Mapping):
        _alike([isinstance(entry, Mapping) and sorted(map(str, entry)) for entry in entries], place)
        return {key: _mean([entry[key] for entry in entries], shares, f"{place}[{key!r}]") for key in first}
    if isinstance(first, list | tuple):
        _alike([isinstance(entry, list | tuple) and len(entry) for entry in entries], place)
        return [_mean([entry[i] for entry in entries], shares, f"{place}[{i}]") for i in range(len(first))]
    _alike([np.shape(entry) for entry in entries], place)
    total: Any = sum(np.asarray(entry, dtype=np.float64) * share for entry, share in zip(entries, shares, strict=True))
    if isinstance(first, np.ndarray):
        return total.astype(first.dtype if first.dtype.kind == "f" else np.float64)
    return float(total)


def _alike(forms: list[Any], place: str) -> None:
    for site, form in enumerate(forms):
        if form != forms[0]:
            raise UserError(
                f"{place} must be built alike at each site, but site {site} has {form}, the first {forms[0]}"
            )
