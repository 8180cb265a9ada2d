"""What happens to attributes that the standard's table does not list: most stay, free text and dates go.

Table E.1-1 has holes (DocumentTitle, TextValue, SecondaryReviewerName ...). So what a person types freely goes by its
VR, single attributes by name, and an attribute that neither the table nor the data dictionary knows goes whatever it
holds. Labels that software chooses (SegmentLabel, ConvolutionKernel) stay: readers depend on them. Codes are cleaned by
`codes.py`.

Source: DICOM PS3.15 E.1.1 leaves unlisted attributes to the implementer's judgement; this is ours.
"""

import functools
import re

from pydicom.datadict import get_entry

# People's names, free text, addresses and points in time.
REMOVED_VRS = frozenset(("PN", "LT", "ST", "UT", "UC", "UR", "AE", "AS", "DA", "DT", "TM"))

# UIDs that name a kind of thing, not a thing.
_CLASS_UIDS = frozenset((
    0x00080016, 0x0008001A, 0x0008001B, 0x00080062, 0x0008010C, 0x00080117, 0x00080118, 0x0008040E, 0x00081150,
    0x0008115A, 0x00083002, 0x00340003, 0x04000010, 0x30100052, 0x30100053,
))  # fmt: skip

# ICCProfile, the pixels, and the waveform's samples and their range: the bytes that are the image or the signal.
_KEPT_BYTES = frozenset((0x00282000, 0x7FE00010, 0x54000110, 0x54000112, 0x5400100A, 0x54001010))

# LO and SH that hold sentences, as their names say.
_SENTENCE = re.compile(r"(Description|Comments?|Notes|InstructionText)$")

_BY_NAME = {
    # Codes too long for SH and LO; without them the coded entry is empty.
    "LongCodeValue": "K", "URNCodeValue": "K",
    # Free text that is required where it stands.
    "TrackingID": "D", "RTImageLabel": "D", "HangingProtocolCreator": "D",
    "ContentDescription": "Z", "RadiationMachineName": "Z",
    # Required of animals, and a closed list in practice.
    "PatientSpeciesDescription": "K", "PatientBreedDescription": "K",
    # Counts the file's bytes, which change.
    "LengthToEnd": "X",
    # Earlier escrow: whoever has that key reads the patient's name.
    "EncryptedAttributesSequence": "X", "MACParametersSequence": "X", "DigitalSignaturesSequence": "X",
    "DataSetTrailingPadding": "X",
    **dict.fromkeys((
        "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "BreedRegistrationNumber",
        "StrainStockNumber", "StrainSource", "PlacerOrderNumberProcedure", "FillerOrderNumberProcedure",
        "PlacerOrderNumberImagingServiceRequestRetired", "FillerOrderNumberImagingServiceRequestRetired",
        "RouteOfAdmissions", "DeviceID", "GridID", "NTPSourceAddress", "SubstanceAdministrationDeviceID",
        "ProductLotIdentifier", "ImageID", "AcquisitionProtocolName", "BeamName", "RTImageName", "PatientSetupLabel",
        "PatientAdditionalPosition", "TreatmentProtocols", "ContactDisplayName", "HangingProtocolUserGroupName",
        "WorklistLabel", "FilmSessionLabel", "PrinterName", "PrintJobID", "PrintQueueID", "OwnerID",
        "StorageMediaFileSetID", "OrderPlacerIdentifierSequence", "OrderFillerIdentifierSequence",
        "AuthorizationEquipmentCertificationNumber", "PatientReliabilityIndicator", "FrameLabel", "Reference",
        "TransducerData", "CollimatorGridName",
        "ReferenceToRecordedSound", "RecognitionCode", "ConfigurationName", "DisplaySubsystemName",
    ), "X"),
}  # fmt: skip

_STRICTEST_FIRST = "XDZUK"

# CodeValue, CodingSchemeDesignator, CodingSchemeVersion, CodeMeaning, LongCodeValue, URNCodeValue.
CODE_TAGS = frozenset((0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119, 0x00080120))

# Labels that software chooses and readers depend on: all that stays of unlisted text when the rest must go.
ALLOWED = frozenset((
    "SpecificCharacterSet", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel",
    "SequenceName", "MagneticFieldStrength", "ImagedNucleus", "PulseSequenceName", "ReceiveCoilName",
    "TransmitCoilName", "FilterMaterial", "SegmentLabel", "SegmentAlgorithmName", "ROIName", "StructureSetLabel",
    "DimensionDescriptionLabel", "DoseComment", "RescaleType", "WindowCenterWidthExplanation", "LUTExplanation",
    "Units", "PresentationLabel", "StackID", "GraphicLayer", "MIMETypeOfEncapsulatedDocument",
    "LossyImageCompressionMethod", "DerivationDescription", "ContextIdentifier", "CodingSchemeName",
    "CodingSchemeResponsibleOrganization", "PrivateCreatorReference",
))  # fmt: skip


@functools.cache
def entry(tag: int) -> tuple[tuple[str, ...], str] | None:
    """Returns the data dictionary's VRs and keyword of a tag, or None when it is unknown.

    >>> entry(0x00280106)
    (('US', 'SS'), 'SmallestImagePixelValue')
    """
    try:
        vr, _, _, _, keyword = get_entry(tag)
    except KeyError:
        return None
    return tuple(vr.split(" or ")), keyword


def allowed(tag: int) -> bool:
    """Tells whether a label stays even when all other unlisted text goes."""
    known = entry(tag)
    return known is not None and known[1] in ALLOWED


def action(tag: int, vr: str | None) -> str:
    """Returns X, Z, D, U (map), or K (keep; of a sequence: apply the rules to its items).

    Args:
        tag: A public tag that the standard's table does not list.
        vr: What the file says; None when it does not.

    >>> action(0x00620005, "LO"), action(0x00420010, "ST"), action(0x00081167, "UI")
    ('K', 'X', 'U')
    """
    known = entry(tag)
    if known is None:
        return "X"
    vrs, keyword = known
    if keyword in _BY_NAME:
        return _BY_NAME[keyword]
    if keyword.startswith("IssuerOf"):
        return "X"  # whose numbers they are names the hospital
    # A file may say another VR than the dictionary: the stricter rule of the two holds.
    said = () if vr in (None, "UN") else (vr,)
    codes = {_by_vr(tag, str(one), keyword) for one in (*vrs, *said)}
    return min(codes, key=_STRICTEST_FIRST.index)


def _by_vr(tag: int, vr: str, keyword: str) -> str:
    if vr in REMOVED_VRS or vr == "UN":
        return "X"
    if vr == "UI":
        return "K" if tag in _CLASS_UIDS else "U"
    if vr == "OB":
        return "K" if tag in _KEPT_BYTES else "X"
    if vr in ("LO", "SH"):
        # Groups 0014 and 4010 are of industrial and security scans: their labels name workers and passengers.
        return "X" if tag >> 16 in (0x0014, 0x4010) or _SENTENCE.search(keyword) else "K"
    return "K"
