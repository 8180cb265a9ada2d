"""The quick reader gives what pydicom gives, or leaves the file to it: whatever the bytes."""

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.dicom import part10, pixels, quick, scan
from tests import made_up

REAL = sorted(p for p in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*") if p.is_file())
SHIPPED = sorted((Path(__file__).parents[2] / "radkit" / "demo" / "data").rglob("*.dcm"))
PIXELS = 0x7FE00010


def as_pydicom(path):
    """Returns the data set that pydicom reads; None when it refuses the file."""
    try:
        return pydicom.dcmread(path)
    except Exception:  # noqa: BLE001 - whatever it raises
        return None


def same(ours, theirs):
    return ours == theirs and ours.file_meta == theirs.file_meta and ours.original_encoding == theirs.original_encoding


@pytest.mark.parametrize("defer", [True, False])
def test_real_files_are_as_pydicom_reads_them(defer):
    read = 0
    with part10.silence():
        for path in [*REAL, *SHIPPED[::5]]:
            ours = quick.read(path, defer=defer)
            if ours is not None:
                read += 1
                assert same(ours, as_pydicom(path)), path.name
    assert read > 0.6 * len([*REAL, *SHIPPED[::5]])


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_sequences_of_any_length_are_read_in_full(tmp_path, syntax, undefined):
    deepest, inner, dataset = Dataset(), Dataset(), pydicom.dcmread(SHIPPED[0])
    deepest.CodeValue, deepest.LongCodeValue = "1", "long"
    inner.PurposeOfReferenceCodeSequence = Sequence([deepest, Dataset()])
    inner.ReferencedSOPInstanceUID = "1.2"
    dataset.SourceImageSequence = Sequence([inner, Dataset()])
    for holder in (dataset["SourceImageSequence"], inner["PurposeOfReferenceCodeSequence"]):
        holder.is_undefined_length = undefined
        for item in holder.value:
            item.is_undefined_length_sequence_item = undefined
    made_up.save(dataset, tmp_path / "a.dcm", syntax)
    ours = quick.read(tmp_path / "a.dcm")
    if syntax == ExplicitVRBigEndian:
        assert ours is None
    else:
        assert ours.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].LongCodeValue == "long"
        assert same(ours, pydicom.dcmread(tmp_path / "a.dcm"))


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_damaged_files_are_left_to_pydicom_or_read_alike(tmp_path, data):
    whole = data.draw(st.sampled_from(SHIPPED[:3])).read_bytes()[:9000]
    damaged = bytearray(whole[: data.draw(st.integers(130, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.dcm"
    path.write_bytes(damaged)
    with part10.silence():
        ours, theirs = quick.read(path, defer=data.draw(st.booleans())), as_pydicom(path)
        if ours is not None and theirs is not None:
            raw = {tag: ours.get_item(tag).value for tag in ours.keys()}  # noqa: SIM118 - of a data set, not its values
            for tag, value in raw.items():
                item = theirs.get_item(tag)
                if isinstance(item, pydicom.dataelem.RawDataElement):
                    assert item.value == value or (not item.value and not value)


def test_deferred_pixels_are_read_when_asked_for_and_not_kept(tmp_path):
    stored = made_up.ct_series(tmp_path, slices=1, stored=made_up.stored_values((1, 256, 256)))
    (path,) = tmp_path.iterdir()
    dataset = scan.read_file(path, defer=True)
    assert dataset.get_item(PIXELS, keep_deferred=True).value is None
    np.testing.assert_array_equal(pixels.stored(dataset), stored[0])
    assert dataset.get_item(PIXELS, keep_deferred=True).value is None
    assert pixels.encoded(dataset) == stored.tobytes()
    assert dataset.PixelData == stored.tobytes()  # pydicom, too, finds them


@pytest.mark.parametrize("left", [None, 70_000])
def test_pixels_that_went_meanwhile_are_told(tmp_path, left):
    made_up.ct_series(tmp_path, slices=1, stored=made_up.stored_values((1, 256, 256)))
    (path,) = tmp_path.iterdir()
    dataset = scan.read_file(path, defer=True)
    path.unlink() if left is None else path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(pixels.PixelError, match="was changed while it was being read"):
        pixels.stored(dataset)


def test_elements_after_the_pixels_are_read(tmp_path):
    made_up.ct_series(tmp_path, slices=1, stored=made_up.stored_values((1, 256, 256)))
    (path,) = tmp_path.iterdir()
    padding = struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, 4) + b"\0" * 4
    path.write_bytes(path.read_bytes() + padding)
    ours = quick.read(path, defer=True)
    assert 0xFFFCFFFC in ours
    assert same(ours, pydicom.dcmread(path))
