"""What a NIfTI file's header says and other readers let pass: whether all voxels are there, and two places in one file.

Source: NIfTI-1 and NIfTI-2 data format definitions, https://nifti.nimh.nih.gov.
"""

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radkit.dicom import part10

# By the header's first number, its own size: where dim, bitpix, pixdim, vox_offset, the two codes, the quaternion with
# its offset, and srow stand, and how they are written.
_LAYOUTS = {
    348: {"dim": (40, "8h"), "kind": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"),
          "scale": (112, "2f"), "units": (123, "B"),
          "codes": (252, "2h"), "quaternion": (256, "6f"), "srow": (280, "12f")},
    540: {"dim": (16, "8q"), "kind": (12, "h"), "bitpix": (14, "h"), "pixdim": (104, "8d"), "vox_offset": (168, "q"),
          "scale": (176, "2d"), "units": (500, "i"),
          "codes": (344, "2i"), "quaternion": (352, "6d"), "srow": (400, "12d")},
}  # fmt: skip
# What a number of datatype stands for; complex numbers, colours and those of 128 bits are left to others.
_KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_IN_MM = {1: 1000.0, 3: 0.001}  # metres and micrometres, by the lowest three bits of xyzt_units
_CHUNK = 1 << 22
_SQUARE = 1e-3  # cosine of the angle between axes, up to which they are at right angles
_APART_MM = 0.1  # by so much may the two places of the farthest voxel differ, that they are one


class NiftiError(ValueError):
    """A header that is none, or voxels that are not there."""


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        shape: Columns, rows, slices, times, ...
        num_bytes: Of the whole file, not compressed.
        qform: (4, 4) from voxel indices to LPS mm by the quaternion; None where the file does not use it.
        sform: The same by the matrix.
        kind: Type of the voxels as numpy writes it; empty for one that is not read here.
        offset: Byte of the file, not compressed, at which the voxels begin.
        scale: Factor and summand of the voxels; (1, 0) where they are as they stand.
        is_second: Whether it is NIfTI-2, which SimpleITK does not read.
    """

    shape: tuple[int, ...]
    num_bytes: int
    qform: np.ndarray | None
    sform: np.ndarray | None
    kind: str = ""
    offset: int = 0
    scale: tuple[float, float] = (1.0, 0.0)
    is_second: bool = False

    @property
    def is_sheared(self) -> bool:
        """Whether the matrix has axes that are not at right angles, as of slices that a tilted gantry made."""
        if self.sform is None:
            return False
        axes = self.sform[:3, :3] / np.linalg.norm(self.sform[:3, :3], axis=0).clip(1e-9)
        return bool(np.isfinite(axes).all() and np.abs(axes.T @ axes - np.eye(3)).max() > _SQUARE)


def header(path: Path) -> Header:
    """Returns a file's header, once all voxels that it announces were found to be there.

    Raises:
        NiftiError: It is none, cut short, or damaged within its compression.
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            found = _parsed(file.read(540))
            there = 540 if compressed else path.stat().st_size
            while compressed and (chunk := file.read(_CHUNK)):  # to the end, where the checksum stands
                there += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NiftiError("its compressed voxels are cut short or damaged") from error
    except part10.MALFORMED as error:
        raise NiftiError("its header is none of NIfTI-1 or NIfTI-2") from error
    if there < found.num_bytes:
        raise NiftiError(f"it is cut short: {there} bytes are there, {found.num_bytes} were announced")
    return found


