"""What all tasks share."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from radkit import folder, tasks
from radkit.errors import UserError
from radkit.tasks import task
from tests.conftest import MadeUp

EVERY = folder.names("radkit.tasks")


@pytest.mark.parametrize("name", EVERY)
def test_every_task_is_found_and_whole(name: str) -> None:
    found = tasks.find(name)
    assert isinstance(found, task.Task)
    may_lack = ("scored_by", "learn", "score", "detail", "notes")
    functions = [field.name for field in dataclasses.fields(found) if field.name not in may_lack]
    assert all(callable(getattr(found, name)) for name in functions)
    assert found.scored_by in ("label", "annotation")


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'segmentation'"):
        tasks.find("segmentatoin")
    with pytest.raises(UserError, match="is str; a radkit"):
        tasks.find("radkit:__version__")


@pytest.mark.parametrize("which", ["volumes", "radiographs"])
def test_the_compiled_answer_takes_any_size_and_traces_once(which: str, request: pytest.FixtureRequest) -> None:
    made: MadeUp = request.getfixturevalue(which)
    data, named = made.experiment.data, tasks.find(made.experiment.task.name)
    traced = []
    rank, outputs = len(data.image_size), named.num_outputs(data)

    def network(image: tf.Tensor, training: bool) -> tf.Tensor:
        traced.append(image.shape)
        logits = tf.tile(image, [1] * (rank + 1) + [outputs])
        return logits if data.mask_labels else tf.reduce_mean(logits, list(range(1, rank + 1)))

    answer_images = task.answering(network, named, data)
    for count, size in ((1, 7), (2, 12), (3, 5)):
        found = answer_images(tf.random.stateless_normal([count] + [size] * rank + [1], [1, 2]), tf.ones([count, rank]))
        assert all(len(value) == count for value in found.values())
    assert len(traced) == 1


def test_json_has_no_nan_and_no_infinity() -> None:
    figures = {"a": float("nan"), "b": [float("inf"), 1.5, {"c": -float("inf")}], "d": ("x", None, 3, True), 4: 0.0}
    found = task.as_json(figures)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == {"a": None, "b": [None, 1.5, {"c": None}], "d": ["x", None, 3, True], "4": 0.0}
    assert task.as_json(np.float64("nan")) is None
