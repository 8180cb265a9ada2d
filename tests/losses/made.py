"""Small masks and logits, and the plain numpy that losses of masks are held against."""

import numpy as np

SHAPES = [(6, 5), (4, 5, 3)]


def case(sizes: tuple[int, ...], classes: int = 3, batch: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns a mask (batch, *sizes, 1) uint8 that holds every class somewhere, and logits."""
    random = np.random.default_rng(seed)
    mask = random.integers(0, classes, (batch, *sizes, 1)).astype(np.uint8)
    mask[1][mask[1] == classes - 1] = 0  # the second example lacks the last class
    return mask, random.normal(0, 2, (batch, *sizes, classes)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities, float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities, float64."""
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def flat(mask: np.ndarray, logits: np.ndarray, activation: str = "softmax") -> tuple[np.ndarray, np.ndarray]:
    """Returns truth and probabilities, (batch, voxels, classes)."""
    classes = logits.shape[-1]
    truth = np.eye(classes)[mask[..., 0]].reshape(len(mask), -1, classes)
    found = {"softmax": softmax, "sigmoid": sigmoid}[activation](logits)
    return truth, found.reshape(len(mask), -1, classes)
