"""Spleen in abdominal CT (Medical Segmentation Decathlon Task09): 3-D U-Net on patches, one label.

    radkit import --format nifti --config spleen --input Task09_Spleen --output records
    radkit train --config spleen --input records/spleen --output runs/spleen

docs/labs/decathlon_spleen.md goes through it. No score is given: the set is not shipped with radkit, and nobody has
measured this config on it yet.
"""

from radkit.config import Augment, Data, Experiment, Inference, Model, Optimizer, Sampling, Task, Trainer


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="spleen",
            modalities=("CT",),
            mask_labels=("spleen",),
            image_size=(64, 128, 128),
            spacing_mm=(2.5, 1.5, 1.5),
            size_multiple=16,
            normalise="window",
            window=(-160.0, 240.0),
        ),
        model=Model("unet", {"filters": (32, 64, 128, 256, 320), "deep_supervision": True}),
        task=Task("segmentation"),
        optimizer=Optimizer(learning_rate=1e-3, weight_decay=1e-4, warmup_steps=200, average=0.999),
        augment=Augment(rotate=(15.0, 5.0, 5.0), scale=0.2, gain=0.1, noise=0.05, gamma=0.2),
        trainer=Trainer(steps=10000, batch_size=2, evaluate_every=1000, sampling=Sampling(foreground=0.5)),
        inference=Inference(window=(64, 128, 128), batch_size=2, largest_component=("spleen",)),
    )
