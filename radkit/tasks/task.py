"""The one abstraction: a task is a frozen dataclass of functions, and `answer` is the same in training and serving."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from radkit import config
from radkit.data import clinical, prepare
from radkit.evaluation import plan
from radkit.inference import configured, wrapped
from radkit.tasks import streams

Tensors = Mapping[str, tf.Tensor]
Answer = Callable[..., dict[str, tf.Tensor]]  # of raw images, their spacing, and the table where there is one
NOTHING_ASKED = config.Inference()
Record = Mapping[str, Any]  # one record's fields as numpy, `values` in modality units beside `image`


@dataclass(frozen=True, eq=False)
class Shown:
    """A case to draw: its place in the list of cases, its record and its answer."""

    index: int
    record: Record
    answer: Mapping[str, Any]


def _as_they_are(
    cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> Sequence[Mapping[str, Any]]:
    del summary, data
    return cases


@dataclass(frozen=True)
class Task:
    """Everything that the trainer, the evaluator and the export need to know.

    Attributes:
        num_outputs: Channels of the network's output.
        loss: (batch, logits) -> one value an example, float32; of a network that answers at several resolutions,
            logits are a list.
        answer: (logits, place, data) -> what serving returns, on the grid of the image that came in.
        case: (record, answer) -> this case's figures, plain numbers and text.
        summary: All cases' figures -> aggregates with intervals; `score` (higher is better, nan where it is undefined)
            chooses the best weights.
        pick: (cases, data) -> indices of the cases to draw.
        page: (title, summary, cases, shown, history, data) -> HTML.
        headline: The summary in one line, as `summary` gave it or as `summary.json` keeps it (null: undefined).
        scored_by: Which of a record's labels it is held against: `label`, the class, or `annotation`, what was drawn.
        learn: Experiment -> the loss that its config asks for (`tasks.of`); None: there is `loss` and no other.
        ask: (network, inference, padding value) -> the network as the config's inference section says, with windows and
            flips; what it answers is what `answer` takes.
        score: (cases, data) -> the summary's score alone, where a summary takes long; None: it does not.
        listed: (cases, summary, data) -> the cases as tables, `pick` and `page` take them: plain numbers and text.
        stream: The config's data section -> figures of training that add up over replicas; None: it tells of none.
        asked: The config's data section -> what a clinical evaluation measures of its cases.
        detail: (record, answer, data) -> figures of a case beside `case`'s that only an evaluation takes the time for.
        drawn: (shown, cases, summary, data) -> HTML of the cases in pictures.
        notes: The summary -> what a reader must know before any figure; None: nothing.
    """

    num_outputs: Callable[[config.Data], int]
    loss: Callable[[Tensors, tf.Tensor], tf.Tensor]
    answer: Callable[[tf.Tensor, prepare.Place, config.Data], dict[str, tf.Tensor]]
    case: Callable[[Record, Mapping[str, Any], config.Data], dict[str, Any]]
    summary: Callable[[Sequence[Mapping[str, Any]], config.Data], dict[str, Any]]
    pick: Callable[[Sequence[Mapping[str, Any]], config.Data], list[int]]
    page: Callable[..., str]
    headline: Callable[[Mapping[str, Any]], str]
    scored_by: Literal["label", "annotation"]
    learn: Callable[[config.Experiment], Callable[[Tensors, Any], tf.Tensor]] | None = None
    ask: Callable[[Callable[..., Any], config.Inference, float], Callable[..., Any]] = configured.network
    score: Callable[[Sequence[Mapping[str, Any]], config.Data], float] | None = None
    listed: Callable[..., Sequence[Mapping[str, Any]]] = _as_they_are
    stream: Callable[[config.Data], streams.Stream] | None = None
    asked: Callable[[config.Data], plan.Asked] | None = None
    detail: Callable[[Record, Mapping[str, Any], config.Data], dict[str, Any]] | None = None
    drawn: Callable[[Sequence[Shown], Sequence[Mapping[str, Any]], Mapping[str, Any], config.Data], str] | None = None
    notes: Callable[[Mapping[str, Any]], Sequence[str]] | None = None


def stream_of(task: Task, data: config.Data) -> streams.Stream | None:
    """Returns a task's figures of training for a config's data; None where it tells of none."""
    return None if task.stream is None else task.stream(data)


def as_json(figures: Any) -> Any:
    """Returns figures as JSON can say them: what is undefined (nan) or infinite is null.

    >>> as_json({"AUC": {"value": float("nan")}, "counts": (1, 2)})
    {'AUC': {'value': None}, 'counts': [1, 2]}
    """
    if isinstance(figures, Mapping):
        return {str(name): as_json(value) for name, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [as_json(value) for value in figures]
    if isinstance(figures, float) and not math.isfinite(figures):
        return None
    return figures


def spell(figure: float | None) -> str:
    """Returns a figure with three digits, or `undefined`.

    >>> spell(0.5), spell(None), spell(float("nan"))
    ('0.500', 'undefined', 'undefined')
    """
    return "undefined" if figure is None or math.isnan(figure) else f"{figure:.3f}"


def spell_interval(figure: Mapping[str, Any], unit: str = "") -> str:
    """Returns a figure with its interval, as far as they are defined.

    Args:
        figure: `value`, `low` and `high`; None or nan: undefined.
        unit: Said after the value.

    >>> spell_interval({"value": 0.5, "low": 0.4, "high": 0.625}, unit="mm")
    '0.500 mm (0.400 to 0.625)'
    >>> [spell_interval({"value": value, "low": None, "high": float("nan")}) for value in (0.5, None)]
    ['0.500 (no interval)', 'undefined']
    """
    value, low, high = (spell(figure[name]) for name in ("value", "low", "high"))
    if value == "undefined":
        return value
    interval = "no interval" if "undefined" in (low, high) else f"{low} to {high}"
    return f"{value}{unit and ' '}{unit} ({interval})"


def answer(
    network: Callable[..., tf.Tensor],
    task: Task,
    data: config.Data,
    image: tf.Tensor,
    spacing_mm: tf.Tensor,
    inference: config.Inference = NOTHING_ASKED,
    table: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Returns the task's answer to raw images: the function that evaluation calls and the export traces.

    Args:
        network: From prepared image to logits.
        task: The task.
        data: The config's data section.
        image: Modality values, (batch, *spatial, 1) float32.
        spacing_mm: (batch, rank) float32; one spacing a batch.
        inference: Windows and flips by which the network is asked, and what becomes of its mask.
        table: Columns of `data.table`, (batch, columns) float32, as `clinical.table` gives them; None: there are none.
    """
    if table is not None:
        network = _beside(network, clinical.scaled(table, data))
    prepared, place = prepare.prepare(image, spacing_mm, data)
    asked = task.ask(network, inference, prepare.padding_value(data))
    found = task.answer(wrapped.answer(asked, prepared), place, data)
    if "mask" in found:
        found = {**found, "mask": configured.clean(found["mask"], data.mask_labels, inference)}
    return found


