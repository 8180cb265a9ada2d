"""One training example by its number: its record, the patch of it, and what is cut out, as arrays of fixed sizes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from radkit import config
from radkit.boxes import checking
from radkit.data import clinical
from radkit.data.feeding import balance, grids, images, order, patches, places
from radkit.errors import UserError

# What of a record the examples are made of.
WANTED = (
    "image", "mask", "label", "event", "boxes", "box_labels", "lesion_ids", "spacing_mm", "rescale_slope",
    "rescale_intercept",
)  # fmt: skip

_TURN = 20  # what a number of a step is drawn for; see `order` and `patches` for the others


@dataclass(frozen=True)
class Share:
    """Which part of the work is this host's."""

    host: int = 0
    num_hosts: int = 1

    def of_batch(self, batch_size: int) -> int:
        """Returns how many examples of a batch are this host's.

        Raises:
            UserError: There is no such host, or the batch does not divide by their number.
        """
        if not 0 <= self.host < self.num_hosts:
            raise UserError(f"host must be 0 to {self.num_hosts - 1}, not {self.host}")
        if batch_size % self.num_hosts:
            raise UserError(
                f"trainer.batch_size is {batch_size}, which does not divide by the number of hosts, {self.num_hosts}"
            )
        return batch_size // self.num_hosts


class Examples:
    """A data set's training examples by number; see the module's docstring.

    Attributes:
        region: Voxels a side that are cut out around a patch.
        is_stored: Whether images come as they are stored; else normalised.
    """

    def __init__(
        self,
        records: Sequence[places.Record],
        experiment: config.Experiment,
        preparing: images.Preparing,
        region_of: Callable[[np.ndarray], tuple[int, ...]],
        share: Share,
    ) -> None:
        """Looks at the records' sizes and labels.

        Args:
            records: All that are trained on, of all hosts.
            experiment: The config.
            preparing: How whole images are resampled.
            region_of: From the spacings of all records, (records, rank) in mm, to what is cut out around a patch.
            share: Which of them are this host's.
        """
        self._records, self._data, self._trainer, self._share = records, experiment.data, experiment.trainer, share
        self._of_batch = share.of_batch(experiment.trainer.batch_size)
        _check_boxes(records, experiment)
        mine = order.of_host([record.shard for record in records], share.host, share.num_hosts)
        if not mine:
            raise UserError(f"{len(records)} training records are too few for {share.num_hosts} hosts; use fewer hosts")
        sampling = self._trainer.sampling
        weights = balance.weights(records, self._data, sampling)[mine]
        self._order = order.Order(mine, weights, self._trainer.seed)
        balanced = sampling.class_weights == "balanced"
        self._loss_weights = balance.loss_weights(records, self._data) if balanced else None
        self._images = images.Images(records, mine, self._data, preparing, self._trainer.cache_gib)
        self._shapes = [record.arrays["image"].shape[:-1] for record in records]
        self._spacings = np.stack(
            [
                grids.fed_spacing(shape, fed, record.values["spacing_mm"])
                for record, shape, fed in zip(records, self._shapes, self._images.fed)
            ]
        )
        self.region, self.is_stored = region_of(self._spacings), self._images.is_stored
        self._foregrounds: dict[int, patches.Foreground] = {}

    def example(self, number: int) -> dict[str, np.ndarray]:
        """Returns this host's example `number`, counted from 0; `number` in it counts those of all hosts.

        Raises:
            UserError: Its record is damaged.
        """
        step, place = divmod(number, self._of_batch)
        batch = self._trainer.batch_size
        of_all = step * batch + self._share.host * self._of_batch + place
        which = self._order.record(number)
        fed, size = self._images.fed[which], self._data.image_size
        # Places of a batch change places: else of two hosts one could get all the foreground.
        turned = (of_all + int(order.drawn(self._trainer.seed, step, _TURN) * batch)) % batch
        wants = patches.wants_foreground(step * batch + turned, self._trainer.sampling.foreground)
        around = self._foreground(which) if wants else None
        low = patches.low(self._trainer.seed, of_all, fed, size, around)
        first = grids.region_low(low, size, self.region)
        return {
            "number": np.asarray(of_all, np.int64),
            **self._images.part(which, first, self.region),
            "low": np.asarray(first, np.int32),
            "shape": np.asarray(fed, np.int32),
            "spacing_mm": self._spacings[which],
            **self._targets(which, first),
        }

    def boxes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the boxes of each record on the network's grid, (n, 2 * rank) float32, and their labels, (n,)."""
        for which, record in enumerate(self._records):
            yield self._boxes(which), np.asarray(record.values["box_labels"])

    def _foreground(self, which: int) -> patches.Foreground:
        if which not in self._foregrounds:
            record, by_lesion = self._records[which], self._trainer.sampling.by_lesion
            mask = self._images.mask(which)
            if mask is not None:
                self._foregrounds[which] = patches.of_mask(mask, record.uid, by_lesion=by_lesion)
            else:
                told = record.values
                self._foregrounds[which] = patches.of_boxes(
                    self._boxes(which), told["box_labels"], told["lesion_ids"], by_lesion=by_lesion
                )
        return self._foregrounds[which]

    def _boxes(self, which: int) -> np.ndarray:
        """Returns a record's boxes on the network's grid."""
        ratio = np.array(self._images.fed[which]) / np.array(self._shapes[which])
        boxes: np.ndarray = (self._records[which].values["boxes"] * np.tile(ratio, 2)).astype(np.float32)
        return boxes

    def _targets(self, which: int, first: Sequence[int]) -> dict[str, np.ndarray]:
        told, data = self._records[which].values, self._data
        found: dict[str, np.ndarray] = {}
        if data.table:
            found["table"] = clinical.scaled(clinical.table(told, data), data)
        if data.label:
            found["label"] = np.asarray(told["label"])
            if data.label_kind == "survival":
                found["event"] = np.asarray(told["event"])
        if data.box_labels:
            boxes = self._boxes(which) - np.tile(np.array(first, np.float32), 2)
            lacking = self._trainer.most_boxes - len(boxes)
            found["boxes"] = np.pad(boxes, ((0, lacking), (0, 0)))
            found["box_labels"] = np.pad(told["box_labels"], (0, lacking), constant_values=-1)
        if self._loss_weights is not None:
            found["weight"] = np.asarray(self._loss_weights[which])
        return found


def _check_boxes(records: Sequence[places.Record], experiment: config.Experiment) -> None:
    most = experiment.trainer.most_boxes
    for record in records if experiment.data.box_labels else ():
        count = len(record.values["box_labels"])
        if count > most:
            raise UserError(f"record {record.uid} has {count} boxes, trainer.most_boxes is {most}; raise it")
        checking.check(record.values["boxes"], record.arrays["image"].shape[:-1], f"record {record.uid}")
