"""Series to arrays in modality units, one core: radkit against SimpleITK's reader and dcm2niix."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from benchmarks import hospital_files, side_by_side


def ct(count: int, syntax: str) -> Callable[[Path], None]:
    """Returns what writes so many series of 100 slices."""

    def write(folder: Path) -> None:
        for number in range(count):
            hospital_files.ct_series(folder / f"{number}", number, 100, UID(syntax))

    return write


def radkit(folder: Path, _: Path) -> None:
    from radkit.dicom import read_volumes

    for series in sorted(folder.iterdir()):
        for volume in read_volumes(series.iterdir()):
            _ = volume.array


def simpleitk(folder: Path, _: Path) -> None:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for series in sorted(folder.iterdir()):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
        SimpleITK.GetArrayFromImage(reader.Execute())


def dcm2niix(folder: Path, out: Path) -> None:
    import subprocess

    command = Path(sys.executable).parent / "dcm2niix"
    for series in sorted(folder.iterdir()):
        target = out / series.name
        target.mkdir()
        subprocess.run([command, "-z", "n", "-b", "n", "-o", target, series], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    workers = {f.__name__: f for f in (radkit, simpleitk, dcm2niix)}
    corpora = {
        "brain MR": side_by_side.real_mr(12),
        "CT 512x512": ct(3, ExplicitVRLittleEndian),
        "CT 512x512, JPEG 2000": ct(1, JPEG2000Lossless),
    }
    side_by_side.main(__file__, workers, ours="radkit", corpora=corpora)
