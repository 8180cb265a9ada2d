"""Shape features: a region's volume, surface, diameters and axes; its grey values play no part."""

import numpy as np
from scipy.spatial import ConvexHull, distance

from radkit.metrics.radiomics import mesh, regions

NAMES = (
    "Elongation", "Flatness", "LeastAxisLength", "MajorAxisLength", "Maximum2DDiameterColumn", "Maximum2DDiameterRow",
    "Maximum2DDiameterSlice", "Maximum3DDiameter", "MeshVolume", "MinorAxisLength", "Sphericity", "SurfaceArea",
    "SurfaceVolumeRatio", "VoxelVolume",
)  # fmt: skip
CHUNK = 1024


def features(region: regions.Region) -> dict[str, float]:
    """Returns the 14 features, in mm, mm2, mm3 and 1/mm.

    Diameters are the greatest distances between vertices of the mesh: anywhere, and in one plane of constant z
    (slice), y (column) or x (row). Axes are 4 times the root of the eigenvalues of the voxel centres' covariance.
    """
    mask = region.numbers >= 0
    area, volume = mesh.area_and_volume(mask, region.spacing)
    corners = mesh.vertices(mask)
    least, minor, major = _axes(region)
    return {
        "Elongation": minor / major if major else np.nan,
        "Flatness": least / major if major else np.nan,
        "LeastAxisLength": least,
        "MajorAxisLength": major,
        "Maximum2DDiameterColumn": _diameter_in_planes(corners, 1, region.spacing),
        "Maximum2DDiameterRow": _diameter_in_planes(corners, 2, region.spacing),
        "Maximum2DDiameterSlice": _diameter_in_planes(corners, 0, region.spacing),
        "Maximum3DDiameter": _diameter(corners, region.spacing),
        "MeshVolume": volume,
        "MinorAxisLength": minor,
        "Sphericity": (36 * np.pi * volume**2) ** (1 / 3) / area,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume if volume else np.nan,
        "VoxelVolume": region.values.size * region.spacing.prod(),
    }


def _axes(region: regions.Region) -> np.ndarray:
    """Returns the lengths of the three principal axes, mm, ascending."""
    centred = (region.coordinates - region.coordinates.mean(axis=0)) * region.spacing
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(centred))
    lengths: np.ndarray = 4 * np.sqrt(np.maximum(eigenvalues, 0))
    return lengths


def _diameter(corners: np.ndarray, spacing: np.ndarray) -> float:
    # The two points farthest apart are corners of the convex hull, of which there are few.
    hull = ConvexHull(corners * (spacing / 2))
    return _farthest(hull.points[hull.vertices])


def _diameter_in_planes(corners: np.ndarray, axis: int, spacing: np.ndarray) -> float:
    """Returns the greatest distance between two vertices of the same plane across the axis, mm."""
    others = [k for k in range(3) if k != axis]
    ends = corners
    for row, along in (others, others[::-1]):
        ends = _ends_of_rows(ends, axis, row, along)
    ends = ends[np.argsort(ends[:, axis], kind="stable")]
    planes = np.split(ends[:, others] * (spacing[others] / 2), np.flatnonzero(np.diff(ends[:, axis])) + 1)
    return max(_farthest(plane) for plane in planes)


def _ends_of_rows(points: np.ndarray, plane: int, row: int, along: int) -> np.ndarray:
    """Returns the first and last point of each row of each plane: no point between can be one of the farthest two."""
    points = points[np.lexsort((points[:, along], points[:, row], points[:, plane]))]
    new = np.any(np.diff(points[:, [plane, row]], axis=0) != 0, axis=1)
    return points[np.append(True, new) | np.append(new, True)]


def _farthest(points: np.ndarray) -> float:
    parts = (points[start : start + CHUNK] for start in range(0, len(points), CHUNK))
    return float(np.sqrt(max(distance.cdist(part, points, "sqeuclidean").max() for part in parts)))
