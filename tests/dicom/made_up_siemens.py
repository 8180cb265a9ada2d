"""Made-up private headers and mosaics, as Siemens and UIH write them."""

import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from radkit.dicom import write
from tests import made_up


def csa_header(elements: Mapping[str, Sequence[str]], *, marked: bool = True, check: int = 77) -> bytes:
    """Returns a CSA header of the "SV10" form, or of the older one.

    The older form's lengths are too large by the number of the first element's items.
    """
    raw = (b"SV10\4\3\2\1" if marked else b"") + struct.pack("<II", len(elements), check)
    surplus = len(next(iter(elements.values()), ()))
    for name, values in elements.items():
        # What stands behind the name's end is whatever the writer's memory held.
        field = (name.encode() + b"\0").ljust(64, b"\xcd")
        raw += field + struct.pack("<i4siii", len(values), b"DS\0\0", 3, len(values), check)
        for value in values:
            text = value.encode() + b"\0"
            length = len(text)
            lengths = (length, length, check, length) if marked else (length + surplus, length, check, length)
            raw += struct.pack("<4i", *lengths) + text.ljust(-(-length // 4) * 4, b"\0")
    return raw


def protocol(centres: np.ndarray) -> bytes:
    """Returns a series header with slices at some centres, (slices, 3) LPS mm; zeros are left out, as scanners do."""
    lines = [f"sSliceArray.lSize\t = \t{len(centres)}"]
    for number, centre in enumerate(centres):
        lines.append(f"sSliceArray.asSlice[{number}].dThickness\t = \t3.0")
        for axis, value in zip(("Sag", "Cor", "Tra"), centre):
            if value:
                lines.append(f"sSliceArray.asSlice[{number}].sPosition.d{axis}\t = \t{value:.9f}")
    text = "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=41 ###\n{}\n### ASCCONV END ###"
    return csa_header({"MrPhoenixProtocol": [text.format("\n".join(lines))]})


def mosaic(stored: np.ndarray, place: np.ndarray, **header: object) -> Dataset:
    """Returns a mosaic's public part: tiles of (slices, rows, columns) int16 in a square grid, the rest of it zero.

    Args:
        stored: The slices, in the order of tiles.
        place: Of the volume, as `made_up.affine`.
        **header: Keywords.
    """
    count, rows, columns = stored.shape
    side = math.ceil(math.sqrt(count))
    sheet = np.zeros((side * rows, side * columns), stored.dtype)
    for k, tile in enumerate(stored):
        down, across = divmod(k, side)
        sheet[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns] = tile
    said = {"Manufacturer": "SIEMENS", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], **header}
    dataset = write.instance(sheet, made_up.header("MR", **said), f"{made_up.ROOT_UID}.77")  # type: ignore[arg-type]
    step = np.linalg.norm(place[:3, :3], axis=0)
    corner = middle(stored, place)[0] - place[:3, 0] * side * columns / 2 - place[:3, 1] * side * rows / 2
    dataset.ImagePositionPatient = [f"{v:.10g}" for v in corner]
    dataset.ImageOrientationPatient = [f"{v:.10f}" for v in (*place[:3, 0] / step[0], *place[:3, 1] / step[1])]
    dataset.PixelSpacing = [f"{step[1]:.10g}", f"{step[0]:.10g}"]
    dataset.SpacingBetweenSlices = f"{step[2]:.10g}"
    dataset.SliceThickness = "1.5"
    dataset.AcquisitionMatrix = [rows, 0, 0, columns]
    return dataset


def middle(stored: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Returns the slices' middles as the scanner means them, half a pixel beyond the image's, (slices, 3) LPS mm."""
    count, rows, columns = stored.shape
    return np.stack([(place @ (columns / 2, rows / 2, k, 1))[:3] for k in range(count)])


def add_private(dataset: Dataset, creator: str, group: int, element: int, vr: str, value: object) -> None:
    """Adds a private element, and its block where it is not there."""
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)


def add_csa(dataset: Dataset, place: np.ndarray, count: int, *, marked: bool = True, **elements: list[str]) -> None:
    """Adds the CSA image header of a mosaic."""
    normal = place[:3, 2] / np.linalg.norm(place[:3, 2])
    told = {
        "EchoLinePosition": [],
        "NumberOfImagesInMosaic": [str(count)],
        "SliceNormalVector": [f"{v:.8f}" for v in normal],
        **elements,
    }
    if not marked:  # its first element has items, so that lengths are too large
        told = {"ImaRelTablePosition": ["0", "0", "0"], **told}
    add_private(dataset, "SIEMENS CSA HEADER", 0x0029, 0x10, "OB", csa_header(told, marked=marked))


def united(stored: np.ndarray, place: np.ndarray) -> Dataset:
    """Returns a mosaic of UIH's: (slices, rows, columns), fewer rows of tiles than columns where that is enough."""
    count, rows, columns = stored.shape
    across = math.ceil(math.sqrt(count))
    sheet = np.zeros((math.ceil(count / across) * rows, across * columns), stored.dtype)
    dataset = mosaic(stored, place, Manufacturer="UIH", ImageType=["ORIGINAL", "PRIMARY", "M", "VFRAME"])
    del dataset.ImagePositionPatient
    items = []
    for k, tile in enumerate(stored):
        down, right = divmod(k, across)
        sheet[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns] = tile
        items.append(Dataset())
        items[-1].ImagePositionPatient = [f"{v:.10g}" for v in (place @ (0, 0, k, 1))[:3]]
        items[-1].AcquisitionTime = f"12000{k % 10}"
    dataset.Rows, dataset.Columns = sheet.shape
    dataset.PixelData = sheet.tobytes()
    add_private(dataset, "Image Private Header", 0x0065, 0x51, "SQ", Items(items))
    return dataset
