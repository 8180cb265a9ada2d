"""Runs of `radkit predict` that are cut short, go on, or get what the model was not made for; no TensorFlow here."""

import csv
import errno
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pydicom
import pytest

from radkit import config, outputs
from radkit.dicom import write
from serving import channels, codec, messages, predict

CT = "1.2.826.0.1.3680043.8.498.1"
VOLUMES = config.Data("v", image_size=(4, 8, 8))
RADIOGRAPHS = config.Data("r", kind="radiograph", image_size=(64, 64))


class Served:
    """A server of one model that finds all that is bright; it can be told to die.

    Attributes:
        answered: Images that were answered.
        dies_after: So many.
        data: What the model tells of its records.
        rank: Of the images it takes.
        versions: Which it has.
        sizes: Of the image as the signature has it; -1 is any.
    """

    def __init__(self) -> None:
        self.answered, self.dies_after, self.data, self.rank = 0, 1000, VOLUMES, 3
        self.sizes: tuple[int, ...] = ()
        self.versions = [3]
        self.address = ""
        self.interrupts = threading.Event()  # once it is set, Ctrl-C comes, and no answer until it is set no more

    def _version(self, spec: Any, context: grpc.ServicerContext) -> int:
        if (version := spec.version.value or max(self.versions)) not in self.versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{version} was asked for")
        return version

    def metadata(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        version = self._version(messages.GetModelMetadataRequest.FromString(request).model_spec, context)
        found = messages.SignatureDefMap()
        sizes = self.sizes or (-1,) * (self.rank + 1)
        for name, inputs, given in (
            ("serving_default", {"image": (1, (*sizes, 1)), "spacing_mm": (1, (-1, self.rank))}, ("mask", 4)),
            ("records", {"spacing_mm": (1, (-1, self.rank))}, ("data", 7)),
        ):
            signature = found.signature_def[name]
            for key, (dtype, shape) in inputs.items():
                signature.inputs[key].dtype = dtype
                for size in shape:
                    signature.inputs[key].tensor_shape.dim.add(size=size)
            for key, dtype in (given, ("class_names", 7)):
                signature.outputs[key].dtype = dtype
        reply = messages.GetModelMetadataResponse()
        reply.model_spec.version.value = version
        reply.metadata["signature_def"].value = found.SerializeToString()
        return bytes(reply.SerializeToString())

    def predict(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        inputs, head = codec.inputs_of(request)
        if head.model_spec.signature_name == "records":
            return codec.response(messages.PredictResponse(), {"data": [json.dumps(config.data_to_json(self.data))]})
        self._version(head.model_spec, context)
        if self.answered >= self.dies_after:
            if self.versions == [3, 4]:
                self.versions = [4]
                self._version(head.model_spec, context)
            context.abort(grpc.StatusCode.UNAVAILABLE, "shutting down")
        self.answered += 1
        if self.interrupts.is_set() and self.answered > 1:
            os.kill(os.getpid(), signal.SIGINT)
            while self.interrupts.is_set():
                time.sleep(0.01)
        mask = (inputs["image"][..., 0] > 100).astype(np.uint8)
        return codec.response(messages.PredictResponse(), {"mask": mask, "class_names": [["bright"]]})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(channels, "BACKOFF_S", ())
    made, server = Served(), grpc.server(futures.ThreadPoolExecutor(4))
    methods = {"Predict": made.predict, "GetModelMetadata": made.metadata}
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.PREDICTION_SERVICE, handlers)])
    made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    server.stop(None).wait()


def run(served: Served, given: Path, output: Path, *more: str) -> int:
    flags = [f"--server={served.address}", "--model=m", f"--input={given}", f"--output={output}", *more]
    return predict.main(["radkit predict", *flags])


def image(folder: Path, uid: str, modality: str = "CT", slices: int = 4, value: int = 150) -> None:
    stored = np.full((slices, 6, 8), value, np.int16 if modality != "CR" else np.uint16)
    affine = None if modality == "CR" else np.diag([0.8, 0.5, 2.0, 1.0])
    header = {
        "Modality": modality,
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": uid,
        "FrameOfReferenceUID": "1.2.4",
    }
    rescaled = {"RescaleIntercept": "0"} if modality == "CT" else {}
    if modality == "CR":
        del header["FrameOfReferenceUID"]
    write.write_series(stored, affine, {**header, **rescaled}, folder)


def quarantine(output: Path) -> dict[str, str]:
    return dict(list(csv.reader((output / "quarantine.csv").read_text().splitlines()))[1:])


def answers_in(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.rglob("answer.json"))


def incomplete(folder: Path) -> Path:
    (found,) = folder.glob("out.incomplete.*")
    return found


