"""Tables, windows and palettes, by hand and against pydicom and SimpleITK."""

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.sequence import Sequence

from radkit.dicom import luts, pixels, write
from tests import made_up

VALUES = made_up.stored_values((6, 7), np.uint16)


def image(values=VALUES, bits=12, **more):
    """Returns an instance that stores these values in so many bits of 16."""
    dataset = write.instance(values.view(np.uint16), made_up.header("CR"), "1.2.3")
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


def table(count, first, bits, data, vr="OW"):
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [count, first, bits])
    item.add_new(0x00283006, vr, data)
    return Sequence([item])


ENTRIES = np.random.default_rng(0).integers(0, 1 << 14, 4096).astype(np.uint16)


@pytest.mark.parametrize(("first", "dtype"), [(0, np.uint16), (100, np.uint16), (-2048, np.int16), (-5, np.int16)])
@pytest.mark.parametrize("vr", ["OW", "US"])
def test_a_modality_table_gives_what_pydicom_gives(first, dtype, vr):
    values = made_up.stored_values((6, 7), dtype)
    data = ENTRIES.tobytes() if vr == "OW" else ENTRIES.tolist()
    dataset = image(values, ModalityLUTSequence=table(4096, first, 16, data, vr), RescaleSlope="3")
    np.testing.assert_array_equal(pixels.stored(dataset), apply_modality_lut(values, dataset))
    assert luts.rescale(dataset) == (1, 0)
    assert pixels.findings(dataset) == ("a Modality LUT was applied",)


def test_a_first_value_written_as_unsigned_is_signed_as_the_pixels_are():
    values = made_up.stored_values((6, 7), np.int16)
    dataset = image(values, ModalityLUTSequence=table(4096, 65536 - 2048, 14, ENTRIES.tobytes()))
    np.testing.assert_array_equal(pixels.stored(dataset), ENTRIES[values + 2048])


def test_what_comes_out_of_a_table_is_turned_round_within_its_bits():
    dataset = image(ModalityLUTSequence=table(4096, 0, 14, ENTRIES.tobytes()), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(pixels.stored(dataset), (1 << 14) - 1 - ENTRIES[VALUES])


@pytest.mark.parametrize("data", [bytes(range(10)), (np.arange(10, dtype="<u2")).tobytes()])
def test_eight_bits_lie_one_or_two_to_a_word(data):
    dataset = image(VALUES % 10, ModalityLUTSequence=table(10, 0, 8, data))
    np.testing.assert_array_equal(pixels.stored(dataset), VALUES % 10)


def test_a_table_that_is_not_whole_is_refused_with_its_numbers():
    dataset = image(ModalityLUTSequence=table(4096, 0, 16, ENTRIES.tobytes()[:-2]))
    with pytest.raises(luts.PixelError, match="4095 entries of 16 bits, LUTDescriptor says 4096"):
        pixels.stored(dataset)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2000, 1000), (0.5, 1), (1000.25, 333.5), (-300, 5000)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_window_shows_what_pydicom_shows(function, center, width, photometric, signed):
    values = made_up.stored_values((6, 7), np.int16 if signed else np.uint16)
    dataset = image(values, PhotometricInterpretation=photometric, RescaleSlope="2", RescaleIntercept="-1000")
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = [1, center], [2, width], function
    with np.errstate(over="ignore"):
        shown = apply_windowing(apply_modality_lut(values, dataset), dataset, index=1)
    low, high = (-2048, 2047) if signed else (0, 4095)
    low, high = 2 * low - 1000, 2 * high - 1000  # pydicom spreads what is shown over the modality values' range
    wanted = (shown - low) / (high - low)
    slope, intercept = luts.rescale(dataset)
    found = luts.window(pixels.stored(dataset) * np.float32(slope) + np.float32(intercept), dataset, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted if photometric == "MONOCHROME2" else 1 - wanted, atol=1e-5)


