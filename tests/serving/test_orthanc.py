"""What `radkit predict` writes goes into a real archive (Orthanc) by C-STORE and STOW-RS, and comes back equal."""

import email
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radkit.data import resample
from radkit.dicom import annotations, read_volumes, write
from serving import answers

pytestmark = pytest.mark.slow
BINARY = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
if BINARY is None or not PLUGIN.is_file():
    pytest.skip("Orthanc or its DICOMweb plugin is not installed", allow_module_level=True)
pynetdicom = pytest.importorskip("pynetdicom")

KINDS = (answers.SEGMENTATION, answers.REPORT, answers.CAPTURE)
STARTED_S = 60.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Starts an archive of its own on loopback; yields its HTTP address and its DICOM port."""
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [str(PLUGIN)],
        "HttpPort": http, "DicomPort": dicom, "DicomAet": "ARCHIVE", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(BINARY), str(folder / "settings.json")], stdout=log, stderr=log)
        try:
            until = time.monotonic() + STARTED_S
            while not answering(f"http://127.0.0.1:{http}/system"):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until, "Orthanc did not start in time"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{http}", dicom
        finally:
            process.terminate()
            process.wait(30)


def answering(url: str) -> bool:
    try:
        return bool(fetched(url))
    except (urllib.error.URLError, ConnectionError):
        return False


def fetched(url: str, data: bytes | None = None, **headers: str) -> bytes:
    request = urllib.request.Request(url, data, {name.replace("_", "-"): said for name, said in headers.items()})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return bytes(reply.read())


def answered(folder: Path, series_uid: str) -> tuple[Path, np.ndarray]:
    affine = np.diag([0.8, 0.5, 2.0, 1.0])
    header = {"Modality": "CT", "StudyInstanceUID": f"{series_uid}.9", "SeriesInstanceUID": series_uid}
    stored = np.random.default_rng(1).integers(0, 900, (5, 24, 20)).astype(np.int16)
    about = {"FrameOfReferenceUID": "1.2.4", "PatientID": "P1", "PatientName": "Invented"}
    write.write_series(stored, affine, {**header, **about}, folder / "ct")
    volume = read_volumes((folder / "ct").iterdir())[0]
    mask = np.zeros((5, 24, 20), np.uint8)
    mask[1:4, 4:14, 3:12] = 1
    outputs = {"mask": mask[None], "class_names": np.array([[b"liver"]])}
    grid = resample.grid_of(volume)
    answers.write(outputs, volume, {"name": "m"}, folder / "out", grid, formats=("seg", "sr", "capture"))
    return folder / "out", mask


@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_an_archive_gives_back_what_it_took(way: str, archive: tuple[str, int], tmp_path: Path) -> None:
    http, port = archive
    folder, mask = answered(tmp_path, f"1.2.826.0.1.3680043.8.498.{1 + (way == 'STOW-RS')}")
    sent = {name: pydicom.dcmread(folder / name) for name in KINDS}
    if way == "C-STORE":
        store(list(sent.values()), port)
    else:
        stow([folder / name for name in KINDS], f"{http}/dicom-web/studies")
    for name, dataset in sent.items():
        (one,) = json.loads(fetched(f"{http}/tools/lookup", str(dataset.SOPInstanceUID).encode()))
        back = tmp_path / f"back_{name}"
        back.write_bytes(fetched(f"{http}/instances/{one['ID']}/file"))
        read = pydicom.dcmread(back)
        assert read == dataset
        by_web = tmp_path / f"web_{name}"
        by_web.write_bytes(wado(http, dataset))
        assert pydicom.dcmread(by_web) == dataset
    volume = read_volumes((tmp_path / "ct").iterdir())[0]
    seg = tmp_path / f"back_{answers.SEGMENTATION}"
    np.testing.assert_array_equal(annotations.read_seg(seg, volume, ["liver"]), mask)


def store(datasets: list[pydicom.Dataset], port: int) -> None:
    entity = pynetdicom.AE("RADKIT")
    for dataset in datasets:
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="ARCHIVE")
    assert association.is_established
    try:
        assert [association.send_c_store(dataset).Status for dataset in datasets] == [0] * len(datasets)
    finally:
        association.release()


def stow(files: list[Path], url: str) -> None:
    parts = [b"--edge\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n" for file in files]
    kind = 'multipart/related; type="application/dicom"; boundary=edge'
    reply = fetched(url, b"".join(parts) + b"--edge--", Content_Type=kind, Accept="application/dicom+json")
    told = json.loads(reply)
    assert len(told["00081199"]["Value"]) == len(files)
    assert not told.get("00081198", {}).get("Value")  # FailedSOPSequence


def wado(http: str, dataset: pydicom.Dataset) -> bytes:
    """Returns the instance by WADO-RS: the one part of a multipart reply."""
    place = f"studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"
    request = urllib.request.Request(
        f"{http}/dicom-web/{place}", headers={"Accept": 'multipart/related; type="application/dicom"'}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        kind, body = reply.headers["Content-Type"], reply.read()
    (part,) = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body).get_payload()
    found = part.get_payload(decode=True)
    assert isinstance(found, bytes)
    return found
