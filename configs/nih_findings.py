"""Fourteen findings in chest radiographs (NIH ChestX-ray14, all 112,120): DenseNet-121 begun with ImageNet's weights.

    radkit import --format png --config nih_findings --input CXR14 --labels CXR14/Data_Entry_2017.csv \
        --modality CR --output records
    radkit train --config nih_findings --input records/nih_findings --output runs/nih_findings

docs/labs/chestxray14.md goes through it. No score is given: the set is not shipped with radkit, and nobody has measured
this config on it yet.
"""

from radkit.config import Augment, Data, Experiment, Model, Optimizer, Task, Trainer

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="nih_findings",
            kind="radiograph",
            modalities=("CR", "DX"),
            label="Finding Labels",
            label_kind="multi_label",
            class_names=FINDINGS,
            image_size=(224, 224),
            size_multiple=32,
            normalise="zscore",
        ),
        model=Model("densenet121", weights="imagenet"),
        task=Task("multi_label"),
        optimizer=Optimizer(learning_rate=3e-4, weight_decay=1e-4, warmup_steps=1000, average=0.999),
        augment=Augment(flip=(False, True), shift=0.05, scale=0.1, rotate=(7.0,), gain=0.2),
        trainer=Trainer(steps=40000, batch_size=32, evaluate_every=4000, early_stopping=3),
    )
