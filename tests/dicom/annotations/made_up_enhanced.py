"""A made-up series as one file of many frames."""

from pathlib import Path

import highdicom
import pydicom

from radkit.dicom import read_volumes
from radkit.dicom.volumes import Volume
from tests import made_up


def enhanced(folder: Path) -> Volume:
    """Writes a made-up series as one enhanced file of many frames, through highdicom; returns its volume."""
    made_up.ct_series(folder / "ct", place=made_up.affine(angles=(0, 10, 0)), BodyPartExamined="CHEST")
    slices = [pydicom.dcmread(path) for path in sorted((folder / "ct").iterdir())]
    file = highdicom.legacy.LegacyConvertedEnhancedCTImage(slices, "1.2.3.4", 1, "1.2.3.4.5", 1)
    file.save_as(folder / "enhanced.dcm")
    (volume,) = read_volumes(folder / "enhanced.dcm")
    return volume
