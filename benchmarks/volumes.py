"""Real MR series to arrays in modality units, one core: radkit against SimpleITK's reader and dcm2niix."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import side_by_side


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
    side_by_side.main(__file__, workers, ours="radkit", corpora={"brain MR": side_by_side.real_mr(12)})