def test_windows_are_those_of_the_standard_by_hand():
    # PS3.3 C.11.2.1.2: of c=2048 and w=4096, 0 is black and 4095 white; of w=1, what is above c-0.5 is white.
    values = np.array([-1, 0, 2047.5, 4095, 9999])
    whole = image(WindowCenter="2048", WindowWidth="4096")
    np.testing.assert_allclose(luts.window(values, whole), [0, 0, 0.5, 1, 1])
    step = image(WindowCenter="10", WindowWidth="1")
    np.testing.assert_array_equal(luts.window(np.array([9, 9.5, 9.6, 11]), step), [0, 0, 1, 1])
    curve = image(WindowCenter="10", WindowWidth="4", VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(
        luts.window(np.array([-1e6, 9, 10, 11, 1e6]), curve), [0, 0.268941, 0.5, 0.731059, 1], atol=1e-6
    )


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_voi_table_shows_what_pydicom_shows(photometric):
    dataset = image(VOILUTSequence=table(3000, 500, 14, ENTRIES[:3000].tobytes()), WindowCenter="1", WindowWidth="2")
    wanted = apply_voi_lut(VALUES, dataset) / (2**14 - 1)
    dataset.PhotometricInterpretation = photometric
    found = luts.window(pixels.stored(dataset), dataset)
    np.testing.assert_allclose(found, wanted if photometric == "MONOCHROME2" else 1 - wanted, atol=1e-6)
    assert luts.views(dataset) == ("VOI LUT", "window")


def test_views_have_their_names_and_a_window_that_cannot_be_is_none():
    dataset = image(WindowCenter=[40, 50, -600], WindowWidth=[400, 0, 1500])
    assert luts.views(dataset) == ("window", "window")
    dataset.WindowCenterWidthExplanation = ["SOFT", "NONE", "LUNG"]
    assert luts.views(dataset) == ("SOFT", "LUNG")
    np.testing.assert_allclose(luts.window(np.array([-600.5, 40]), dataset, 1), [0.5, 640.5 / 1499 + 0.5])
    with pytest.raises(luts.PixelError, match="view 2 was asked for, the image has 2"):
        luts.window(VALUES, dataset, 2)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1))
def test_an_image_without_a_view_is_shown_from_end_to_end(values):
    given_values = np.array([*values, np.nan, np.inf])
    shown = luts.window(given_values, image())
    assert shown.min() >= 0
    assert shown.max() <= 1
    if min(values) < max(values):
        assert shown[np.argmin(values)] == 0
        assert shown[np.argmax(values)] == 1


def test_inverse_presentation_shows_the_least_white():
    dataset = image(WindowCenter="2048", WindowWidth="4096", PresentationLUTShape="INVERSE")
    np.testing.assert_allclose(luts.window(np.array([0, 4095]), dataset), [1, 0])


def test_a_frame_of_an_enhanced_instance_has_its_own_window():
    def groups(center):
        window, group = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = center, 10, "LINEAR_EXACT"
        group.FrameVOILUTSequence = Sequence([window])
        return group

    dataset = image(PerFrameFunctionalGroupsSequence=Sequence([groups(100), groups(200)]))
    np.testing.assert_allclose(luts.window(np.array([100, 195, 200]), dataset, frame=1), [0, 0, 0.5])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([Dataset(), Dataset()])
    dataset.SharedFunctionalGroupsSequence = Sequence([groups(300)])
    np.testing.assert_allclose(luts.window(np.array([300]), dataset, frame=1), [0.5])


def palette(first, bits, data, values=VALUES % 256, count=None, segmented=False, signed=False):
    dataset = image(values, 16, PhotometricInterpretation="PALETTE COLOR", PixelRepresentation=int(signed))
    for number, (colour, entries) in enumerate(zip(("Red", "Green", "Blue"), data)):
        dataset.add_new(0x00281101 + number, "SS" if first < 0 else "US", [count or len(entries), first, bits])
        name = f"Segmented{colour}PaletteColorLookupTableData" if segmented else f"{colour}PaletteColorLookupTableData"
        setattr(dataset, name, entries.tobytes())
    return dataset


THREE = np.random.default_rng(0).integers(0, 1 << 16, (3, 256)).astype("<u2")