def seen(batch: Tensors) -> Any:
    """Returns what of a batch a network is given: the image, or image and table."""
    return {name: batch[name] for name in ("image", "table")} if "table" in batch else batch["image"]


def _beside(network: Callable[..., tf.Tensor], table: tf.Tensor) -> Callable[..., tf.Tensor]:
    """Returns a network of image and table as one of the image alone."""
    return lambda image, training: network(seen({"image": image, "table": table}), training=training)


def answering(
    network: Callable[..., tf.Tensor], task: Task, data: config.Data, inference: config.Inference = NOTHING_ASKED
) -> Answer:
    """Returns the compiled function from raw images, their spacing and their table to the task's answer."""
    rank = len(data.image_size)
    specs = [
        tf.TensorSpec([None] * (rank + 1) + [1], tf.float32, name="image"),
        tf.TensorSpec([None, rank], tf.float32, name="spacing_mm"),
    ]
    if data.table:
        specs.append(tf.TensorSpec([None, len(data.table)], tf.float32, name="table"))

        @tf.function(input_signature=specs)
        def answer_both(image: tf.Tensor, spacing_mm: tf.Tensor, table: tf.Tensor) -> dict[str, tf.Tensor]:
            return answer(network, task, data, image, spacing_mm, inference, table)

        return answer_both

    @tf.function(input_signature=specs)
    def answer_images(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(network, task, data, image, spacing_mm, inference)

    return answer_images
