"""Opacities of pneumonia in chest radiographs (RSNA Pneumonia Detection Challenge 2018): RetinaNet, one kind of box.

    radkit convert --config rsna_pneumonia --input stage_2_train_images \
        --annotations stage_2_train_labels.csv --output records
    radkit train --config rsna_pneumonia --input records/rsna_pneumonia --output runs/rsna_pneumonia

docs/labs/rsna_pneumonia.md goes through it. No score is given: the set is not shipped with radkit, and nobody has
measured this config on it yet.
"""

from radkit.config import Augment, Data, Experiment, Inference, Model, Optimizer, Sampling, Task, Trainer


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="rsna_pneumonia",
            kind="radiograph",
            modalities=("CR", "DX"),
            box_labels=("Lung Opacity",),
            image_size=(384, 384),
            size_multiple=128,
            normalise="zscore",
        ),
        model=Model("retinanet", {"encoder": "resnet50", "filters": 128, "octaves": 1, "anchors": "fit"}),
        task=Task("detection", loss_settings={"box_loss": "giou", "assigner": "atss"}),
        optimizer=Optimizer(learning_rate=5e-4, weight_decay=1e-4, warmup_steps=1000),
        augment=Augment(flip=(False, True), shift=0.1, scale=0.2, rotate=(5.0,), gain=0.2),
        # Two radiographs of three show no opacity: both kinds are seen as often.
        trainer=Trainer(steps=30000, batch_size=16, evaluate_every=3000, sampling=Sampling(records="lesions")),
        # Opacities rarely overlap: what overlaps by a little is told once.
        inference=Inference(iou_threshold=0.2, most_detections=20),
    )
