"""What a network is asked to do: one file a task, each a plain `Task` of functions."""

import dataclasses

from radkit import config, folder
from radkit.errors import UserError
from radkit.tasks.task import Task

NOT_ENTRIES = ("task", "figures", "learning", "streams")


def find(name: str) -> Task:
    """Returns the task that a config names (`segmentation`, or `my_package.my_file:TASK`).

    Raises:
        UserError: No such name, or something else than a `Task` there.
    """
    task = folder.find(__name__, name, "TASK")
    if not isinstance(task, Task):
        raise UserError(f"task {name!r} is {type(task).__name__}; a radkit.tasks.task.Task was expected")
    return task


def of(experiment: config.Experiment) -> Task:
    """Returns an experiment's task, with the loss that its config asks for.

    Raises:
        UserError: No such task, loss or setting of it, or labels that the task does not learn.
    """
    said = experiment.task
    task = find(said.name)
    task.num_outputs(experiment.data)  # refuses labels of another kind before their loss is asked for
    if task.learn is not None:
        return dataclasses.replace(task, loss=task.learn(experiment))
    if said.loss or said.loss_settings:
        raise UserError(f"task {said.name!r} has its own loss only; leave task.loss and task.loss_settings empty")
    return task
