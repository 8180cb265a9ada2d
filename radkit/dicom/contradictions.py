"""What a series' headers say against each other: the modality against the rest, slices against their neighbours."""

from collections.abc import Sequence

from radkit.dicom import facts, scan
from radkit.dicom.findings import Finding

_CLASS = "1.2.840.10008.5.1.4.1.1."
_PROJECTIONS = ("CR", "DX", "MG", "IO", "PX", "RG")
# Which modalities a storage class has, by PS3.4 B.5 and PS3.3; classes that several modalities use are not here.
_STORED_AS = {
    **dict.fromkeys(("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1"), _PROJECTIONS),
    **dict.fromkeys(("2", "2.1", "2.2"), ("CT",)),
    **dict.fromkeys(("4", "4.1", "4.3", "4.4"), ("MR",)),
    **dict.fromkeys(("128", "128.1", "130"), ("PT",)),
}
_OF_A_KIND = (*_PROJECTIONS, "CT", "MR", "PT")  # between which an exchange is asked for
_SLICES = ("CT", "MR", "PT")
_SAME_THICKNESS = 0.01  # relative


def found(instances: Sequence[scan.Instance]) -> list[Finding]:
    """Returns contradictions within a series' headers; nothing of sound ones.

    Args:
        instances: Of one series.
    """
    modality = instances[0]["Modality"]
    if modality not in _OF_A_KIND:
        return []
    return _modality(instances, modality) + (_settings(instances) if modality in _SLICES else [])


def _modality(instances: Sequence[scan.Instance], modality: str) -> list[Finding]:
    """Finds a Modality that the SOP class, or the way the image was taken, rules out (PS3.3 C.8.3, C.8.2, C.8.15)."""
    for one in instances:
        stored = _STORED_AS.get(one["SOPClassUID"].removeprefix(_CLASS))
        if stored is not None and modality not in stored and one["Modality"] == modality:
            return [Finding("wrong_modality", f"Modality is {modality}, SOPClassUID that of {stored[0]}")]
    first = instances[0]
    magnet = _above_zero(first, "EchoTime") or _above_zero(first, "MagneticFieldStrength")
    tube = _above_zero(first, "KVP")
    if modality != "MR" and modality != "PT" and magnet and not tube:
        return [Finding("wrong_modality", f"Modality is {modality}, and the header tells of a magnet: an MR")]
    if modality == "PT" and _above_zero(first, "EchoTime"):
        return [Finding("wrong_modality", "Modality is PT, and EchoTime is told as of an MR")]
    if modality == "MR" and tube and not magnet:
        return [Finding("wrong_modality", "Modality is MR, and the header tells of an X-ray tube (KVP)")]
    if modality in _SLICES and first["ViewPosition"] and not first["ImagePositionPatient"]:
        return [Finding("wrong_modality", f"Modality is {modality}, and ViewPosition is told as of a radiograph")]
    return []


def _above_zero(instance: scan.Instance, keyword: str) -> bool:
    told = facts.numbers(instance[keyword], 1)
    return told is not None and told[0] > 0


def _settings(instances: Sequence[scan.Instance]) -> list[Finding]:
    """Finds slices of one stack that differ in what all of a stack share."""
    told = [facts.numbers(one["ImageOrientationPatient"], 6) for one in instances]
    if len({tuple(round(value, 2) for value in numbers) for numbers in told if numbers}) > 1:  # localizers
        return []
    findings = []
    photometric = {one["PhotometricInterpretation"] for one in instances}
    if {"MONOCHROME1", "MONOCHROME2"} <= photometric:
        findings.append(Finding("mixed_pixels", "PhotometricInterpretation differs: MONOCHROME1 and MONOCHROME2"))
    thickness = [mm[0] for one in instances if (mm := facts.numbers(one["SliceThickness"], 1)) and mm[0] > 0]
    if thickness and max(thickness) > min(thickness) * (1 + _SAME_THICKNESS):
        said = f"SliceThickness differs between slices: {min(thickness):g} to {max(thickness):g} mm"
        findings.append(Finding("mixed_settings", said))
    return findings
