"""Pneumonia in chest radiographs (a part of NIH ChestX-ray14): ResNet, one label.

    radkit import --format png --config chest --input radkit/demo/data/chest \
        --labels radkit/demo/data/chest/labels.csv --modality CR --output records
    radkit train --config chest --input records/chest --output runs/chest

Measured, test AUC of 115 radiographs by seeds 0, 1 and 2: 0.890, 0.874, 0.871; another seed: 0.825 to 0.931. The
image's mean brightness alone has an AUC of 0.704. On the demo's records, made of the same radiographs by way of DICOM
and split otherwise: 0.886 (95 % interval 0.812 to 0.942; 120 radiographs) after 55 s of training on two processors.

The labels are confounded with projection (PA, AP) and brightness: read PA and AP apart, make no clinical claim.
"""

from radkit.config import Augment, Data, Experiment, Model, Optimizer, Task, Trainer


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="chest",
            kind="radiograph",
            modalities=("CR", "DX"),
            label="pneumonia",
            class_names=("no finding", "pneumonia"),
            image_size=(96, 96),
            normalise="zscore",
        ),
        model=Model("resnet", {"filters": (24, 48, 96, 192)}),
        task=Task("classification"),
        optimizer=Optimizer(learning_rate=1e-3, weight_decay=1e-3, warmup_steps=20),
        augment=Augment(flip=(False, True), shift=0.05, scale=0.1, noise=0.1, gain=0.2),
        trainer=Trainer(steps=300, batch_size=16, evaluate_every=100),
    )
