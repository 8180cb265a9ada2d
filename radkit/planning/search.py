"""The largest patch, and then the largest batch, that a memory budget holds."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from radkit.errors import UserError
from radkit.planning import topology
from radkit.planning.fingerprint import Fingerprint
from radkit.planning.memory import GIB, Prediction
from radkit.planning.topology import Topology

LEAST_BATCH = 2
_MOST_SEEN = 0.05  # of all training voxels, in one step
_LOW_SHARE = 0.25  # of the median image: where a patch covers less, coarser images are planned for, too
_COARSER = 1.03  # by which the spacing grows, step by step
_ALIKE = 2.0  # axes whose spacings differ by less are made coarser together

Predict = Callable[[Topology, int], Prediction]


@dataclass(frozen=True)
class Plan:
    """A network, its batch, and what they take.

    Attributes:
        network: With its patch.
        batch_size: Of a step.
        memory: Predicted for it.
        fingerprint: By which it was planned; its spacing is the plan's.
        most_batch: What 5 % of the training voxels allow, whatever the memory.
    """

    network: Topology
    batch_size: int
    memory: Prediction
    fingerprint: Fingerprint
    most_batch: int

    @property
    def coverage(self) -> float:
        """The patch's share of the median image, at most 1."""
        return min(1.0, math.prod(self.network.patch) / math.prod(self.fingerprint.median_size))

    @property
    def wants_low_resolution(self) -> bool:
        """Whether nnU-Net would train on coarser images, too."""
        return len(self.network.patch) == 3 and self.coverage < _LOW_SHARE


def find(seen: Fingerprint, budget_bytes: int, predict: Predict) -> Plan:
    """Returns the plan for a data set: first as large a patch as two of them leave room for, then as large a batch.

    `predict` is asked as seldom as can be: between its answers memory is taken to go with `Topology.elements`.

    Args:
        seen: The data set.
        budget_bytes: Of the whole program.
        predict: Returns what a network and a batch take.

    Raises:
        UserError: Not even the smallest patch fits.
    """
    network: Topology = topology.first(seen.spacing_mm, seen.median_size)
    told = predict(network, LEAST_BATCH)
    density = told.step / network.elements(seen.num_classes)
    while told.total > budget_bytes:
        network = _next(network, seen, told)
        if told.program + density * network.elements(seen.num_classes) <= budget_bytes:
            told = predict(network, LEAST_BATCH)
            density = told.step / network.elements(seen.num_classes)
    most = max(LEAST_BATCH, round(seen.num_voxels * _MOST_SEEN / math.prod(network.patch)))
    batch, told = _batch(network, told, budget_bytes, most, predict)
    return Plan(network, batch, told, seen, most)


def _next(network: Topology, seen: Fingerprint, told: Prediction) -> Topology:
    found = topology.smaller(network, seen.spacing_mm, seen.median_size)
    if found is None:
        raise UserError(
            f"--memory_gib is too little for a U-Net: the last one looked at, with a batch of {LEAST_BATCH}, takes "
            f"{told.total / GIB:.2f} GiB; give more"
        )
    return found


def _batch(
    network: Topology, told: Prediction, budget_bytes: int, most: int, predict: Predict
) -> tuple[int, Prediction]:
    """Returns the largest batch that fits; memory beyond weights goes with it."""
    room = budget_bytes - told.program - told.variables
    batch = max(LEAST_BATCH, min(most, int(room / max(told.step / LEAST_BATCH, 1.0))))
    while batch > LEAST_BATCH:
        found = predict(network, batch)
        if found.total <= budget_bytes:
            return batch, found
        batch -= 1
    return LEAST_BATCH, told


def low_resolution(plan: Plan) -> Fingerprint:
    """Returns the data set made so coarse that the plan's patch covers a quarter of the median image.

    The finest axes are made coarser first, until all are alike.
    """
    seen, spacing, size = plan.fingerprint, list(plan.fingerprint.spacing_mm), list(plan.fingerprint.median_size)
    while math.prod(plan.network.patch) < _LOW_SHARE * math.prod(size):
        coarsest = max(spacing)
        finer = [axis for axis, mm in enumerate(spacing) if mm * _ALIKE < coarsest] or range(len(spacing))
        for axis in finer:
            spacing[axis] *= _COARSER
            size[axis] /= _COARSER
    return dataclasses.replace(seen, spacing_mm=tuple(spacing), median_size=tuple(round(n) for n in size))