@pytest.mark.parametrize("first", [0, 20, 250])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_gives_the_colours_that_pydicom_and_simpleitk_give(tmp_path, bits, first):
    data = THREE if bits == 16 else (THREE >> 8).astype(np.uint8)
    dataset = palette(first, bits, data)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = (VALUES % 256).astype(np.uint8).tobytes()
    found = pixels.stored(dataset)
    assert found.dtype == np.uint8
    wanted = apply_color_lut(VALUES % 256, dataset)
    np.testing.assert_array_equal(found, wanted >> 8 if bits == 16 else wanted)
    if first == 0:  # SimpleITK looks for other first values nowhere
        made_up.save(dataset, tmp_path / "a.dcm")
        by_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.dcm"))).reshape(found.shape)
        np.testing.assert_array_equal(found, by_itk >> 8 if by_itk.dtype == np.uint16 else by_itk)


def test_a_palette_of_signed_pixels_begins_below_zero():
    values = (VALUES % 256).astype(np.int16) - 128
    found = pixels.stored(palette(-128, 16, THREE, values, signed=True))
    np.testing.assert_array_equal(found, (THREE >> 8).T[values.astype(int) + 128])


def test_eight_bits_in_a_palette_that_says_sixteen_are_not_made_dark():
    found = pixels.stored(palette(0, 16, THREE >> 8))
    np.testing.assert_array_equal(found, (THREE >> 8).T[VALUES % 256])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_segmented_palette_is_spread_as_the_standard_says(bits):
    most = (1 << bits) - 1
    # Four in full, a line of twenty, three in full, a line of ten, the first two again, the line from where they end.
    units = [0, 4, 7, 9, 200, 30, 1, 20, most, 0, 3, 5, 6, 7, 1, 10, 3]
    units += [2, 2, 0, 0, 0, 0, 0, 1, 5, 2, 1, 6, 0, 0, 0] if bits == 8 else [2, 2, 0, 0, 0, 1, 5, 2, 1, 12, 0]
    first = [7, 9, 200, 30, *line(30, most, 20)]
    table = np.array([*first, 5, 6, 7, *line(7, 3, 10), *first, 5, *line(5, most, 20)])
    data = np.array(units, np.uint8 if bits == 8 else "<u2")
    dataset = palette(0, bits, [data] * 3, VALUES % 82, count=82, segmented=True)
    found = pixels.stored(dataset)
    np.testing.assert_array_equal(found[..., 0], table[VALUES % 82] >> (bits - 8))
    if bits == 8:  # pydicom counts the offset of sixteen bits in words, PS3.3 C.7.9.2.3 in bytes
        np.testing.assert_array_equal(found, apply_color_lut(VALUES % 82, dataset))


def line(begin, end, length):
    return [round(begin + (end - begin) * (step + 1) / length) for step in range(length)]


@pytest.mark.parametrize("units", [[9, 4, 1, 2, 3, 4], [0, 2, 1, 2], [2, 1, 0, 0], []])
def test_a_segmented_palette_that_is_not_whole_is_refused(units):
    data = np.array(units, "<u2")
    with pytest.raises(luts.PixelError, match="palette"):
        pixels.stored(palette(0, 16, [data] * 3, count=61, segmented=True))


@pytest.mark.parametrize(
    ("slope", "intercept", "found"),
    [
        (None, None, (1, 0)),
        ("2", None, (2, 0)),
        (None, "-1024", (1, -1024)),
        ("", "", (1, 0)),
        ("-0.5", "3", (-0.5, 3)),
    ],
)
def test_an_absent_scale_is_one_and_zero(slope, intercept, found):
    dataset = Dataset()
    for keyword, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if value is not None:
            setattr(dataset, keyword, value)
    assert luts.rescale(dataset) == found


@pytest.mark.parametrize(
    ("slope", "intercept"), [("0", "1"), ("1e-300", "0"), ("1e300", "0"), ("1", "-1e300"), (["1", "2"], "0")]
)
def test_a_scale_that_maps_no_values_is_refused(slope, intercept):
    dataset = Dataset()
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    with pytest.raises(luts.PixelError, match="RescaleSlope"):
        luts.rescale(dataset)


@given(st.floats(0.001, 100), st.floats(-5000, 5000))
def test_a_scale_is_what_the_header_says(slope, intercept):
    dataset = Dataset()
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.8g}", f"{intercept:.8g}"
    assert luts.rescale(dataset) == (float(f"{slope:.8g}"), float(f"{intercept:.8g}"))
