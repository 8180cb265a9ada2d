"""MetaImage headers that crash the library that reads them are refused before."""

import numpy as np
import pytest
import SimpleITK as sitk

from radkit.dicom import SeriesError, foreign


@pytest.fixture
def header(tmp_path):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    return tmp_path / "a.mhd"


def test_headers_as_they_are_written_are_read(header):
    assert foreign.read(header).stored.shape == (2, 3, 4)
    sitk.WriteImage(sitk.ReadImage(str(header)), str(header.with_suffix(".mha")), True)
    assert foreign.read(header.with_suffix(".mha")).stored.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NDims = 3", "NDims = 31e99"),
        ("NDims = 3", "NDims = 31"),
        ("NDims = 3", "NDims = -1"),
        ("NDims = 3", "NDims = 2"),
        ("NDims = 3\n", ""),
        ("DimSize = 4 3 2", "DimSize = 4 3"),
        ("DimSize = 4 3 2", "DimSize = 4 3 -2"),
        ("ElementSpacing = 1 1 1", "ElementSpacing = 1 x 1"),
        ("Offset = 0 0 0", "Offset = 0 0 0 0"),
        ("ElementDataFile", "Nothing"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(header, old, new):
    said = header.read_text()
    assert old in said
    header.write_text(said.replace(old, new))
    with pytest.raises(SeriesError, match="the MetaImage file cannot be read"):
        foreign.read(header)
