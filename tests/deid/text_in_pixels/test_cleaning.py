"""What `clean` blacks out and what it leaves."""

import builtins

import numpy as np
import pydicom
import pytest

from radkit.deid import text_in_pixels
from radkit.deid.text_in_pixels import ocr
from radkit.errors import UserError
from tests.deid.text_in_pixels import made

READ = ocr.Reading((100, 80, 180, 100), "DOE JOHN", 0.9)


def pixels_of(source: pydicom.Dataset, cleaned: text_in_pixels.Cleaned) -> np.ndarray:
    return made.written(source, cleaned).pixel_array


def test_nothing_found_leaves_the_bytes_alone(monkeypatch):
    made.reads(monkeypatch)
    assert text_in_pixels.clean(made.dataset(made.anatomy()), ()) is None


def test_an_instance_without_pixels_has_nothing_to_clean(monkeypatch):
    made.reads(monkeypatch)
    assert text_in_pixels.clean(pydicom.Dataset(), ()) is None


def test_the_source_is_not_changed(monkeypatch):
    made.reads(monkeypatch, READ)
    source = made.dataset(made.anatomy())
    before = source.PixelData
    text_in_pixels.clean(source, ())
    assert source.PixelData == before


@pytest.mark.parametrize(("photometric", "extreme"), [("MONOCHROME2", np.min), ("MONOCHROME1", np.max)])
def test_a_box_is_filled_with_what_is_shown_darkest(photometric, extreme, monkeypatch):
    made.reads(monkeypatch, READ)
    values = made.anatomy()
    source = made.dataset(values, photometric)
    cleaned = text_in_pixels.clean(source, ())
    [box] = cleaned.boxes
    assert (pixels_of(source, cleaned)[box.where] == extreme(values)).all()
    assert (box.left, box.right) == (78, 203)


def test_a_palettes_darkest_index_fills(monkeypatch):
    made.reads(monkeypatch, READ)
    values = made.anatomy(dtype=np.uint8, top=250)
    source = made.dataset(values, "PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(source, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (np.arange(256, dtype="<u2")[::-1] * 257).astype("<u2")
        setattr(source, f"{colour}PaletteColorLookupTableData", table.tobytes())
    cleaned = text_in_pixels.clean(source, ())
    assert (pixels_of(source, cleaned)[cleaned.boxes[0].where] == values.max()).all()


def test_a_name_of_the_header_is_told_apart(monkeypatch):
    made.reads(monkeypatch, READ)
    source = made.dataset(made.anatomy(), PatientName="Doe^John")
    cleaned = text_in_pixels.clean(source, text_in_pixels.known_strings(source))
    assert [box.why for box in cleaned.boxes] == ["name"]


@pytest.mark.parametrize("words", ["L", "R", "", "O", "+", "福"])
def test_single_letters_stay(words, monkeypatch):
    made.reads(monkeypatch, ocr.Reading((100, 80, 110, 100), words, 0.99))
    assert text_in_pixels.clean(made.dataset(made.anatomy()), ()) is None


def test_anatomy_that_reads_like_text_a_little_stays(monkeypatch):
    made.reads(monkeypatch, ocr.Reading((20, 20, 200, 180), "SV", 0.45), ocr.Reading((50, 50, 70, 90), "福中", 0.4))
    assert text_in_pixels.clean(made.dataset(made.anatomy()), ()) is None


def test_what_surrounds_an_ultrasound_image_goes_without_being_read(monkeypatch):
    made.reads(monkeypatch)
    source = made.dataset(made.anatomy((100, 200), np.uint8, top=200), Modality="US")
    item = pydicom.Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 0, 30
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 199, 99
    source.SequenceOfUltrasoundRegions = [item]
    cleaned = text_in_pixels.clean(source, ())
    after = pixels_of(source, cleaned)
    assert [box.why for box in cleaned.boxes] == ["region"]
    assert after[:30].max() == source.pixel_array.min()
    assert np.array_equal(after[30:], source.pixel_array[30:])


def test_a_template_goes_without_being_read(monkeypatch, tmp_path):
    made.reads(monkeypatch)
    path = tmp_path / "t.json"
    path.write_text('[{"model": "Sono 1", "boxes": [[0, 0, 50, 9]]}]')
    source = made.dataset(made.anatomy(), ManufacturerModelName="SONO 1")
    cleaned = text_in_pixels.clean(source, (), templates=text_in_pixels.load_templates(path))
    assert [(box.right, box.bottom, box.why) for box in cleaned.boxes] == [(50, 9, "template")]


def test_bytes_after_the_last_frame_go(monkeypatch):
    made.reads(monkeypatch)
    source = made.dataset(made.anatomy((40, 40)))
    whole = source.PixelData
    source.PixelData = whole + b"DOE JOHN"
    cleaned = text_in_pixels.clean(source, ())
    assert (cleaned.value, cleaned.boxes) == (whole, ())


def test_what_is_drawn_in_unused_bits_is_looked_at_and_goes(monkeypatch):
    values = made.anatomy() & 0xFFF
    values[80:100, 100:180] |= 0x8000
    asked = made.reads(monkeypatch)
    text_in_pixels.clean(made.dataset(values & 0xFFF, stored=12), ())
    without = asked()
    asked = made.reads(monkeypatch, READ)
    source = made.dataset(values, stored=12)
    cleaned = text_in_pixels.clean(source, ())
    assert asked() > without
    after = np.frombuffer(cleaned.value, "<u2").reshape(values.shape)
    assert not (after & 0x8000).any()


def test_without_rapidocr_the_way_out_is_told(monkeypatch):
    imported = builtins.__import__

    def refuse(name, *more):
        if name.startswith("rapidocr"):
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"pip install 'radkit\[deid\]'"):
        text_in_pixels.clean(made.dataset(made.anatomy()), ())


