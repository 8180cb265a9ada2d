"""Five findings in frontal chest radiographs (CheXpert): DenseNet-121; what reports leave open is not learned.

    radkit import --format png --config chexpert --input . --labels frontal.csv --modality DX \
        --patients 'patient[0-9]+' --output records
    radkit train --config chexpert --input records/chexpert --output runs/chexpert

docs/labs/chexpert.md goes through it, and tells what becomes of empty cells and of -1. No score is given: the set is
not shipped with radkit, and nobody has measured this config on it yet.
"""

from radkit.config import Augment, Data, Experiment, Model, Optimizer, Task, Trainer

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")  # those its readers compare


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="chexpert",
            kind="radiograph",
            modalities=("CR", "DX"),
            label="findings",
            label_kind="multi_label",
            class_names=FINDINGS,
            splits=(0.9, 0.05, 0.05),
            image_size=(320, 320),
            size_multiple=32,
            normalise="zscore",
        ),
        model=Model("densenet121", weights="imagenet"),
        task=Task("multi_label"),
        optimizer=Optimizer(learning_rate=1e-4, weight_decay=1e-4, warmup_steps=1000, average=0.999),
        augment=Augment(shift=0.05, scale=0.1, rotate=(7.0,), gain=0.2),
        trainer=Trainer(steps=40000, batch_size=16, evaluate_every=4000, early_stopping=3),
    )
