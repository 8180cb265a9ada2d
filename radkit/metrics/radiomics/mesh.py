"""A mask's surface as triangles: area, enclosed volume and vertices, by marching cubes half-way between voxels.

A cube of 2 x 2 x 2 voxels, moved through the mask, sees one of 256 patterns: bit k of its code is set when corner k is
inside. The surface cuts the cube's edges at their middles. Two choices are open and both change area and volume: on a
face with two opposite corners inside, each may be cut off alone or both joined; and an outline of five or more edges
is bent, so that it matters how it is filled. They are taken here as pyradiomics takes them: corners inside are
cut off alone; a code with corner 7 inside is seen inside out (so that there corners outside are cut off alone: where
two such cubes meet, the surface may gape); and an outline is a fan of triangles from the vertex in `APEX`.

Source: Lorensen and Cline 1987, https://doi.org/10.1145/37402.37422.
"""

from functools import cache

import numpy as np

# z, y, x of each corner: around the face z = 0, then in the same order around z = 1.
CORNERS = np.array([(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)])  # z, y, x
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
# Each face's corners in turn, so that an edge is walked one way on one of its faces and the other way on the other.
FACES = ((0, 1, 2, 3), (4, 7, 6, 5), (0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0))
# Code: the edge on which the fan of its bent outline is hinged. Flat outlines look the same from every vertex.
APEX = {
    7: 8, 11: 9, 13: 8, 14: 9, 19: 1, 23: 2, 25: 2, 29: 1, 30: 9, 31: 9, 35: 3, 38: 2, 43: 2, 45: 8, 46: 5, 47: 8,
    49: 3, 50: 1, 53: 3, 54: 8, 55: 3, 57: 9, 58: 1, 59: 1, 61: 0, 62: 0, 70: 0, 71: 5, 75: 9, 76: 3, 77: 0, 79: 9,
    83: 1, 86: 0, 87: 9, 89: 2, 92: 3, 93: 11, 95: 9, 98: 0, 99: 8, 100: 2, 101: 2, 103: 2, 106: 0, 107: 1, 108: 9,
    109: 1, 110: 0, 112: 8, 113: 0, 115: 1, 116: 1, 117: 9, 118: 0, 120: 8, 121: 7, 123: 1, 124: 6, 126: 0,
}  # fmt: skip


def area_and_volume(mask: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    """Returns the surface's area, mm2, and the volume it encloses, mm3.

    Args:
        mask: bool, (z, y, x), with a margin of at least one voxel outside.
        spacing: Voxel size in mm, (3,).
    """
    codes = _codes(mask)
    places = np.argwhere((codes != 0) & (codes != 255))
    codes = codes[tuple(places.T)]
    turned = codes >= 128
    codes, sign = np.where(turned, 255 - codes, codes), np.where(turned, -1, 1)
    triangle_code, normal, triple = _triangles()
    count = np.bincount(codes, minlength=128)
    area = count[triangle_code] @ np.linalg.norm(normal * spacing.prod() / spacing, axis=1) / 2
    # Six times the volume is the sum of a . (b x c) over the triangles; moved by o, it gains o . normal.
    balance = np.bincount(codes, sign, minlength=128)
    moment = np.stack([np.bincount(codes, sign * places[:, axis], minlength=128) for axis in range(3)], axis=1)
    six_volumes = balance[triangle_code] @ triple + np.sum(moment[triangle_code] * normal)
    return float(area), float(six_volumes * spacing.prod() / 6)


def vertices(mask: np.ndarray) -> np.ndarray:
    """Returns the middle between each pair of face neighbours of which one is inside, in half voxels, (n, 3)."""
    found = []
    for axis in range(3):
        ahead, behind = np.delete(mask, 0, axis), np.delete(mask, -1, axis)
        found.append(2 * np.argwhere(ahead != behind) + np.eye(3, dtype=np.intp)[axis])
    return np.concatenate(found)


def _codes(mask: np.ndarray) -> np.ndarray:
    z, y, x = mask.shape
    codes = np.zeros((z - 1, y - 1, x - 1), np.uint8)
    for bit, (dz, dy, dx) in enumerate(CORNERS):
        codes |= mask[dz : z - 1 + dz, dy : y - 1 + dy, dx : x - 1 + dx].astype(np.uint8) << np.uint8(bit)
    return codes


@cache
def _triangles() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the triangles of codes 0 to 127: code, (b - a) x (c - a) and a . (b x c), in voxels."""
    middles = CORNERS[np.array(EDGES)].mean(axis=1)
    corners, codes = [], []
    for code in range(128):
        for outline in _outlines(code):
            first = outline.index(APEX[code]) if APEX.get(code) in outline else 0
            fan = outline[first:] + outline[:first]
            corners += [(fan[0], fan[k], fan[k + 1]) for k in range(1, len(fan) - 1)]
            codes += [code] * (len(fan) - 2)
    a, b, c = np.moveaxis(middles[np.array(corners)], 1, 0)
    return np.array(codes), np.cross(b - a, c - a), np.sum(a * np.cross(b, c), axis=1)


def _outlines(code: int) -> list[list[int]]:
    """Returns the closed lines in which the surface cuts a cube's faces, each a list of edges."""
    edge = {pair: number for number, (a, b) in enumerate(EDGES) for pair in ((a, b), (b, a))}
    after: dict[int, int] = {}
    for face in FACES:
        walk = [(face[k - 1], face[k]) for k in range(4)]
        inward = [k for k, (a, b) in enumerate(walk) if not code >> a & 1 and code >> b & 1]
        for k in inward:  # From where the walk enters corners inside to where it leaves them again.
            leave = next(j % 4 for j in range(k + 1, k + 4) if not code >> walk[j % 4][1] & 1)
            after[edge[walk[k]]] = edge[walk[leave]]
    outlines = []
    while after:
        outline = [min(after)]
        while (following := after.pop(outline[-1])) != outline[0]:
            outline.append(following)
        outlines.append(outline)
    return outlines
