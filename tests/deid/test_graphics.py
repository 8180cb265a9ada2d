"""Overlays, graphic annotations and curves: what shows no text stays when asked, nothing that is drawn does else."""

import importlib.util

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from radkit.deid import deidentify, text_in_pixels, verify
from radkit.deid.settings import Settings
from tests.deid.test_engine import KEY, cleaned, header, raw, written

GRAPHICS = "CleanGraphics"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"


@pytest.fixture
def told(monkeypatch):
    """Returns the bitmaps that were looked at; those with a mark in the corner are said to show text."""
    seen = []

    def shows_text(bitmap, *_):
        seen.append(np.array(bitmap))
        return bool(bitmap[0, 0])

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *m: object() if "rapidocr" in name else find(name, *m)
    )
    monkeypatch.setattr(text_in_pixels, "text_in_overlay", shows_text)
    return seen


def bitmap(rows=5, columns=7, frames=1, *, text=False):
    """Returns a drawing, (frames, rows, columns) bool."""
    drawn = np.zeros((frames, rows, columns), bool)
    drawn[:, 2, 1:5] = True
    drawn[-1, 0, 0] = text
    return drawn


def packed(drawn, big=False):
    """Returns a drawing as OverlayData holds it (PS3.5 8.1.2: the first pixel is the lowest bit)."""
    value = np.packbits(drawn.reshape(-1), bitorder="little").tobytes()
    value += b"\0" * (len(value) % 2)
    return b"".join(value[i : i + 2][::-1] for i in range(0, len(value), 2)) if big else value


def with_overlay(dataset, drawn, group=0x6000, **more):
    """Adds an overlay and its words; `more` by element number stands over it."""
    big = dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    order = "big" if big else "little"
    frames, rows, columns = drawn.shape
    elements = {
        0x0010: ("US", rows.to_bytes(2, order)),
        0x0011: ("US", columns.to_bytes(2, order)),
        0x0015: ("IS", str(frames).encode()),
        0x0022: ("LO", b"Lung of PLANTED"),
        0x0040: ("CS", b"G "),
        0x0050: ("SS", (1).to_bytes(2, order) * 2),
        0x0100: ("US", (1).to_bytes(2, order)),
        0x0102: ("US", bytes(2)),
        0x1500: ("LO", b"PLANTED"),
        0x3000: ("OW", packed(drawn, big)),
        0x4000: ("LT", b"Lung of PLANTED"),
    }
    elements |= {int(name[1:], 16): value for name, value in more.items()}
    for number, value in elements.items():
        if value is not None:
            dataset.add(raw(group << 16 | number, *value))
    return dataset


def clean(dataset, folder, *options):
    output = cleaned(
        written(dataset, folder), folder / ("out" + "-".join(options)), chosen=Settings(frozenset(options))
    )
    assert b"PLANTED" not in output.read_bytes()
    return output


def overlays(output):
    return {e.tag: e for e in pydicom.dcmread(output) if e.tag.group >> 8 == 0x60}


