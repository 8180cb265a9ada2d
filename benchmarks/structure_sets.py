"""A CT series and its RTSTRUCT of ten organs to masks on its grid: radkit against rt-utils."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import hospital_files, segmentations, side_by_side


def write(folder: Path) -> None:
    """Writes cases of a series and a structure set."""
    from radkit.dicom import read_volumes, write_rtstruct

    for number in range(2):
        images = folder / f"{number}" / "ct"
        hospital_files.ct_series(images, number, segmentations.SLICES)
        volume = read_volumes(images)[0]
        mask = segmentations.organs(volume.stored.shape)
        write_rtstruct(mask, volume, segmentations.LABELS, folder / f"{number}" / "drawn.dcm")


def radkit(folder: Path, _: Path) -> None:
    from radkit.dicom import read_annotation, read_volumes

    for case in sorted(folder.iterdir()):
        volume = read_volumes(case / "ct")[0]
        regions = read_annotation(case / "drawn.dcm", volume).regions
        assert len([region.on(volume.stored.shape).any() for region in regions]) == len(segmentations.LABELS)


def rt_utils(folder: Path, _: Path) -> None:
    from rt_utils import RTStructBuilder

    for case in sorted(folder.iterdir()):
        found = RTStructBuilder.create_from(str(case / "ct"), str(case / "drawn.dcm"))
        masks = [found.get_roi_mask_by_name(name).any() for name in found.get_roi_names()]
        assert len(masks) == len(segmentations.LABELS)


if __name__ == "__main__":
    workers = {f.__name__: f for f in (radkit, rt_utils)}
    side_by_side.main(__file__, workers, ours="radkit", corpora={"RTSTRUCT": write})
