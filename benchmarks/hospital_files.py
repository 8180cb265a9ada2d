"""Made-up files with the headers of real scanners: a CT slice, and multi-frame MR whose headers are the larger part.

The values are invented; which elements there are, and how deep, is as those scanners write them.
"""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

ROOT = "1.2.826.0.1.3680043.9.7433.77"
_PLAIN = {
    "AccessionNumber": "4711", "InstitutionName": "St. Elsewhere", "InstitutionAddress": "1 Main Street, Springfield",
    "ReferringPhysicianName": "Doe^Jane", "StationName": "CT01", "StudyDescription": "CT thorax with contrast",
    "SeriesDescription": "Thorax 1.0 B31f", "InstitutionalDepartmentName": "Radiology", "OperatorsName": "Roe^Richard",
    "PerformingPhysicianName": "Doe^John", "ManufacturerModelName": "Imager 64", "PatientBirthDate": "19510822",
    "PatientSex": "F", "PatientAge": "061Y", "PatientSize": "1.68", "PatientWeight": "71", "PatientComments": "none",
    "BodyPartExamined": "CHEST", "DeviceSerialNumber": "12345", "SoftwareVersions": "syngo 2012", "StudyID": "1",
    "ProtocolName": "Thorax routine", "PatientPosition": "HFS", "SeriesNumber": "4", "AcquisitionNumber": "1",
    "ImageComments": "breath hold", "RequestingPhysician": "Doe^Jane", "RequestedProcedureDescription": "CT thorax",
    "PerformedProcedureStepID": "4711", "PerformedProcedureStepDescription": "CT thorax", "KVP": "120",
    "SliceThickness": "1", "DataCollectionDiameter": "500", "ReconstructionDiameter": "380", "ExposureTime": "500",
    "DistanceSourceToDetector": "1040", "DistanceSourceToPatient": "570", "GantryDetectorTilt": "0",
    "TableHeight": "140",
    "RotationDirection": "CW", "XRayTubeCurrent": "210", "Exposure": "105", "FilterType": "FLAT",
    "GeneratorPower": "29",
    "FocalSpots": "1.2", "ConvolutionKernel": "B31f", "RescaleIntercept": "-1024", "RescaleSlope": "1",
    "WindowCenter": ["40", "-600"], "WindowWidth": ["400", "1200"], "RescaleType": "HU", "SliceLocation": "-120.5",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"], "ImagePositionPatient": ["-190", "-190", "-120.5"],
    "PixelSpacing": ["0.742", "0.742"], "PositionReferenceIndicator": "", "SpecificCharacterSet": "ISO_IR 100",
}  # fmt: skip
_DATES = (
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepEndDate", "DateOfLastCalibration",
)  # fmt: skip
_TIMES = (
    "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime",
    "PerformedProcedureStepStartTime", "TimeOfLastCalibration",
)  # fmt: skip


def ct_slice(number: int, series: int = 0) -> Dataset:
    """Returns a 512x512 CT slice with 158 elements, a third of them private."""
    dataset = _start("1.2.840.10008.5.1.4.1.1.2", "CT", number, series)
    for keyword, value in _PLAIN.items():
        setattr(dataset, keyword, value)
    for keyword in _DATES:
        setattr(dataset, keyword, "20120304")
    for keyword in _TIMES:
        setattr(dataset, keyword, "112233.456000")
    dataset.ReferencedStudySequence = [_reference(1)]
    dataset.ReferencedImageSequence = [_reference(2), _reference(3)]
    dataset.SourceImageSequence = [_reference(4)]
    dataset.RequestAttributesSequence = [Dataset()]
    dataset.RequestAttributesSequence[0].RequestedProcedureID = "4711"
    _private(dataset, 0x0029, 158 - len(dataset) - 9)
    _pixels(dataset, 512, 512, 1, number)
    return dataset


