"""What a run tells of itself while it trains: a table beside `history.jsonl`, and TensorBoard's event files.

TensorFlow writes event files without the tensorboard package, which is needed to look at them only.
"""

import math
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import outputs, runs
from radkit.reports import html
from radkit.tasks.task import Shown


def write_table(run: Path) -> None:
    """Writes the run's history as a table, a column a figure; empty cells where one was not measured."""
    history = runs.history(run)
    columns = list(dict.fromkeys(name for line in history for name in line))
    outputs.write_csv(run / runs.TABLE, columns, [[_cell(line.get(name)) for name in columns] for line in history])


def _cell(value: Any) -> Any:
    return "" if value is None else value


def memory_mib() -> float:
    """Returns the most memory that was in use: of the first GPU where there is one, else of this process; MiB."""
    if tf.config.list_physical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB on Linux


class Board:
    """TensorBoard's event files of a run; one of no folder writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = tf.summary.create_file_writer(str(folder)) if folder else None

    def numbers(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes numbers, a curve a name; what is no finite number is left out."""
        if self._writer is None:
            return
        with self._writer.as_default(step):
            for name, value in values.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    _write(name.replace(" ", "_"), tf.constant(value, tf.float32), "scalars")

    def pictures(self, step: int, pictures: Mapping[str, bytes]) -> None:
        """Writes pictures, PNG each, under their names."""
        if self._writer is None:
            return
        with self._writer.as_default(step):
            for name, png in pictures.items():
                rows, columns = (str(size) for size in tf.io.decode_png(png).shape[:2])
                _write(name.replace(" ", "_"), tf.constant([columns, rows, png]), "images")

    def close(self) -> None:
        """Waits until all is written."""
        if self._writer is not None:
            self._writer.close()


def _write(name: str, value: tf.Tensor, plugin: str) -> None:
    """Writes what TensorBoard's plugin of that name shows: tf.summary.scalar would want its package."""
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin), data_class=_CLASSES[plugin]
    )
    tf.summary.write(name, value, metadata=metadata)


_SURE = 0.3  # boxes of lower scores are not drawn
_CLASSES = {"scalars": 1, "images": 3}  # DATA_CLASS_SCALAR, DATA_CLASS_BLOB_SEQUENCE of summary.proto


def drawn(shown: Sequence[Shown], class_names: Sequence[str]) -> dict[str, bytes]:
    """Returns a PNG of each case: its image with masks or boxes, the reference's and the answer's.

    Args:
        shown: The cases.
        class_names: Of boxes.
    """
    return {f"case {one.index + 1}": html.png(_drawing(one, class_names)) for one in shown}


def _drawing(one: Shown, class_names: Sequence[str]) -> Any:
    from radkit.reports import pictures, pictures_of_boxes  # matplotlib is an extra, wanted only here

    record, answer = one.record, one.answer
    image = record["values"][..., 0]
    volume, spacing = image.reshape((-1, *image.shape[-2:])), (1.0, *record["spacing_mm"])[-3:]
    if "mask" in answer and "mask" in record:
        reference, found = (np.asarray(mask).reshape(volume.shape) for mask in (record["mask"], answer["mask"]))
        return pictures.outlines(volume, reference, found, spacing)
    if "boxes" in answer and "boxes" in record:
        number, classes = int(answer["count"]), np.asarray(record["box_labels"])
        case = pictures_of_boxes.DetectionCase(
            f"case {one.index + 1}",
            volume,
            tuple(np.nan_to_num(spacing, nan=1.0)),  # shares of sides only
            record["boxes"],
            np.where(classes >= len(class_names), -2, classes),  # regions that nobody tells of
            *(answer[name][:number] for name in ("boxes", "scores", "labels")),
        )
        return pictures_of_boxes.boxes(case, _SURE, class_names)
    return pictures.grey(volume[len(volume) // 2])
