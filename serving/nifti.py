"""Masks as NIfTI-1, on the image's grid in the patient, for those whose tools read nothing else.

The matrix (sform) says where voxels lie, sheared stacks of a tilted gantry, too; where axes are at right angles the
quaternion (qform) says the same. Where nobody says where the image lies, neither is set.

Source: NIfTI-1 data format definition, https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from radkit.dicom import geometry
from radkit.dicom.volumes import Volume

_HEADER = "<i10s18sihbb8h3fhhhh8ffffhbb4fii80s24shh6f12f16s4s"
_UINT8 = 2
_MM = 2
_SCANNER = 1  # of qform_code and sform_code: the scanner's own axes
_BEGIN = 352  # byte at which voxels begin


def write_mask(mask: np.ndarray, volume: Volume, path: Path) -> None:
    """Writes a mask as .nii.gz; the same mask gives the same bytes.

    Args:
        mask: (slices, rows, columns) uint8 on the volume's grid.
        volume: The image.
        path: The file to write.
    """
    # Column by column in the file, as in memory: DICOM's rows and NIfTI's first axis run alike.
    packed = gzip.compress(header(mask.shape, volume) + np.ascontiguousarray(mask, np.uint8).tobytes(), 6, mtime=0)
    path.write_bytes(packed)


def header(shape: tuple[int, ...], volume: Volume) -> bytes:
    """Returns the header of a mask of this shape, slices first, up to where its voxels begin."""
    placed = bool(np.isfinite(volume.spacing_mm).all())
    known = np.nan_to_num(volume.spacing_mm, nan=1.0)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # NIfTI counts mm to the right's opposite and to the front
    sheared = geometry.is_sheared(volume.affine[:3, :3])
    handed, quaternion = _turned(ras) if placed and not sheared else (1.0, (0.0, 0.0, 0.0))
    steps = np.linalg.norm(ras[:3, :3], axis=0) if placed else known[::-1]
    offset = ras[:3, 3] if placed else np.zeros(3)
    packed = struct.pack(
        _HEADER,
        *(348, b"", b"", 0, 0, ord("r"), 0),
        *(3, *shape[::-1], 1, 1, 1, 1),  # dim
        *(0.0, 0.0, 0.0, 0, _UINT8, 8, 0),
        *(handed, *steps, 0.0, 0.0, 0.0, 0.0),  # pixdim
        *(float(_BEGIN), 1.0, 0.0, 0, 0, _MM),
        *(0.0, 0.0, 0.0, 0.0, 0, 0),
        *(b"radkit", b""),
        *(_SCANNER * (placed and not sheared), _SCANNER * placed),
        *(*quaternion, *offset),
        *(ras[:3].ravel() if placed else np.zeros(12)),
        *(b"", b"n+1"),
    )
    return packed.ljust(_BEGIN, b"\0")


def _turned(ras: np.ndarray) -> tuple[float, tuple[float, ...]]:
    """Returns on which hand the axes are, 1 or -1, and b, c, d of their quaternion."""
    axes = ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0)
    handed = float(np.sign(np.linalg.det(axes)))
    b, c, d, a = Rotation.from_matrix(axes * (1, 1, handed)).as_quat()
    turned = -1.0 if a < 0 else 1.0  # a is not in the file, it is taken for positive
    return handed, (turned * b, turned * c, turned * d)