SYNTAXES = (ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_bitmap_without_text_stays_to_the_bit_and_its_words_are_cleaned(tmp_path, told, syntax):
    drawn = bitmap()
    output = clean(with_overlay(header(syntax), drawn), tmp_path, GRAPHICS)
    found = overlays(output)
    assert found[0x60003000].value == packed(drawn, syntax == ExplicitVRBigEndian)
    assert [found[0x60000000 | n].value for n in (0x10, 0x11, 0x40, 0x100, 0x102)] == [5, 7, "G", 1, 0]
    assert found[0x60000022].value == found[0x60004000].value == "Lung"
    assert 0x60001500 not in found  # no word of it is known
    np.testing.assert_array_equal(told[0], drawn[0])
    assert verify.file(output) == []


@pytest.mark.parametrize("text", [False, True])
def test_every_frame_is_looked_at(tmp_path, told, text):
    output = clean(with_overlay(header(), bitmap(frames=3, text=text)), tmp_path, GRAPHICS)
    assert len(told) >= 3
    assert (0x60003000 in overlays(output)) == (not text)


def test_a_bitmap_with_text_goes_with_its_group_and_its_comments_are_cleaned(tmp_path, told):
    dataset = with_overlay(header(), bitmap(text=True))
    with_overlay(dataset, bitmap(), 0x601E)
    found = overlays(clean(dataset, tmp_path, GRAPHICS))
    assert [tag for tag in found if tag.group == 0x6000] == [0x60004000]
    assert found[0x60004000].value == "Lung"
    assert 0x601E3000 in found


def test_without_the_option_every_overlay_goes(tmp_path, told):
    assert not overlays(clean(with_overlay(header(), bitmap()), tmp_path))
    assert not told


def test_without_the_networks_no_bitmap_stays(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *m: None if "rapidocr" in name else find(name, *m))
    assert list(overlays(clean(with_overlay(header(), bitmap()), tmp_path, GRAPHICS))) == [0x60004000]


SECRET = b"PLANTED"


@pytest.mark.parametrize(
    "more",
    [
        {"_3000": ("OW", packed(bitmap()) + SECRET + b"1")},  # more bytes than pixels: they may hold anything
        {"_3000": ("OW", packed(bitmap())[:-2])},
        {"_3000": ("OW", packed(bitmap())[:-1] + b"\x80")},  # a bit behind the last pixel
        {"_3000": ("OW", b"")},
        {"_3000": None},  # in unused bits of the pixels
        {"_0010": ("US", b"\x09\0")},
        {"_0010": ("US", b"")},
        {"_0010": None},
        {"_0011": ("US", b"\0\0")},
        {"_0015": ("IS", b"2 ")},
        {"_0015": ("IS", b"0 ")},
        {"_0015": ("IS", SECRET)},
        {"_0010": ("LO", SECRET)},
    ],
)
def test_a_bitmap_that_is_not_what_its_group_says_goes(tmp_path, told, more):
    output = clean(with_overlay(header(), bitmap(), **more), tmp_path, GRAPHICS)
    assert set(overlays(output)) <= {0x60004000}


def test_elements_that_no_overlay_has_go(tmp_path, told):
    more = {"_1302": ("DS", b"PLANTED"), "_0012": ("US", b"\1\0"), "_0060": ("CS", b"PLANTED"), "_9999": ("LO", SECRET)}
    found = overlays(clean(with_overlay(header(), bitmap(), **more), tmp_path, GRAPHICS))
    assert not {0x60001302, 0x60000012, 0x60000060, 0x60009999} & set(found)


def test_an_overlay_within_a_sequence_goes_whatever_stands_outside(tmp_path, told):
    # Only the top level's bitmaps are looked at.
    item = Dataset()
    item.add(raw(0x60000010, "US", b"\5\0"))
    item.add(raw(0x60003000, "OW", packed(bitmap(text=True))))
    dataset = with_overlay(header(), bitmap())
    dataset.SharedFunctionalGroupsSequence = [item]
    after = pydicom.dcmread(clean(dataset, tmp_path, GRAPHICS))
    assert after[0x60003000].value == packed(bitmap())
    assert not [e for e in after.SharedFunctionalGroupsSequence[0] if e.tag.group == 0x6000]


@pytest.mark.parametrize("options", [(), (GRAPHICS,), ("CleanDescriptors", GRAPHICS)])
def test_curves_go_under_every_option(tmp_path, told, options):
    dataset = header()
    for group in (0x5000, 0x501E):
        dataset.add(raw(group << 16 | 0x2500, "LO", b"PLANTED"))
        dataset.add(raw(group << 16 | 0x3000, "OW", b"PLANTED1"))
    after = pydicom.dcmread(clean(dataset, tmp_path, *options))
    assert not [e for e in after if e.tag.group >> 8 == 0x50]


# --- presentation states -------------------------------------------------------------------------------------------


def presentation_state():
    dataset = header()
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        del dataset[keyword]
    for keyword in ("SamplesPerPixel", "PhotometricInterpretation", "KVP", "ConvolutionKernel"):
        del dataset[keyword]
    dataset.SOPClassUID, dataset.Modality, dataset.SOPInstanceUID = GSPS, "PR", "1.2.999.31"
    dataset.ContentLabel, dataset.ContentDescription = "LABEL", "PLANTED"
    dataset.ContentCreatorName = "PLANTED^NAME"
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder, layer.GraphicLayerDescription = "LAYER1", 1, "PLANTED"
    dataset.GraphicLayerSequence = [layer]
    words, drawing, annotation, shown = Dataset(), Dataset(), Dataset(), Dataset()
    words.AnchorPointAnnotationUnits, words.UnformattedTextValue = "PIXEL", "Lung of PLANTED"
    words.AnchorPoint, words.AnchorPointVisibility = [3.0, 4.0], "Y"
    drawing.GraphicAnnotationUnits, drawing.GraphicDimensions = "PIXEL", 2
    drawing.NumberOfGraphicPoints, drawing.GraphicData, drawing.GraphicType = 1, [1.0, 2.0], "POINT"
    shown.ReferencedSOPClassUID, shown.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.999.3"
    annotation.GraphicLayer, annotation.TextObjectSequence, annotation.GraphicObjectSequence = (
        "LAYER1",
        [words],
        [drawing],
    )
    annotation.ReferencedImageSequence = [shown]
    dataset.GraphicAnnotationSequence = [annotation]
    return dataset


def test_annotations_become_one_dummy_on_the_same_layer(tmp_path):
    output = clean(presentation_state(), tmp_path)
    (one,) = pydicom.dcmread(output).GraphicAnnotationSequence
    assert one.GraphicLayer == "LAYER1"
    assert [t.UnformattedTextValue for t in one.TextObjectSequence] == ["ANONYMIZED"]
    assert "GraphicObjectSequence" not in one
    assert verify.file(output) == []


@pytest.mark.parametrize(("more", "words"), [((), "ANONYMIZED"), (("CleanDescriptors",), "Lung")])
def test_under_the_option_drawings_stay_and_text_is_cleaned(tmp_path, more, words):
    output = clean(presentation_state(), tmp_path, GRAPHICS, *more)
    (one,) = pydicom.dcmread(output).GraphicAnnotationSequence
    (text,), (drawing,) = one.TextObjectSequence, one.GraphicObjectSequence
    assert text.UnformattedTextValue == words
    assert (text.AnchorPoint, drawing.GraphicData, drawing.GraphicType) == ([3, 4], [1, 2], "POINT")
    assert one.ReferencedImageSequence[0].ReferencedSOPInstanceUID == KEY.uid("1.2.999.3")
    assert verify.file(output) == []


def test_a_dummy_annotation_stays_when_it_is_cleaned_again():
    once = deidentify(presentation_state(), KEY)
    twice = deidentify(once, KEY)
    assert once.GraphicAnnotationSequence == twice.GraphicAnnotationSequence
