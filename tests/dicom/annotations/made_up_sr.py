"""Made-up measurement reports, item by item, so that they can also be what no careful writer makes."""

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests import made_up

COMPREHENSIVE_3D = "1.2.840.10008.5.1.4.1.1.88.34"
CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LESION = "1.2.826.0.1.3680043.10.511.7.77"


def code(value: str, scheme: str = "DCM", meaning: str = "", keyword: str = "CodeValue") -> Dataset:
    found = Dataset()
    setattr(found, keyword, value)
    if scheme:
        found.CodingSchemeDesignator = scheme
    found.CodeMeaning = meaning or f"meaning of {value}"
    return found


def item(kind: str, name: Dataset | None, *children: Dataset, relation: str = "CONTAINS", **values: object) -> Dataset:
    found = Dataset()
    found.ValueType = kind
    if relation:
        found.RelationshipType = relation
    if name is not None:
        found.ConceptNameCodeSequence = [name]
    for keyword, value in values.items():
        setattr(found, keyword, value)
    if children:
        found.ContentSequence = list(children)
    return found


def coded(name: Dataset, value: Dataset, relation: str = "CONTAINS") -> Dataset:
    return item("CODE", name, relation=relation, ConceptCodeSequence=[value])


def number(name: Dataset, value: str | None, unit: str = "mm", *children: Dataset, **values: object) -> Dataset:
    measured = Dataset()
    if value is not None:
        measured.NumericValue = value
    for keyword, one in values.items():
        setattr(measured, keyword, one)
    if unit:
        measured.MeasurementUnitsCodeSequence = [code(unit, "UCUM", unit)]
    return item("NUM", name, *children, MeasuredValueSequence=[measured])


def tracking(identifier: str = "lesion 1", uid: str = LESION) -> list[Dataset]:
    found = []
    if identifier:
        found.append(item("TEXT", code("112039"), relation="HAS OBS CONTEXT", TextValue=identifier))
    if uid:
        found.append(item("UIDREF", code("112040"), relation="HAS OBS CONTEXT", UID=uid))
    return found


def image(uid: str, frames: Sequence[int] = (), sop_class: str = CT, **values: object) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class
    reference.ReferencedSOPInstanceUID = uid
    if frames:
        reference.ReferencedFrameNumber = list(frames)
    for keyword, value in values.items():
        setattr(reference, keyword, value)
    return item("IMAGE", code("121324"), relation="SELECTED FROM", ReferencedSOPSequence=[reference])


def figure(kind: str, points: Sequence[float], *images: Dataset) -> Dataset:
    return item("SCOORD", code("111030"), *images, GraphicType=kind, GraphicData=list(points))


def figure_3d(kind: str, points: Sequence[float], frame_of_reference: str) -> Dataset:
    said = {"GraphicType": kind, "GraphicData": list(points), "ReferencedFrameOfReferenceUID": frame_of_reference}
    return item("SCOORD3D", code("111030"), **said)


def group(*children: Dataset) -> Dataset:
    return item("CONTAINER", code("125007", meaning="Measurement Group"), *children)


def nodule(*children: Dataset) -> Dataset:
    """Returns a group of a nodule in the lung."""
    site = coded(code("363698007", "SCT"), code("39607008", "SCT", "Lung"), "HAS CONCEPT MOD")
    return group(*tracking(), coded(code("121071"), code("27925004", "SCT", "Nodule")), site, *children)


def person(name: str = "Reader A") -> Dataset:
    return item("PNAME", code("121008"), relation="HAS OBS CONTEXT", PersonName=name)


def report(*groups: Dataset, context: Sequence[Dataset] = (), evidence: Sequence[tuple[str, str]] = ()) -> Dataset:
    """Returns a report of groups that rests on images, (SeriesInstanceUID, SOPInstanceUID)."""
    inside = item("CONTAINER", code("126010"), *groups)
    found = item("CONTAINER", code("126000", meaning="Imaging Measurement Report"), *context, inside, relation="")
    for keyword, value in made_up.header("SR", series=9).items():
        if keyword != "FrameOfReferenceUID":
            setattr(found, keyword, value)
    found.SOPClassUID = COMPREHENSIVE_3D
    found.SOPInstanceUID = f"{made_up.ROOT_UID}.9.1"
    found.ContentDate = "20240305"
    if evidence:
        study = Dataset()
        study.ReferencedSeriesSequence = [_of_series(*one) for one in evidence]
        found.CurrentRequestedProcedureEvidenceSequence = [study]
    return found


def _of_series(series: str, uid: str) -> Dataset:
    found = Dataset()
    found.SeriesInstanceUID = series
    found.ReferencedSOPSequence = image(uid).ReferencedSOPSequence
    return found


def save(dataset: Dataset, path: Path) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path
