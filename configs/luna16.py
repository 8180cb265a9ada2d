"""Nodules in chest CT (LUNA16, 888 series of LIDC-IDRI): the detector of `nodules`, boxes around LUNA16's balls.

    radkit convert --config luna16 --input LUNA16 --annotations annotations.csv --output records
    radkit train --config luna16 --input records/luna16 --output runs/luna16

docs/labs/luna16.md goes through it. No score is given: the set is not shipped with radkit, and nobody has measured this
config on it yet.
"""

import dataclasses

from configs import nodules
from radkit.config import Annotations, Experiment


def get_config() -> Experiment:
    """Returns the experiment."""
    experiment = nodules.get_config()
    # Of LUNA16's 888 series 287 hold no nodule that three readers of four saw: they are what is to be kept silent on.
    annotations = Annotations(missing="empty")
    return dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, dataset="luna16", annotations=annotations),
    )
