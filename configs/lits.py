"""Liver and its tumours in CT (LiTS, 131 volumes): 3-D U-Net on patches, two labels, tumours sampled as often.

    radkit import --format nifti --config lits --input LiTS --modality CT --output records
    radkit train --config lits --input records/lits --output runs/lits

docs/labs/lits.md goes through it. No score is given: the set is not shipped with radkit, and nobody has measured this
config on it yet.
"""

from radkit.config import Augment, Data, Experiment, Inference, Model, Optimizer, Sampling, Task, Trainer


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="lits",
            modalities=("CT",),
            mask_labels=("liver", "tumour"),
            image_size=(64, 128, 128),
            spacing_mm=(2.0, 1.5, 1.5),
            size_multiple=16,
            normalise="window",
            window=(-160.0, 240.0),
        ),
        model=Model("unet", {"filters": (32, 64, 128, 256, 320), "deep_supervision": True}),
        task=Task("segmentation"),
        optimizer=Optimizer(learning_rate=1e-3, weight_decay=1e-4, warmup_steps=500, average=0.999),
        augment=Augment(rotate=(15.0, 5.0, 5.0), scale=0.2, gain=0.1, noise=0.05, gamma=0.2),
        trainer=Trainer(steps=30000, batch_size=2, evaluate_every=3000, sampling=Sampling(foreground=0.7)),
        inference=Inference(window=(64, 128, 128), batch_size=2, largest_component=("liver",)),
    )