def ct_series(folder: Path, series: int, slices: int = 100, syntax: UID = ExplicitVRLittleEndian) -> None:
    """Writes a CT series: a body of smooth tissue with noise, 512x512, 1 mm apart.

    Args:
        folder: Where; made when absent.
        series: Which one.
        slices: How many.
        syntax: Explicit VR Little Endian, or JPEG 2000 lossless.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[-1:1:512j, -1:1:512j]
    random = np.random.default_rng(series)
    for number in range(slices):
        radius = np.hypot(rows * 1.3, columns) + 0.02 * np.sin(6 * columns + number / 9)
        body = (
            1024
            + 60 * np.cos(9 * rows + number / 7) * np.cos(7 * columns)
            - 800 * (np.hypot(rows, columns - 0.3) < 0.2)
        )
        values = np.where(
            radius < 0.8, body + random.normal(0, 12, radius.shape), 24 + random.normal(0, 6, radius.shape)
        )
        dataset = ct_slice(number, series)
        dataset.ImagePositionPatient = ["-190", "-190", str(number)]
        dataset.PixelData = np.clip(values, 0, 4095).astype("<u2").tobytes()
        write(dataset, folder / f"{number:04d}.dcm")
        if syntax != ExplicitVRLittleEndian:
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def enhanced_mr(frames: int, number: int, *, private: bool = False, undefined: bool = False) -> Dataset:
    """Returns an Enhanced MR instance, its header the larger part of it.

    Args:
        frames: How many, each with its functional groups.
        number: Which instance.
        private: Whether each frame has a private sequence, as the newer Siemens software writes them.
        undefined: Whether sequences and items have undefined lengths.
    """
    dataset = _start("1.2.840.10008.5.1.4.1.1.4.1", "MR", number, 1)
    dataset.StudyDate, dataset.ContentDate, dataset.AcquisitionDateTime = "20120304", "20120304", "20120304112233"
    dataset.InstitutionName, dataset.PatientBirthDate = "St. Elsewhere", "19510822"
    dataset.NumberOfFrames = frames
    dataset.PerFrameFunctionalGroupsSequence = [_frame(i, private) for i in range(frames)]
    _pixels(dataset, 64, 64, frames, number)
    if undefined:
        _undefine(dataset)
    return dataset


def _frame(index: int, private: bool) -> Dataset:
    groups = Dataset()
    content = Dataset()
    content.FrameAcquisitionDateTime = content.FrameReferenceDateTime = f"20120304112233.{index:06d}"
    content.FrameAcquisitionDuration, content.StackID, content.InStackPositionNumber = 12.5, "1", index + 1
    content.DimensionIndexValues = [1, index + 1]
    groups.FrameContentSequence = [content]
    for keyword, inner in (
        ("PlanePositionSequence", {"ImagePositionPatient": ["1", "2", str(index)]}),
        ("PlaneOrientationSequence", {"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"]}),
        ("PixelMeasuresSequence", {"PixelSpacing": ["1", "1"], "SliceThickness": "3"}),
        ("FrameVOILUTSequence", {"WindowCenter": "600", "WindowWidth": "1200"}),
        ("PixelValueTransformationSequence", {"RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US"}),
        ("MREchoSequence", {"EffectiveEchoTime": 30.0}),
        ("MRAveragesSequence", {"NumberOfAverages": "1"}),
    ):
        item = Dataset()
        for name, value in inner.items():
            setattr(item, name, value)
        setattr(groups, keyword, [item])
    derivation = Dataset()
    derivation.SourceImageSequence = [_reference(1000 + index)]
    groups.DerivationImageSequence = [derivation]
    if private:
        item = Dataset()
        _private(item, 0x0021, 20)
        block = groups.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
        block.add_new(0xFE, "SQ", [item])
    return groups


def write(dataset: Dataset, path: Path) -> None:
    """Writes an instance."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _start(sop_class: str, modality: str, number: int, series: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"{ROOT}.{series}.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.8", f"{ROOT}.9.{series}"
    dataset.FrameOfReferenceUID = f"{ROOT}.7"
    dataset.Modality, dataset.Manufacturer, dataset.ImageType = modality, "ACME", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.InstanceNumber = "Doe^Jane", f"PAT{series}", number + 1
    return dataset


def _reference(number: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
    return item


def _private(dataset: Dataset, group: int, count: int) -> None:
    block = dataset.private_block(group, "SIEMENS CSA HEADER", create=True)
    for element in range(count - 1):
        block.add_new(
            element, ("LO", "DS", "CS", "UN")[element % 4], ("a value", "1.25", "YES", bytes(64))[element % 4]
        )


def _pixels(dataset: Dataset, rows: int, columns: int, frames: int, seed: int) -> None:
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = rows, columns, 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PhotometricInterpretation = "MONOCHROME2"
    noise = np.random.default_rng(seed).integers(0, 4096, (frames, rows, columns), np.uint16)
    dataset.PixelData = noise.tobytes()
    dataset["PixelData"].VR = "OW"


def _undefine(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _undefine(item)
