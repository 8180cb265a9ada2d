"""Planes set on a regular, right-angled grid: interpolated between slices, or shifted back from a tilt."""

import numpy as np

from radkit.dicom.geometry import GeometryError

_MOST_GROWTH = 4096  # pixels


def between(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns slices interpolated linearly between given ones, (len(places), rows, columns) float32.

    Args:
        values: (slices, rows, columns) float32.
        places: Where each new slice lies, in slices: 2.5 is midway between the third and the fourth.
    """
    below = np.clip(np.floor(places).astype(int), 0, max(len(values) - 2, 0))
    out = np.empty((len(places), *values.shape[1:]), np.float32)
    for index, (low, share) in enumerate(zip(below, places - below, strict=True)):
        if share <= 0 or share >= 1:  # one slice alone: times nothing, what is no number would be of weight
            out[index] = values[low + int(share >= 1)]
        else:
            out[index] = values[low] * np.float32(1 - share) + values[low + 1] * np.float32(share)
    return out


def upright(values: np.ndarray, affine: np.ndarray, fill: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a sheared volume on the smallest grid whose slices lie right above each other, and its affine.

    Each slice is moved within its plane, with linear interpolation; what no slice covers is `fill`.

    Args:
        values: (slices, rows, columns) float32.
        affine: (4, 4), from (column, row, slice, 1) to LPS mm; its third column is not normal to the first two.
        fill: A modality value, of air for CT.
    """
    steps = affine[:3, :3]
    column_mm, row_mm = np.linalg.norm(steps[:, 0]), np.linalg.norm(steps[:, 1])
    along_row, down_column = steps[:, 0] / column_mm, steps[:, 1] / row_mm
    count = np.arange(len(values))
    # How far each slice lies from above the first, in pixels; rows and columns need not be quite perpendicular.
    normal = np.cross(along_row, down_column)
    axes = np.stack([steps[:, 0], steps[:, 1], normal / np.linalg.norm(normal)], axis=1)
    right, down, height = np.linalg.solve(axes, steps[:, 2])
    columns, rows = np.round(count * right, 6), np.round(count * down, 6)
    first = np.floor([rows.min(), columns.min()]).astype(int)
    more = np.ceil([rows.max(), columns.max()]).astype(int) - first
    if more.max() > _MOST_GROWTH:
        raise GeometryError(
            f"set upright, slices of {values.shape[1]} x {values.shape[2]} would grow by {more[0]} x {more[1]} pixels: "
            "they lie beside each other rather than above"
        )
    out = np.full((len(values), values.shape[1] + more[0], values.shape[2] + more[1]), fill, np.float32)
    for index in count:
        moved = _moved(values[index], rows[index] - first[0], columns[index] - first[1], out.shape[1:], fill)
        out[index] = moved
    straight = affine.copy()
    straight[:3, 2] = axes[:, 2] * height
    straight[:3, 3] += first[0] * steps[:, 1] + first[1] * steps[:, 0]
    return out, straight


def _moved(plane: np.ndarray, down: float, right: float, shape: tuple[int, ...], fill: float) -> np.ndarray:
    """Returns a plane moved down and right by parts of a pixel, in a frame of `fill`."""
    whole = int(np.floor(down)), int(np.floor(right))
    share = np.float32(down - whole[0]), np.float32(right - whole[1])
    framed = np.full((plane.shape[0] + 2, plane.shape[1] + 2), fill, np.float32)
    framed[1:-1, 1:-1] = plane
    mixed = framed[1:] * (1 - share[0]) + framed[:-1] * share[0]
    mixed = mixed[:, 1:] * (1 - share[1]) + mixed[:, :-1] * share[1]
    out = np.full(shape, fill, np.float32)
    target = out[whole[0] : whole[0] + mixed.shape[0], whole[1] : whole[1] + mixed.shape[1]]
    target[:] = mixed[: target.shape[0], : target.shape[1]]
    return out
