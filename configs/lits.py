"""Liver and its tumours in CT (LiTS, 131 volumes): 3-D U-Net on patches, two labels, tumours sampled as often.

    radkit import --format nifti --config lits --input LiTS --modality CT --output records
    radkit train --config lits --input records/lits --output runs/lits

docs/labs/lits.md goes through it. No score is given: the set is not shipped with radkit, and nobody has measured this
config on it yet.
"""

import dataclasses

from configs import spleen
from radkit.config import Experiment, Sampling, Trainer


def get_config() -> Experiment:
    """Returns the experiment: the spleen's, on a finer grid, for longer."""
    experiment = spleen.get_config()
    return dataclasses.replace(
        experiment,
        data=dataclasses.replace(
            experiment.data, dataset="lits", mask_labels=("liver", "tumour"), spacing_mm=(2.0, 1.5, 1.5)
        ),
        optimizer=dataclasses.replace(experiment.optimizer, warmup_steps=500),
        trainer=Trainer(steps=30000, batch_size=2, evaluate_every=3000, sampling=Sampling(foreground=0.7)),
        inference=dataclasses.replace(experiment.inference, largest_component=("liver",)),
    )
