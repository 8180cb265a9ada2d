"""Masks that follow from formulas, for figures that other software was asked for once."""

import numpy as np


def organs() -> tuple[np.ndarray, np.ndarray]:
    """Returns two ellipsoids, (12, 20, 24): one with a hole, the other with a stray part at the image's corner."""
    z, y, x = np.ogrid[:12, :20, :24]
    ref = ((z - 5) / 4) ** 2 + ((y - 9) / 7) ** 2 + ((x - 11) / 8) ** 2 < 1
    pred = ((z - 6) / 4) ** 2 + ((y - 8) / 8) ** 2 + ((x - 13) / 7) ** 2 < 1
    ref[5, 8:10, 10:13] = False
    pred[0, 0, 0:2] = True
    return ref, pred


def vessels() -> tuple[np.ndarray, np.ndarray]:
    """Returns a bent tube with a branch and one without, (9, 12, 30)."""
    z, y, x = np.ogrid[:9, :12, :30]
    tube = (z - 4) ** 2 + (y - 4 - 2 * np.sin(x / 5)) ** 2 < 7
    branched = tube | (((z - 4) ** 2 + (x - 15) ** 2 < 5) & (y > 4))
    return branched, (z - 4) ** 2 + (y - 4 - 2 * np.sin(x / 5 + 0.3)) ** 2 < 5