def test_frames_that_show_the_same_are_read_once(monkeypatch):
    frame = made.anatomy((80, 90))
    asked = made.reads(monkeypatch)
    text_in_pixels.clean(made.dataset(np.stack([frame] * 2)), ())
    two = asked()
    asked = made.reads(monkeypatch)
    text_in_pixels.clean(made.dataset(np.stack([frame] * 9)), ())
    assert asked() == two


def test_a_text_is_blacked_out_in_every_frame_that_shows_it(monkeypatch):
    clear = made.anatomy((120, 150), seed=1)
    shown = made.write(clear, "DOE JOHN", (40, 50), 900)
    video = np.stack(
        [clear, shown, made.anatomy((120, 150), seed=2), np.maximum(shown, made.anatomy((120, 150), seed=3))]
    )
    calls = []

    def read(picture, scale, threads=1):
        calls.append(picture.shape)
        # Only the third picture-set, frame 1's own, reads it: frame 3 must follow by likeness.
        bright = picture[50:66, 40:120, 0]
        return [ocr.Reading((40, 52, 112, 66), "DOE JOHN", 0.9)] if reading and (bright > 250).mean() > 0.05 else []

    reading = True
    monkeypatch.setattr(ocr, "read", read)
    monkeypatch.setattr(ocr, "check", lambda: None)
    monkeypatch.setattr("radkit.deid.text_in_pixels.frames.Search._look_through", lambda self: None)
    source = made.dataset(video)
    cleaned = text_in_pixels.clean(source, ())
    after = pixels_of(source, cleaned)
    assert {box.frame for box in cleaned.boxes} >= {1, 3}
    assert cleaned.frames == 4
    for frame in (1, 3):
        assert (after[frame, 54:62, 45:105] == video[frame].min()).all()
    assert np.array_equal(after[:, :40], video[:, :40])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_frame_that_changes_is_read_again(dtype, monkeypatch):
    still = np.stack([made.anatomy((80, 90))] * 3).astype(dtype)
    moving = still.copy()
    moving[2, 20:40, 20:60] = 900
    moving[0, 0, 0] = np.nan if dtype == np.float32 else 60000
    counts = []
    for values in (still, moving):
        asked = made.reads(monkeypatch)
        source = made.dataset(values)
        if dtype == np.float32:
            source.add_new(0x7FE00008, "OF", source.PixelData)
            del source.PixelData
        assert text_in_pixels.clean(source, ()) is None
        counts.append(asked())
    assert counts[1] > counts[0]


def test_what_fades_in_slowly_is_read(monkeypatch):
    frame = made.anatomy((80, 90), np.uint8, top=200)
    frame[:5, :5], frame[5:10, :5] = 0, 255
    video = np.stack([frame] * 12)
    for number in range(12):
        video[number, 30:50, 30:60] = 120 + 5 * number
    asked = made.reads(monkeypatch)
    text_in_pixels.clean(made.dataset(np.stack([video[0]] * 12)), ())
    still = asked()
    asked = made.reads(monkeypatch)
    text_in_pixels.clean(made.dataset(video), ())
    assert asked() > still


def test_a_palettes_next_index_may_be_another_colour(monkeypatch):
    video = np.stack([np.full((80, 90), 3, np.uint8)] * 2)
    video[:, :5], video[:, 5:10] = 0, 255
    video[1, 30:50, 30:60] = 4
    source = made.dataset(video, "PALETTE COLOR")
    table = np.zeros(256, "<u2")
    table[[4, 255]] = 65535
    for colour in ("Red", "Green", "Blue"):
        setattr(source, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(source, f"{colour}PaletteColorLookupTableData", table.tobytes())
    asked = made.reads(monkeypatch)
    text_in_pixels.clean(source, ())
    assert asked() == 2 * 3