def test_what_a_dying_server_answered_stays_and_the_next_run_goes_on(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        image(tmp_path / "in" / str(number), f"{CT}.{number}")
    served.dies_after = 2
    assert run(served, tmp_path / "in", tmp_path / "out", "--in_flight=1") == 2
    assert "shutting down" in (said := capsys.readouterr().err)
    assert "2 of 5 inputs are done and kept" in said
    assert not (tmp_path / "out").exists()
    kept = incomplete(tmp_path)
    assert answers_in(kept) == [f"{CT}.0", f"{CT}.1"]
    (kept / f"{CT}.2.part").mkdir()  # as of a run that was killed while it wrote
    served.dies_after = 1000
    assert run(served, tmp_path / "in", tmp_path / "out") == 0
    assert served.answered == 5
    assert answers_in(tmp_path / "out") == [f"{CT}.{number}" for number in range(5)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert not list((tmp_path / "out").glob("*.part"))
    assert outputs.read_json(tmp_path / "out" / "summary.json")["answered"] == 5


def test_a_version_taken_out_of_service_loses_no_answer_and_none_is_mixed_with_another(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        image(tmp_path / "in" / str(number), f"{CT}.{number}")
    asked = (served, tmp_path / "in", tmp_path / "out", "--in_flight=1")
    served.dies_after = 2
    assert run(*asked) == 2
    served.dies_after, served.versions = 3, [3, 4]
    capsys.readouterr()
    assert run(*asked) == 2, "goes on with 3 though 4 is newer, until that is gone"
    assert "3 was asked for; 3 of 4 inputs are done and kept" in capsys.readouterr().err
    served.dies_after = 1000
    assert run(*asked) == 2
    said = capsys.readouterr().err
    assert "holds answers of version 3 of m, which is not served any more" in said
    assert len(answers_in(incomplete(tmp_path))) == 3
    served.versions = [3, 4]
    assert run(*asked) == 0
    told = [outputs.read_json(path)["model"] for path in (tmp_path / "out").rglob("answer.json")]
    assert [one["version"] for one in told] == [3] * 4
    assert served.answered == 4


def test_a_full_disk_is_told_and_what_was_written_before_stays(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        image(tmp_path / "in" / str(number), f"{CT}.{number}")
    write_json = outputs.write_json

    def full(path: Path, value: Any) -> None:
        if path.name == "answer.json" and value["series_uid"] == f"{CT}.1":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(outputs, "write_json", full)
        assert run(served, tmp_path / "in", tmp_path / "out", "--in_flight=1") == 2
    assert "no space is left on the disk" in capsys.readouterr().err
    assert answers_in(incomplete(tmp_path)) == [f"{CT}.0"]
    assert [path.name for path in incomplete(tmp_path).iterdir() if path.is_dir()] == [f"{CT}.0"]
    assert run(served, tmp_path / "in", tmp_path / "out") == 0
    assert len(answers_in(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("data", "modality", "slices", "words"),
    [
        (RADIOGRAPHS, "CT", 1, "takes radiographs, and the series is of Modality CT"),
        (replace(RADIOGRAPHS, modalities=("CR", "DX")), "CT", 1, "takes CR, DX, and the series is of Modality CT"),
        (VOLUMES, "CR", 1, "takes volumes, and the series is of Modality CR"),
        (replace(VOLUMES, modalities=("MR",)), "CT", 4, "takes MR, and the series is of Modality CT"),
        (VOLUMES, "CT", 1, "one slice, and the model learned from 4 at once"),
    ],
)
def test_what_the_model_was_not_made_for_is_set_aside_unsent(
    data: config.Data, modality: str, slices: int, words: str, served: Served, tmp_path: Path
) -> None:
    served.data, served.rank = data, 2 if data.kind == "radiograph" else 3
    image(tmp_path / "in", CT, modality, slices)
    assert run(served, tmp_path / "in", tmp_path / "out") == 1
    (reason,) = quarantine(tmp_path / "out").values()
    assert words in reason
    assert "--any_modality" in reason
    assert served.answered == 0
    assert run(served, tmp_path / "in", tmp_path / "anyway", "--any_modality", "--formats=json") == 0
    assert served.answered == 1


def test_what_the_model_was_made_for_is_sent(served: Served, tmp_path: Path) -> None:
    served.data, served.rank = replace(RADIOGRAPHS, modalities=("CR",)), 2
    image(tmp_path / "in", CT, "CR", 1)
    assert run(served, tmp_path / "in", tmp_path / "out") == 0


def test_a_size_that_the_signature_does_not_take_is_not_sent(served: Served, tmp_path: Path) -> None:
    served.sizes = (-1, 4, 16, 16)
    image(tmp_path / "in", CT)
    assert run(served, tmp_path / "in", tmp_path / "out", "--any_modality") == 1
    assert "image would be (1, 4, 6, 8, 1); the model takes float32 (any, 4, 16, 16, 1)" in str(
        quarantine(tmp_path / "out")
    )
    assert served.answered == 0


def test_images_of_one_uid_are_copies_or_set_aside(served: Served, tmp_path: Path) -> None:
    served.data, served.rank = RADIOGRAPHS, 2
    for number, value in enumerate((50, 50, 150)):
        image(tmp_path / "all" / str(number), CT, "CR", 1, value)
        if number < 2:
            image(tmp_path / "copies" / str(number), CT, "CR", 1, value)
    assert run(served, tmp_path / "copies", tmp_path / "one") == 0
    assert served.answered == 1
    assert run(served, tmp_path / "all", tmp_path / "out") == 1
    assert "same SOPInstanceUID" in str(quarantine(tmp_path / "out"))
    assert served.answered == 1


def test_slices_of_one_uid_and_series_of_two_studies_are_set_aside(served: Served, tmp_path: Path) -> None:
    image(tmp_path / "in" / "good", f"{CT}.1")
    image(tmp_path / "in" / "slices", f"{CT}.2")
    image(tmp_path / "in" / "first", f"{CT}.3")
    image(tmp_path / "in" / "second", f"{CT}.3", value=90)
    file = tmp_path / "in" / "slices" / "0002.dcm"
    change(file, SOPInstanceUID=f"{CT}.2.1")
    for path in (tmp_path / "in" / "second").iterdir():
        change(path, StudyInstanceUID="1.2.99", SOPInstanceUID=f"{CT}.9.{int(path.stem)}")
    assert run(served, tmp_path / "in", tmp_path / "out") == 1
    found = quarantine(tmp_path / "out")
    assert sorted(found) == [f"{CT}.2", f"{CT}.3"]
    assert "same SOPInstanceUID" in found[f"{CT}.2"]
    assert "2 studies" in found[f"{CT}.3"]
    assert answers_in(tmp_path / "out") == [f"{CT}.1"]


def change(path: Path, **header: str) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path)


def test_a_capture_of_an_earlier_answer_is_no_image_to_be_asked_about(served: Served, tmp_path: Path) -> None:
    image(tmp_path / "in", CT)
    assert run(served, tmp_path / "in", tmp_path / "out", "--formats=json,seg,sr,capture,nifti") == 0
    found = sorted(path.name for path in (tmp_path / "out" / CT).iterdir())
    assert found == ["answer.json", "mask.nii.gz", "measurements.dcm", "overlay.dcm", "segmentation.dcm"]
    for name in ("overlay.dcm", "segmentation.dcm", "measurements.dcm"):
        (tmp_path / "out" / CT / name).rename(tmp_path / "in" / name)
    assert run(served, tmp_path / "in", tmp_path / "again") == 0
    skipped = (tmp_path / "again" / "skipped.csv").read_text()
    assert "drawn by radkit" in skipped
    assert answers_in(tmp_path / "again") == [CT]


def test_ctrl_c_waits_for_no_answer_and_keeps_those_that_came(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        image(tmp_path / "in" / str(number), f"{CT}.{number}")
    served.interrupts.set()
    status = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    ends = threading.Timer(30, served.interrupts.clear)  # so that what waits for the answer fails, and does not hang
    ends.start()
    try:
        status.append(run(served, tmp_path / "in", tmp_path / "out", "--in_flight=1"))
        assert served.interrupts.is_set(), "it waited for the answer"
    finally:
        signal.signal(signal.SIGINT, before)
        ends.cancel()
        served.interrupts.clear()
    assert status == [2]
    assert "interrupted; 1 of 3 inputs are done and kept" in capsys.readouterr().err
    assert answers_in(incomplete(tmp_path)) == [f"{CT}.0"]
    assert run(served, tmp_path / "in", tmp_path / "out") == 0
    assert len(answers_in(tmp_path / "out")) == 3


def test_answers_are_not_written_among_what_is_read(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(tmp_path / "in", CT)
    for output in (tmp_path / "in", tmp_path / "in" / "out"):
        assert run(served, tmp_path / "in", output) == 2
        assert "--output lies in --input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--formats=json,niftii", "did you mean 'nifti'"),
        ("--formats=", "--formats is empty"),
        ("--in_flight=0", "in_flight"),
        ("--tls_ca=/nowhere.pem", "cannot be read"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_written(
    flag: str, words: str, served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(tmp_path / "in", CT)
    assert run(served, tmp_path / "in", tmp_path / "out", flag) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_empty_folder_and_one_without_dicom_are_refused(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert run(served, tmp_path / "in", tmp_path / "out") == 2
    assert "is empty" in capsys.readouterr().err
    (tmp_path / "in" / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    assert run(served, tmp_path / "in", tmp_path / "out") == 2
    assert "no image series" in capsys.readouterr().err
