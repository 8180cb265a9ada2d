"""De-identification on one core against peers, and the whole job on two: ratios, each from one run.

    python benchmarks/deidentify.py --peer_python=.venv-bench/bin/python
    python benchmarks/deidentify.py --only=job --files=5000

Files per CPU second of radkit, dicom-anonymizer, and pydicom's plain read and write, on 512x512 CT slices with 158
elements and on multi-frame MR with large nested headers. Then wall seconds of the job on many CT slices: a plain loop,
Beam in memory, and two local workers.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import hospital_files, jobs, side_by_side


def radkit(folder: Path, out: Path) -> None:
    from radkit.deid import Settings, files, keys

    work = files.Work(keys.Key(bytes(32)), Settings())
    for path in sorted(folder.rglob("*.dcm")):
        files.deidentify_file(path, out, work)


def dicom_anonymizer(folder: Path, out: Path) -> None:
    from dicomanonymizer import anonymize_dicom_file

    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        anonymize_dicom_file(str(path), str(out / f"{number}.dcm"))


def pydicom_read_write(folder: Path, out: Path) -> None:
    import pydicom

    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        pydicom.dcmread(path).save_as(out / f"{number}.dcm")


def ct(folder: Path) -> None:
    for number in range(200):
        hospital_files.write(hospital_files.ct_slice(number), folder / f"{number}.dcm")


def enhanced_mr(folder: Path) -> None:
    for number in range(4):
        hospital_files.write(hospital_files.enhanced_mr(200, number), folder / f"{number}.dcm")


def enhanced_mr_private_undefined(folder: Path) -> None:
    for number in range(4):
        dataset = hospital_files.enhanced_mr(200, number, private=True, undefined=True)
        hospital_files.write(dataset, folder / f"{number}.dcm")


if __name__ == "__main__":
    workers = {f.__name__: f for f in (radkit, dicom_anonymizer, pydicom_read_write)}
    corpora = {f.__name__: f for f in (ct, enhanced_mr, enhanced_mr_private_undefined)}
    if "--only=job" not in sys.argv:
        side_by_side.main(__file__, workers, ours="radkit", corpora=corpora)
    if "--worker" not in " ".join(sys.argv):
        jobs.main(sys.argv)
