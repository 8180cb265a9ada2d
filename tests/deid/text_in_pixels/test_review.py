"""The review sheet."""

import base64
import re
import zlib

import numpy as np
import pytest

from radkit.deid import text_in_pixels
from radkit.deid.text_in_pixels import ocr, review
from tests.deid.text_in_pixels import made


@pytest.fixture
def cleaned(monkeypatch):
    made.reads(monkeypatch, ocr.Reading((100, 80, 180, 100), "DOE JOHN", 0.9))
    values = made.anatomy(dtype=np.uint8, top=200)
    values[85:95, 110:170] = 255
    source = made.dataset(values, PatientName="Doe^John")
    return text_in_pixels.clean(source, text_in_pixels.known_strings(source))


def test_a_row_counts_reasons_frames_and_outlines(cleaned):
    page = review.page([review.row(review.entry("2.25.7", cleaned))], untouched=4)
    assert "2.25.7" in page
    assert "<b>1</b>name" in page
    assert "1 instance with something blacked out, 4 looked at" in page
    assert page.count("<rect ") == len(cleaned.boxes)


def test_the_picture_is_the_cleaned_one(cleaned):
    page = review.page([review.row(review.entry("2.25.7", cleaned))])
    png = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page)[1])
    idat = png.index(b"IDAT") + 4
    size = int.from_bytes(png[idat - 8 : idat - 4], "big")
    lines = np.frombuffer(zlib.decompress(png[idat : idat + size]), np.uint8).reshape(200, -1)[:, 1:]
    picture = lines.reshape(200, 260, 3)
    assert picture[85:95, 110:170].max() == 0
    assert picture.max() > 200


def test_nothing_identifying_and_nothing_from_elsewhere_is_in_it(cleaned):
    page = review.page([review.row(review.entry("2.25.7", cleaned))])
    assert not re.search("DOE|John", re.sub('base64,[^"]+', "", page))
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page


def test_the_same_input_gives_the_same_bytes(cleaned):
    rows = [review.row(review.entry("2.25.7", cleaned)) for _ in range(2)]
    assert rows[0] == rows[1]
    assert review.page(rows) == review.page(rows)


def test_large_pictures_are_reduced(monkeypatch):
    made.reads(monkeypatch, ocr.Reading((100, 80, 180, 100), "DOE JOHN", 0.9))
    cleaned = text_in_pixels.clean(made.dataset(made.anatomy((1200, 700))), ())
    assert max(cleaned.preview.shape) <= 480
    assert cleaned.size == (1200, 700)
