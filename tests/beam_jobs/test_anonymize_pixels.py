"""The options that change pixels, as their users run them: what is said to be clean was looked at."""

import json

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw

from beam_jobs import anonymize
from radkit.deid import keys, text_in_pixels
from radkit.deid.text_in_pixels import ocr
from tests import made_up
from tests.deid.test_engine import header, written
from tests.deid.test_faces import _axial, _head


@pytest.fixture
def run(tmp_path):
    """Returns a call of the verb on `tmp_path/hospital`: its status, its summary and its instances."""
    keys.write(keys.Key(bytes(range(32))), tmp_path / "secret.key")

    def call(options):
        argv = [
            f"--input={tmp_path / 'hospital'}",
            f"--output={tmp_path / 'clean'}",
            f"--key={tmp_path / 'secret.key'}",
        ]
        status = anonymize.main(["radkit anonymize", *argv, f"--options={options}"])
        summary = json.loads((tmp_path / "clean/summary.json").read_text())
        paths = [p for p in sorted((tmp_path / "clean").rglob("*.dcm")) if "conflicts" not in p.parts]
        return status, summary, [pydicom.dcmread(p) for p in paths]

    return call


def codes(dataset):
    return [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]


def head(folder, part="HEAD"):
    """Writes a made-up head as a CT series; returns its values."""
    made = _head(*_axial((6, 4, 4)), "CT")
    made_up.ct_series(folder, stored=(made.array + 1024).astype(np.int16), place=made.affine)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.BodyPartExamined = part
        dataset.save_as(path)
    return made


@pytest.mark.slow
def test_a_head_loses_its_face_and_says_so(run, tmp_path):
    (tmp_path / "hospital").mkdir()
    made = head(tmp_path / "hospital")
    status, summary, images = run("CleanRecognizableVisualFeatures")
    assert (status, summary["written"]) == (0, len(made.array))
    assert summary["defaced"] > 5
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    after = np.stack([image.pixel_array for image in images]).astype(int) - 1024
    changed = after != made.array.astype(int)
    assert (changed & made.face).sum() > 0.9 * made.face.sum()
    assert not (changed & made.brain).any()
    assert {image.RecognizableVisualFeatures for image in images} == {"NO"}
    assert all("113102" in codes(image) for image in images)


def test_a_series_without_a_head_keeps_its_pixels_and_claims_nothing(run, tmp_path):
    (tmp_path / "hospital").mkdir()
    made_up.ct_series(tmp_path / "hospital")
    status, summary, images = run("CleanRecognizableVisualFeatures")
    assert (status, summary["defaced"]) == (0, 0)
    assert not any("RecognizableVisualFeatures" in image or "113102" in codes(image) for image in images)


def test_a_file_without_a_series_takes_no_other_with_it(run, tmp_path):
    (tmp_path / "hospital").mkdir()
    made_up.ct_series(tmp_path / "hospital")
    path = min((tmp_path / "hospital").iterdir())
    made_up.change(path, lambda d: d.__delattr__("SeriesInstanceUID"))
    status, summary, _ = run("CleanRecognizableVisualFeatures")
    assert (status, summary["written"]) == (1, len(list((tmp_path / "hospital").iterdir())) - 1)


def test_a_head_whose_face_is_not_found_is_set_aside_whole(run, tmp_path):
    (tmp_path / "hospital").mkdir()
    made_up.ct_series(tmp_path / "hospital")
    for path in (tmp_path / "hospital").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.BodyPartExamined = "HEAD"
        dataset.save_as(path)
    status, summary, images = run("CleanRecognizableVisualFeatures")
    assert (status, summary["written"], images) == (1, 0, [])
    assert all(reason.startswith("its face cannot be found") for reason in summary["quarantined_by_reason"])


def picture(folder, text, name="in.dcm", **changes):
    """Writes a grey picture with text burned in."""
    canvas = Image.new("L", (320, 240), 40)
    ImageDraw.Draw(canvas).rectangle((100, 150, 200, 200), fill=120)
    if text:
        ImageDraw.Draw(canvas).text((20, 20), text, fill=230, font_size=18)
    dataset = header()
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 240, 320, 8, 8, 7
    dataset.PixelData = canvas.tobytes()
    dataset["PixelData"].VR = "OB"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    folder.mkdir(exist_ok=True)
    written(dataset, folder, name)
    return np.asarray(canvas)


@pytest.mark.slow
def test_burned_in_text_goes_and_what_could_not_be_looked_at_is_not_called_clean(run, tmp_path):
    before = picture(tmp_path / "hospital", "PLANTED JANE 19620304")
    picture(tmp_path / "hospital", "", "empty.dcm", SOPInstanceUID="1.2.999.31")
    picture(tmp_path / "hospital", "PLANTED", "broken.dcm", SOPInstanceUID="1.2.999.32", Rows=241)
    status, summary, images = run("CleanPixelData")
    assert (status, summary["written"], summary["quarantined"]) == (1, 2, 1)
    assert (summary["pixels_looked_at"], summary["pixels_with_text_masked"]) == (2, 1)
    assert all(reason.startswith("its pixels cannot be looked at") for reason in summary["quarantined_by_reason"])
    assert [image.BurnedInAnnotation for image in images] == ["NO", "NO"]
    assert all("113101" in codes(image) for image in images)
    for image in images:  # of the empty one, too, nothing but the drawn box is left
        assert image.pixel_array[before == 230].max() < 230
        assert np.array_equal(image.pixel_array[60:], before[60:])
    assert "1 instance with something blacked out, 1 looked at" in (tmp_path / "clean/pixels.html").read_text()


def test_without_the_networks_the_option_is_refused_before_any_work(tmp_path, monkeypatch, capfd):
    picture(tmp_path / "hospital", "")
    keys.write(keys.Key(bytes(range(32))), tmp_path / "secret.key")

    def missing():
        raise text_in_pixels.cleaning.stored_pixels.PixelError("RapidOCR is not there; pip install 'radkit[deid]'")

    monkeypatch.setattr(ocr, "check", missing)
    argv = [f"--input={tmp_path / 'hospital'}", f"--output={tmp_path / 'clean'}", f"--key={tmp_path / 'secret.key'}"]
    assert anonymize.main(["radkit anonymize", *argv, "--options=CleanPixelData"]) == 2
    assert "radkit[deid]" in capfd.readouterr().err
    assert not (tmp_path / "clean").exists()
