"""RetinaNet on both sides of `detection.py`: the same backbone, levels, heads, anchors, batch and boxes.

Both: ResNet-50 with strides 8, 16 and 32 used and one coarser map, a pyramid of 256 channels, heads of 4 convolutions
with group normalisation, 9 anchors a place, IoU 0.5 / 0.4 matching, focal loss, Adam. MONAI's coarser map is pooled,
ours convolved (0.6 million weights in 2-D, 1.8 in 3-D), and our pyramid's maps are normalised, too.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import model_workers

LEVELS = 4


@dataclass(frozen=True)
class Case:
    """Images with some boxes."""

    batch: int
    sizes: tuple[int, ...]
    boxes: int = 8

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns images (batch, *sizes, 1) and boxes (batch, boxes, 2 * rank): low, then high edges; float32."""
        random = np.random.default_rng(0)
        image = random.uniform(size=(self.batch, *self.sizes, 1)).astype(np.float32)
        low = random.uniform(0, 0.5, (self.batch, self.boxes, len(self.sizes)))
        high = low + random.uniform(0.1, 0.5, low.shape)
        return image, (np.concatenate([low, high], -1) * np.tile(self.sizes, 2)).astype(np.float32)

    def anchors(self) -> list[tuple[float, ...]]:
        """Returns the sides of the finest level's anchors; each further level's are twice as long."""
        edges = [16.0 * 2 ** (step / 3) for step in range(3)]
        flat = [(edge * ratio**0.5, edge / ratio**0.5) for edge, ratio in itertools.product(edges, (0.5, 1.0, 2.0))]
        return [(edge,) * (len(self.sizes) - 2) + sides for edge, sides in zip(np.repeat(edges, 3).tolist(), flat)]


CASES = {"retinanet_2d": Case(2, (256, 256)), "retinanet_3d": Case(1, (64, 64, 64))}


class Radkit(model_workers.Radkit):
    """radkit's: a compiled graph a step, with assignment and loss inside."""

    def build(self) -> None:
        """Makes the network and traces its steps."""
        from radkit import losses

        tf, case = self.tf, self.case
        image, boxes = (tf.constant(array) for array in case.arrays())
        truth = {"boxes": boxes, "labels": tf.zeros(boxes.shape[:2], tf.int32)}
        shapes = [[tuple(side * 2**level for side in one) for one in case.anchors()] for level in range(LEVELS)]
        network = self.models.build(
            "retinanet", input_shape=(*case.sizes, 1), num_classes=1, encoder="resnet50", levels=(3, 4, 5),
            extra_levels=LEVELS - 3, norm="group", anchors=shapes,
        )  # fmt: skip
        loss_of = losses.find("detection", "retinanet")
        optimizer = self.new_optimizer()
        optimizer.build(network.trainable_variables)

        @tf.function
        def train() -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(loss_of(truth, network(image, training=True)))
            weights = [weight.value for weight in network.trainable_variables]
            optimizer.apply(tape.gradient(loss, weights), network.trainable_variables)
            return loss

        @tf.function
        def infer() -> Any:
            found = network(image, training=False)
            return tf.reduce_sum(found["scores"]) + tf.reduce_sum(found["boxes"])

        self.network, self._train, self._infer = network, train, infer


class Monai(model_workers.Monai):
    """MONAI's detector on PyTorch."""

    def _make(self, layout: str) -> None:
        from monai.apps.detection.networks import retinanet_detector, retinanet_network
        from monai.apps.detection.utils import anchor_utils
        from monai.losses import FocalLoss
        from monai.networks.nets import resnet

        torch, case, self.layout = self.torch, self.case, layout
        rank = len(case.sizes)
        last = {2: torch.channels_last, 3: torch.channels_last_3d}[rank]
        kind = last if layout == "channels last" else torch.contiguous_format
        backbone = resnet.resnet50(spatial_dims=rank, n_input_channels=1, conv1_t_stride=2)
        features = retinanet_network.resnet_fpn_feature_extractor(backbone, rank, returned_layers=(2, 3, 4))
        network = retinanet_network.RetinaNet(
            spatial_dims=rank, num_classes=1, num_anchors=len(case.anchors()), feature_extractor=features,
            size_divisible=32,
        )  # fmt: skip
        placed = anchor_utils.AnchorGeneratorWithAnchorShape([2**level for level in range(LEVELS)], case.anchors())
        image, boxes = (torch.from_numpy(array) for array in case.arrays())
        self.image = torch.movedim(image, -1, 1).contiguous().to(memory_format=kind)
        labels = torch.zeros(case.boxes, dtype=torch.long)
        self.targets = [{"boxes": of_image, "labels": labels} for of_image in boxes]
        self.network = network.to(memory_format=kind)
        self.detector = retinanet_detector.RetinaNetDetector(self.network, placed)
        self.detector.set_regular_matcher(0.5, 0.4)
        self.detector.set_cls_loss(FocalLoss(gamma=2.0))
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)

    def train(self) -> None:
        """Takes one step of the optimizer."""
        self.detector.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._cast():
            found = self.detector(self.image, self.targets)
        loss = sum(part.float() for part in found.values())
        loss.backward()
        self.optimizer.step()
        loss.item()

    def infer(self) -> None:
        """Answers one batch: scores and offsets of all places."""
        self.network.eval()
        with self.torch.inference_mode(), self._cast():
            found = self.network(self.image)
        sum(float(x.sum()) for maps in found.values() for x in maps)