def _parsed(data: bytes) -> Header:
    order = next((o for o in "<>" if struct.unpack_from(f"{o}i", data)[0] in _LAYOUTS), "")
    layout = _LAYOUTS[struct.unpack_from(f"{order}i", data)[0]]
    said = {name: struct.unpack_from(order + how, data, place) for name, (place, how) in layout.items()}
    shape = said["dim"][1 : 1 + said["dim"][0]]
    if not shape or min(shape) < 1 or not 0 < said["bitpix"][0] <= 256:
        raise ValueError(shape)
    needed = int(said["vox_offset"][0]) + int(np.prod([int(n) for n in shape], dtype=object)) * said["bitpix"][0] // 8
    q_code, s_code = said["codes"]
    mm = np.diag([*[_IN_MM.get(said["units"][0] & 7, 1.0)] * 3, 1.0])
    slope, intercept = said["scale"]
    kind = _KINDS.get(said["kind"][0], "")
    return Header(
        tuple(int(n) for n in shape),
        needed,
        mm @ _turned(said["quaternion"], said["pixdim"]) if q_code > 0 else None,
        mm @ _lps(np.reshape(said["srow"], (3, 4))) if s_code > 0 else None,
        order + kind if kind and np.dtype(kind).itemsize * 8 == said["bitpix"][0] else "",
        int(said["vox_offset"][0]),
        (slope, intercept) if slope and np.isfinite([slope, intercept]).all() else (1.0, 0.0),
        layout is _LAYOUTS[540],
    )


def values(path: Path, header: Header) -> tuple[np.ndarray, np.ndarray]:
    """Returns what SimpleITK does not read: voxels of NIfTI-2, and those whose matrix is sheared.

    Args:
        path: The file.
        header: Its own, by `header`.

    Returns:
        (slices, rows, columns) and the affine, (4, 4) from voxel indices to LPS mm: by the matrix, which may be
        sheared, else by the quaternion.

    Raises:
        NiftiError: More than three axes, voxels of a kind that is not read, or no place in the patient.
        OSError: It cannot be opened.
    """
    shape = (*header.shape, 1, 1)
    if any(n > 1 for n in shape[3:]) or not header.kind:
        raise NiftiError("it holds more than one volume, or numbers of a kind that is not read")
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if compressed else path.open("rb") as file:
        file.seek(header.offset)
        count = int(np.prod(shape[:3], dtype=object)) * np.dtype(header.kind).itemsize
        array = np.frombuffer(file.read(count), header.kind).reshape(shape[2::-1])
    slope, intercept = header.scale
    array = array.astype(array.dtype.newbyteorder("=")) if (slope, intercept) == (1, 0) else array * slope + intercept
    affine = header.sform if header.sform is not None else header.qform
    if affine is None:
        raise NiftiError("it says no place in the patient (qform and sform are unset)")
    return array, affine


def _turned(numbers: Sequence[float], pixdim: Sequence[float]) -> np.ndarray:
    b, c, d = numbers[:3]
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ])  # fmt: skip
    steps = np.array(pixdim[1:4]) * (1, 1, -1 if pixdim[0] < 0 else 1)
    return _lps(np.column_stack([rotation * steps, numbers[3:]]))


def _lps(rows: np.ndarray) -> np.ndarray:
    # NIfTI counts millimetres to the right's opposite and to the front: RAS.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.vstack([rows, [0, 0, 0, 1]])


def places(header: Header, affine: np.ndarray) -> tuple[str, ...]:
    """Returns what is to be said of where a file's voxels lie, in words.

    Args:
        header: The file's.
        affine: (4, 4), from voxel indices to LPS mm, that was taken.
    """
    told = {name: form for name, form in (("sform", header.sform), ("qform", header.qform)) if form is not None}
    if not told:
        return ("the file says no place in the patient (qform and sform are unset): the affine is in its own axes",)
    shape = (*header.shape, 1, 1)[:3]
    far = np.array([[*np.array(corner) * (np.array(shape) - 1), 1] for corner in np.ndindex(2, 2, 2)]).T
    off = {name: float(np.abs((form - affine) @ far).max()) for name, form in told.items()}
    if all(distance <= _APART_MM for distance in off.values()):
        return ()
    taken = min(off, key=lambda name: (not np.isfinite(off[name]), off[name]))
    others = [f"{off[name]:.3g} mm by its {name}" for name in off if name != taken]
    return (f"the file says two places: {taken} was taken, a corner lies off {' and '.join(others)}",) if others else ()
