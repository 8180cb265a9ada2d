"""Nodules of 3 to 10 mm in chest CT: RetinaNet in 3-D on patches, boxes of balls or of outlines.

    radkit convert --config nodules --input clean --annotations nodules.csv --output records
    radkit train --config nodules --input records/nodules --output runs/nodules
    radkit evaluate --run runs/nodules --input records/nodules --output evaluation

What is set for lesions of a few voxels: records of 1.25 x 0.75 x 0.75 mm, so that 3 mm are more than two voxels; maps
of stride 2 to 8, the finest for the smallest; anchors fitted to the boxes trained on; ATSS, which gives even a box that
no anchor fits its places; the IoU's own loss; half of the patches around a nodule, each nodule alike, and half
anywhere, so that it learns what is no nodule; windows that share 24 voxels, more than a nodule is long.

How well it finds nodules is not measured: no set of them is shipped with radkit. Choose `trainer.steps` by the
validation score. A step of one patch takes 3 s on two shared processors: train on an accelerator.
"""

from radkit.config import Augment, Data, Experiment, Inference, Model, Optimizer, Sampling, Task, Trainer


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        data=Data(
            dataset="nodules",
            modalities=("CT",),
            box_labels=("nodule",),
            image_size=(64, 96, 96),
            spacing_mm=(1.25, 0.75, 0.75),
            size_multiple=32,
            normalise="window",
            window=(-1200.0, 600.0),
        ),
        model=Model(
            "retinanet",
            {
                "encoder": "resnet",
                "encoder_settings": {"filters": (24, 48, 96, 192), "blocks": (1, 2, 2, 2)},
                "levels": (1, 2, 3),
                "extra_levels": 0,
                "filters": 48,
                "depth": 2,
                "ratios": (1.0,),
                "octaves": 2,
                "anchors": "fit",
            },
        ),
        task=Task("detection", loss_settings={"assigner": "atss", "box_loss": "giou"}),
        optimizer=Optimizer(learning_rate=1e-3, weight_decay=1e-3, warmup_steps=500),
        augment=Augment(
            flip=(True, True, True),
            rotate=(15.0, 0.0, 0.0),
            scale=0.15,
            noise=0.05,
            gain=0.1,
        ),
        trainer=Trainer(
            steps=30000,
            batch_size=4,
            evaluate_every=2000,
            sampling=Sampling(records="lesions", foreground=0.5, by_lesion=True),
        ),
        inference=Inference(
            window=(64, 96, 96),
            overlap=0.375,
            batch_size=2,
            suppress="nms",
            iou_threshold=0.2,
            most_detections=100,
        ),
    )
