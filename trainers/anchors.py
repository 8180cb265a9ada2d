"""Anchors fitted to the boxes that are trained on, where a config asks for it: `model.settings` has anchors="fit"."""

import dataclasses
import inspect
from typing import Any

import keras

from radkit import config, folder, models
from radkit.boxes import anchors, fitting
from radkit.data.feeding import examples
from radkit.errors import UserError
from radkit.tasks.task import Task

FIT = "fit"


def are_wanted(experiment: config.Experiment) -> bool:
    """Tells whether the config asks for fitted anchors."""
    return bool(experiment.model.settings.get("anchors") == FIT)


def fitted(experiment: config.Experiment, found: examples.Examples, task: Task) -> config.Experiment:
    """Returns an experiment whose anchors are fitted to the boxes of the training records.

    As many are fitted for each level as the network has by its other settings. The same records give the same anchors.

    Args:
        experiment: With `model.settings` of anchors="fit".
        found: Its training examples.
        task: Its task.

    Raises:
        UserError: The model has no anchors, or the records no boxes.
    """
    settings = {name: value for name, value in experiment.model.settings.items() if name != "anchors"}
    classes, rank = task.num_outputs(experiment.data), len(experiment.data.image_size)
    network = models.build(experiment.model.name, input_shape=((None,) * rank + (1,)), num_classes=classes, **settings)
    layer = _layer(network, experiment.model.name)
    sides = fitting.sides(boxes[labels < classes] for boxes, labels in found.boxes())
    shapes = fitting.fit(sides, layer.strides, [len(level) for level in layer.shapes])
    share = fitting.recall(sides, shapes, layer.strides)
    before = fitting.recall(sides, layer.shapes, layer.strides)
    print(
        f"train: anchors fitted to {len(sides)} boxes reach {share:.1%} of them at an IoU of 0.5; the model's own "
        f"would reach {before:.1%}"
    )
    model = dataclasses.replace(experiment.model, settings={**settings, "anchors": shapes})
    # As JSON has it, so that a run that goes on is the same run.
    return config.from_json(config.to_json(dataclasses.replace(experiment, model=model)))


def _layer(network: keras.Model, name: str) -> Any:
    """Returns the anchors that are laid over the image: of the only stage, or of the first."""
    build = folder.find(models.__name__, models.find(name)[0], "build")
    found = [layer for layer in network.layers if isinstance(layer, anchors.Anchors)]
    # Networks without anchors have the layer, too, for their cells, and no setting that would take what is fitted.
    if not found or "anchors" not in inspect.signature(build).parameters:
        raise UserError(f"model {name!r} has no anchors to fit; leave model.settings.anchors out")
    return found[0]
