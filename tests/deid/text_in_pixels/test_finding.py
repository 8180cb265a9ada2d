"""Text in images, read by the real networks."""

import sys
from pathlib import Path

import numpy as np
import pytest

from radkit.deid import text_in_pixels
from radkit.deid.text_in_pixels import finding
from tests.deid.text_in_pixels import made

pytest.importorskip("rapidocr_onnxruntime", reason="the extra [deid]")

LOW, HIGH = 0.95, 0.01


def covered(values: np.ndarray, burned: np.ndarray, **more) -> float:
    """Returns the share of changed pixels that is blacked out."""
    cleaned = text_in_pixels.clean(made.dataset(burned, **more), (), threads=2)
    mask = np.zeros(values.shape[:2], bool)
    for box in cleaned.boxes if cleaned else ():
        mask[box.where] = True
    ink = values != burned
    return float(mask[ink.any(axis=2) if ink.ndim == 3 else ink].mean())


@pytest.mark.parametrize("size", [10, 16, 26])
def test_text_in_a_corner_is_found(size):
    values = made.anatomy()
    assert covered(values, made.write(values, "DOE^JOHN 12.03.1961", (4, 4), 900, size)) > LOW


def test_dark_text_over_bright_anatomy_is_found():
    values = made.anatomy()
    assert covered(values, made.write(values, "ID 4711-0815", (80, 95), 5)) > LOW


def test_text_is_found_in_a_negative():
    values = made.anatomy()
    assert covered(values, made.write(values, "SMITH JANE", (80, 95), 900), photometric="MONOCHROME1") > LOW


def test_coloured_text_is_found():
    values = np.repeat(made.anatomy(dtype=np.uint8, top=200)[..., None], 3, axis=2)
    burned = made.write(values, "HUBER MARIA", (60, 30), 0)
    ink = (burned != values).any(axis=2)
    burned[ink] = (255, 255, 0)
    assert covered(values, burned, photometric="RGB") > LOW


@pytest.mark.parametrize("turns", [1, 3])
def test_text_that_runs_up_or_down_is_found(turns):
    values = made.anatomy()
    burned = np.rot90(made.write(np.rot90(values, -turns), "WEBER KARL 1983", (20, 20), 900), turns)
    assert covered(values, np.ascontiguousarray(burned)) > LOW


def test_text_in_a_bit_image_is_found():
    values = np.zeros((120, 200), np.uint8)
    burned = made.write(values, "DOE JOHN", (30, 40), 1, 20)
    source = made.dataset(burned)
    source.BitsAllocated = source.BitsStored = 1
    source.HighBit = 0
    source.PixelData = np.packbits(burned.ravel(), bitorder="little").tobytes()
    cleaned = text_in_pixels.clean(source, ())
    assert not np.unpackbits(np.frombuffer(cleaned.value, np.uint8))[: burned.size].any()


def test_text_that_only_the_headers_window_shows_is_found():
    values = made.anatomy(dtype=np.int16)
    values[:60, :60] = 30000
    values[140:, 200:] = -30000
    burned = made.write(values, "DOE JOHN", (90, 95), 700)
    window = {"WindowCenter": 550, "WindowWidth": 400, "RescaleSlope": 1, "RescaleIntercept": 0}
    assert covered(values, burned, **window) > LOW


def test_a_clean_image_stays():
    assert text_in_pixels.clean(made.dataset(made.anatomy()), ()) is None


def test_a_laterality_marker_stays():
    values = made.write(made.anatomy(), "L", (230, 20), 900, 24)
    assert text_in_pixels.clean(made.dataset(values), ()) is None


def test_text_in_an_overlay_is_told():
    empty = np.zeros((200, 300), np.uint8)
    circle = np.hypot(*(np.mgrid[:200, :300] - np.array([100, 150])[:, None, None])) < 40
    assert finding.text_in_overlay(made.write(empty, "DOE JOHN", (30, 40), 1))
    assert not finding.text_in_overlay(empty)
    assert not finding.text_in_overlay(circle)


def test_text_of_one_frame_of_many_is_found():
    video = np.stack([made.anatomy((120, 160), np.uint8, seed, 200) for seed in range(4)])
    burned = video.copy()
    burned[2] = made.write(video[2], "DOE JOHN", (40, 50), 255)
    cleaned = text_in_pixels.clean(made.dataset(burned), ())
    mask = np.zeros(video.shape, bool)
    for box in cleaned.boxes:
        mask[(box.frame, *box.where)] = True
    assert mask[burned != video].mean() > LOW


@pytest.mark.slow
def test_the_bars_are_held_on_real_images_with_burned_in_text():
    sys.path.insert(0, str(Path(__file__).parents[3]))
    from benchmarks import burned_in, burned_in_text

    texts, masked = burned_in_text.measure(burned_in.samples("held", None), burned_in_text.radkit)
    assert np.mean([share >= burned_in_text.COVERED for _, _, share in texts]) >= LOW
    assert masked <= HIGH
