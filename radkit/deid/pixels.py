"""What the options that change pixels make of an instance: faces overwritten, burned-in text blacked out.

Source: DICOM PS3.15 E.3.1 (Clean Pixel Data), E.3.2 (Clean Recognizable Visual Features).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

from radkit.deid import engine, wire
from radkit.deid.settings import PIXELS, Settings
from radkit.deid.wire import Syntax
from radkit.dicom.part10 import silence
from radkit.dicom.pixels import PixelError

if TYPE_CHECKING:
    from radkit.deid.text_in_pixels import Template


@dataclass(frozen=True)
class Changed:
    """What was done to an instance's pixels.

    Attributes:
        pixels: For the engine.
        cleaned: As `text_in_pixels.clean` says it; None when no text was found or looked for.
    """

    pixels: engine.Pixels
    cleaned: Any = None


def change(
    dataset: pydicom.Dataset,
    syntax: Syntax,
    settings: Settings,
    *,
    face: np.ndarray | None = None,
    templates: "Sequence[Template]" = (),
) -> Changed:
    """Returns an instance's pixels as the options make them.

    Args:
        dataset: The original, with its file meta; its pixel attributes are replaced when a face is.
        syntax: How the elements of the new file are encoded.
        settings: Which options.
        face: What to overwrite, (rows, columns) bool; None for an instance that shows no head.
        templates: Known places of text, by device.

    Raises:
        PixelError: The pixels cannot be decoded, and so not looked at.
    """
    from radkit.deid import text_in_pixels  # its networks are an extra

    with silence():
        elements: dict[int, bytes] = {}
        transfer_syntax = ""
        if face is not None and face.any():
            transfer_syntax, elements = _without_face(dataset, face, syntax)
        if PIXELS not in settings.options:
            return Changed(engine.Pixels(False, face is not None, elements, transfer_syntax))
        known = text_in_pixels.known_strings(dataset)
        cleaned = text_in_pixels.clean(dataset, known, templates=templates)
        if cleaned is not None:
            elements |= _encoded(
                cleaned.tag, cleaned.vr, cleaned.value, cleaned.encapsulated, cleaned.attributes, syntax
            )
            transfer_syntax = cleaned.transfer_syntax
        return Changed(engine.Pixels(True, face is not None, elements, transfer_syntax), cleaned)


def _without_face(dataset: pydicom.Dataset, face: np.ndarray, syntax: Syntax) -> tuple[str, dict[int, bytes]]:
    """Overwrites a face with the darkest value of its slice; the data set then holds the new pixels."""
    from radkit.deid.text_in_pixels import decoding, encoding

    source = decoding.decode(dataset)
    if source is None or source.cells.shape[1:3] != face.shape or len(source.cells) != 1:
        raise PixelError("the face's mask does not fit the pixels; single-frame slices were expected")
    cells = source.cells.copy()
    cells[0][face] = source.cells.reshape(-1, *source.cells.shape[3:]).min(axis=0)
    new = encoding.encode(source, cells, dataset)
    elements = _encoded(source.tag, new.vr, new.value, new.encapsulated, new.attributes, syntax)
    for tag, said in new.attributes.items():
        if said is None:
            dataset.pop(tag, None)
        else:
            dataset[tag] = DataElement(tag, *said)
    value = new.value + wire.delimiter(wire.SEQUENCE_END, wire.EXPLICIT) if new.encapsulated else new.value
    dataset[source.tag] = DataElement(source.tag, new.vr, value, is_undefined_length=new.encapsulated)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(new.syntax)
    return new.syntax, elements


def _encoded(tag: int, vr: str, value: bytes, encapsulated: bool, attributes: Any, syntax: Syntax) -> dict[int, bytes]:
    """Returns new elements as bytes; empty ones remove."""
    if encapsulated:
        head = wire.header(tag, vr, wire.UNDEFINED, syntax)
        elements = {tag: head + value + wire.delimiter(wire.SEQUENCE_END, syntax)}
    else:
        elements = {tag: wire.element(tag, vr, value, syntax)}
    for other, said in attributes.items():
        elements[other] = b"" if said is None else encoded(DataElement(other, *said), syntax)
    return elements


def encoded(element: DataElement, syntax: Syntax) -> bytes:
    """Returns a pydicom element as bytes."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax.implicit, not syntax.big
    write_data_element(buffer, element)
    return buffer.getvalue()
