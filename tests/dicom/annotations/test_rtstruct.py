"""Structure sets as regions: contours of every plane at their place, and refused or told of where they do not fit."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from radkit import config
from radkit.dicom import read_volumes
from radkit.dicom.annotations import AnnotationError, rtstruct
from tests import made_up
from tests.dicom import made_up_stacks

LAX = config.Annotations(other_instances="report", other_frame_of_reference="report", off_slice="report")
PLANES = {
    "axial": made_up.affine(),
    "oblique": made_up.affine(angles=(10, 20, 30)),
    "sagittal": made_up.affine(angles=(0, 90, 0)),
    "coronal": made_up.affine(angles=(90, 0, 0)),
    "tilted": made_up.affine(tilt=20),
    "tilted and oblique": made_up.affine(tilt=-15, angles=(40, 0, 70)),
}
RECTANGLE = np.array([(1, 2), (1, 5), (3, 5), (3, 2)], float)  # rows 1 to 3 and columns 2 to 5, by the path's rule


def volume_of(folder, **more):
    made_up.ct_series(folder, **({"slices": 6, "size": (9, 11)} | more))
    return read_volumes(folder.glob("*.dcm"))[0]


@pytest.fixture
def volume(tmp_path):
    return volume_of(tmp_path / "ct")


def contour(volume, index, points=RECTANGLE, kind="CLOSED_PLANAR", named=True):
    """Returns a contour of a slice; `index` is a slice's, whole or not, or one of each point."""
    item = Dataset()
    points = np.asarray(points, float)
    index = np.broadcast_to(np.asarray(index, float), len(points))
    at = np.stack([points[:, 1], points[:, 0], index, np.ones(len(points))])
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = made_up_stacks.text((volume.affine @ at)[:3].T)
    whole = round(float(index[0]))
    if named and 0 <= whole < len(volume.instance_uids):
        image = Dataset()
        image.ReferencedSOPClassUID = volume.meta["SOPClassUID"]
        image.ReferencedSOPInstanceUID = volume.instance_uids[whole]
        item.ContourImageSequence = [image]
    return item


def save(path, volume, structures, change=None):
    """Writes a structure set of (name, contours) each, with nothing of radkit's own writer."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    dataset.Modality, dataset.StructureSetDate, dataset.OperatorsName = "RTSTRUCT", "20200229", "R2"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = volume.meta["SeriesInstanceUID"]
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = volume.meta["FrameOfReferenceUID"]
    frame.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, found) in enumerate(structures, 1):
        item, group = Dataset(), Dataset()
        item.ROINumber = group.ReferencedROINumber = number
        item.ROIName, item.ROIGenerationAlgorithm = name, "MANUAL"
        item.ReferencedFrameOfReferenceUID = frame.FrameOfReferenceUID
        group.ContourSequence = found
        dataset.StructureSetROISequence.append(item)
        dataset.ROIContourSequence.append(group)
    if change:
        change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def names(annotation):
    return [finding.name for finding in annotation.findings]


@pytest.mark.parametrize("plane", PLANES)
def test_contours_of_every_plane_are_drawn_where_they_lie(tmp_path, plane):
    volume = volume_of(tmp_path / "ct", place=PLANES[plane])
    hole = [(1.5, 2.5), (1.5, 4.5), (2.5, 4.5), (2.5, 2.5)]
    path = save(
        tmp_path / "rt.dcm",
        volume,
        [
            ("Liver", [contour(volume, 1), contour(volume, 2), contour(volume, 2, hole)]),
            ("Tumour", [contour(volume, 5, [(0, 0), (0, 1), (1, 0)])]),
        ],
    )
    found = rtstruct.read(path, volume)
    liver, tumour = (region.on(volume.stored.shape) for region in found.regions)
    expected = np.zeros(volume.stored.shape, bool)
    expected[1:3, 1:4, 2:6] = True
    expected[2, 2, 3:5] = False
    np.testing.assert_array_equal(liver, expected)
    assert np.argwhere(tumour).tolist() == [[5, 0, 0], [5, 0, 1], [5, 1, 0]]
    assert found.regions[0].corner == (1, 1, 2)
    assert found.labels == ("Liver", "Tumour")
    assert (found.reader, found.date, found.reference_standard) == ("R2", "2020-02-29", "")
    assert found.findings == ()
    assert rtstruct.roi_names(path) == ["Liver", "Tumour"]


def test_excluding_contours_are_read_as_the_standard_says(tmp_path, volume):
    two = [contour(volume, 0, RECTANGLE + off, "CLOSEDPLANAR_XOR") for off in (0.5, 1.5)]
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", two)]), volume)
    assert found.regions[0].inside.sum() == 6 + 6 - 2 * 2


def test_labels_are_found_exactly_or_else_in_any_case(tmp_path, volume):
    path = save(tmp_path / "rt.dcm", volume, [(n, [contour(volume, 0)]) for n in ("Liver", "liver", "Spleen", "GTV ")])
    assert [(r.label, r.number) for r in rtstruct.read(path, volume, ["liver", "SPLEEN"]).regions] == [
        ("liver", 2),
        ("SPLEEN", 3),
    ]
    assert rtstruct.read(path, volume, ["gtv"]).labels == ("gtv",)
    assert rtstruct.read(path, volume).labels == ("Liver", "liver", "Spleen", "GTV")
    with pytest.raises(AnnotationError, match="2 segments are named 'LIVER' but for upper and lower case"):
        rtstruct.read(path, volume, ["LIVER"])
    with pytest.raises(AnnotationError, match="none of the structures Kidney, Lung"):
        rtstruct.read(path, volume, ["Kidney", "Lung"])


def test_structures_that_are_not_asked_for_are_not_decoded(tmp_path, volume):
    broken = contour(volume, 0)
    broken.ContourData = broken.ContourData[:-1]
    path = save(tmp_path / "rt.dcm", volume, [("Broken", [broken]), ("A", [contour(volume, 0)])])
    assert rtstruct.read(path, volume, ["A"]).labels == ("A",)
    with pytest.raises(AnnotationError, match="a contour has 11 coordinates; three a point"):
        rtstruct.read(path, volume)


def test_contours_on_no_slice_are_refused_or_left_out_and_counted(tmp_path, volume):
    slanted = contour(volume, [1, 1, 2, 2])
    path = save(
        tmp_path / "rt.dcm",
        volume,
        [("A", [contour(volume, k) for k in (0, 1.09, 1.5, 2.3, -1, -3, 7.6)] + [slanted])],
    )
    said = "6 of 8 contours lie on no slice of the image: 2 between slices, 3 before the first or after the last slice"
    with pytest.raises(AnnotationError, match=said) as caught:
        rtstruct.read(path, volume)
    assert caught.value.finding == "contour_off_slice"
    found = rtstruct.read(path, volume, wishes=LAX)
    assert names(found) == ["contour_off_slice"]
    assert found.findings[0].text.endswith("1 not parallel to the slices")
    assert np.unique(np.argwhere(found.regions[0].on(volume.stored.shape))[:, 0]).tolist() == [0, 1]


@pytest.mark.parametrize(("index", "off"), [(0, (20, 0)), (0, (0, -9)), (-2, (0, 0)), (9, (0, 0))])
def test_a_structure_wholly_outside_is_refused(tmp_path, volume, index, off):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, index, RECTANGLE + off)])])
    with pytest.raises(AnnotationError, match="wholly outside the image") as caught:
        rtstruct.read(path, volume, wishes=LAX)
    assert caught.value.finding == "outside_image"


def test_a_structure_partly_outside_is_cut_off(tmp_path, volume):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 3, RECTANGLE - (2, 4)), contour(volume, 4)])])
    found = rtstruct.read(path, volume)
    assert found.regions[0].on(volume.stored.shape)[3].sum() == 4
    assert [f.text for f in found.findings] == ["1 of 2 contours reach beyond the image's rows or columns"]
    with pytest.raises(AnnotationError, match="1 of 2 contours reach beyond"):
        rtstruct.read(path, volume, wishes=config.Annotations(partly_outside="refuse"))


def test_a_contour_around_the_whole_image_is_no_fault(tmp_path, volume):
    edge = [(-0.5, -0.5), (-0.5, 10.5), (8.5, 10.5), (8.5, -0.5)]
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0, edge)])]), volume)
    assert found.regions[0].inside.shape == (1, 9, 11)
    assert found.regions[0].inside.all()
    assert found.findings == ()


@pytest.mark.parametrize("kind", ["OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_open_contours_are_refused_if_asked_for_and_else_left_out(tmp_path, volume, kind):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0)]), ("B", [contour(volume, 0, kind=kind)])])
    found = rtstruct.read(path, volume)
    assert found.labels == ("A",)
    assert found.findings[0].text.endswith("left out: ROINumber 2")
    assert rtstruct.read(path, volume, ["A"]).findings == ()
    with pytest.raises(AnnotationError, match="structure 'B' has open contours") as caught:
        rtstruct.read(path, volume, ["B"])
    assert caught.value.finding == "open_contour"
    with pytest.raises(AnnotationError, match="nothing but open contours"):
        rtstruct.read(save(path, volume, [("B", [contour(volume, 0, kind=kind)])]), volume)


def test_a_point_is_a_box_of_its_voxel(tmp_path, volume):
    point = contour(volume, 2.2, [(3.4, 10.4)], "POINT")
    far = contour(volume, 2, [(3, 30)], "POINT", named=False)
    path = save(tmp_path / "rt.dcm", volume, [("Isocentre", [point]), ("A", [contour(volume, 0)]), ("Far", [far])])
    found = rtstruct.read(path, volume)
    assert [(box.low, box.high, box.label) for box in found.boxes] == [((2, 3, 10), (3, 4, 11), "Isocentre")]
    assert found.labels == ("A",)
    assert [f.text for f in found.findings] == ["1 points lie outside the image and were left out"]
    with pytest.raises(AnnotationError, match="points of structure 'Far' lie outside"):
        rtstruct.read(path, volume, ["Far"])


def test_structures_without_a_voxel_are_told_of(tmp_path, volume):
    tiny = contour(volume, 1, [(2.3, 2.3), (2.3, 2.6), (2.6, 2.6)])
    path = save(tmp_path / "rt.dcm", volume, [("None", []), ("Tiny", [tiny]), ("A", [contour(volume, 0)])])
    found = rtstruct.read(path, volume)
    assert [f.text for f in found.findings] == ["2 structures have no voxel: ROINumber 1, 2"]
    assert [region.inside.size for region in found.regions] == [0, 0, 12]
    with pytest.raises(AnnotationError, match="no voxel") as caught:
        rtstruct.read(path, volume, wishes=config.Annotations(empty="refuse"))
    assert caught.value.finding == "empty_segment"


def other_image(dataset):
    for group in dataset.ROIContourSequence:
        group.ContourSequence[0].ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.99"


def other_series(dataset):
    for group in dataset.ROIContourSequence:
        for item in group.ContourSequence:
            del item.ContourImageSequence
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.99"


def other_frame(dataset):
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.99"


def other_frame_of_all(dataset):
    del dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.99"


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (other_image, "other_instances", "1 of 2 contours name images that are not the volume's"),
        (other_series, "other_instances", "the structure set names the images of other series"),
        (other_frame, "other_frame_of_reference", "1 of 1 structures have another FrameOfReferenceUID"),
        (other_frame_of_all, "other_frame_of_reference", "1 of 1 structures have another FrameOfReferenceUID"),
    ],
)
def test_what_was_drawn_on_other_images_is_refused_or_told_of(tmp_path, volume, change, name, said):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0), contour(volume, 1)])], change)
    with pytest.raises(AnnotationError, match=said) as caught:
        rtstruct.read(path, volume)
    assert caught.value.finding == name
    found = rtstruct.read(path, volume, wishes=LAX)
    assert names(found) == [name]
    assert found.regions[0].inside.sum() == 24


def test_contours_that_name_another_slice_are_told_of(tmp_path, volume):
    shifted = contour(volume, 0)
    shifted.ContourImageSequence = contour(volume, 1).ContourImageSequence
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [shifted, contour(volume, 1)])]), volume)
    assert names(found) == ["contour_names_other_slice"]


@pytest.mark.parametrize(("slices", "step"), [((0, 2, 4), 2), ((0, 3, 6, 9), 3), ((1, 3, 5, 7, 11), 2)])
def test_contours_that_skip_slices_are_told_of_and_nothing_is_made_up(tmp_path, slices, step):
    volume = volume_of(tmp_path / "ct", slices=12)
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, k) for k in slices])]), volume)
    assert names(found) == ["skipped_slices"]
    assert f"every {step}. slice (ROINumber 1)" in found.findings[0].text
    drawn = found.regions[0].on(volume.stored.shape).any(axis=(1, 2))
    assert np.flatnonzero(drawn).tolist() == list(slices)


@pytest.mark.parametrize("slices", [(0, 1, 2), (0, 4), (0, 2, 3), (0, 2, 8)])
def test_contours_with_gaps_of_another_kind_are_not(tmp_path, slices):
    volume = volume_of(tmp_path / "ct", slices=12)
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, k) for k in slices])]), volume)
    assert found.findings == ()


def test_structures_of_one_name_are_both_read(tmp_path, volume):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0)]), ("A", [contour(volume, 1)])])
    found = rtstruct.read(path, volume)
    assert [(r.label, r.number, r.corner[0]) for r in found.regions] == [("A", 1, 0), ("A", 2, 1)]
    assert names(found) == ["repeated_name"]


def same_number(dataset):
    dataset.StructureSetROISequence[1].ROINumber = 1


def nameless(dataset):
    dataset.ROIContourSequence[1].ReferencedROINumber = 7
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 3


def test_numbers_that_do_not_tell_whose_contours_these_are(tmp_path, volume):
    two = [("A", [contour(volume, 0)]), ("B", [contour(volume, 1)])]
    with pytest.raises(AnnotationError, match="1 ROINumbers stand for several structures"):
        rtstruct.read(save(tmp_path / "rt.dcm", volume, two, same_number), volume)
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, two, nameless), volume)
    assert names(found) == ["empty_segment", "odd_contours"]
    assert found.findings[1].text == (
        "1 contours have another NumberOfContourPoints than points; 1 groups of contours are of no structure and were "
        "left out"
    )


def test_points_that_repeat_change_nothing(tmp_path, volume):
    doubled = np.repeat(RECTANGLE, 2, axis=0)[[0, 1, 2, 3, 4, 5, 6, 7, 0]]
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0, doubled)])]), volume)
    assert found.regions[0].inside.sum() == 12
    assert found.findings == ()
    same = contour(volume, 0, np.repeat([(2.0, 2.0)], 3, axis=0))
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [same, contour(volume, 1)])]), volume)
    assert found.findings[0].text == "1 contours have fewer than three points"
    assert found.regions[0].inside.sum() == 13


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (["1", "2", "3", "4"], "a contour has 4 coordinates"),
        (["1e9", "0", "0"], "more than a kilometre"),
        ("1\\x\\3", "ContourData is not of numbers"),
        ("1\\nan\\3", "ContourData is not of finite numbers"),
    ],
)
def test_numbers_that_are_no_points_are_refused(tmp_path, volume, data, said):
    def change(dataset):
        item = dataset.ROIContourSequence[0].ContourSequence[0]
        if isinstance(data, str):
            del item.ContourData
            item.add_new(0x30060050, "OB", data.encode())
        else:
            item.ContourData = data

    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0)])], change)
    path.write_bytes(path.read_bytes().replace(b"\x06\x30\x50\x00OB\0\0", b"\x06\x30\x50\x00UN\0\0"))
    with pytest.raises(AnnotationError, match=said):
        rtstruct.read(path, volume)


def test_a_contour_of_no_known_kind_is_refused(tmp_path, volume):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0, kind="CLOSED")])])
    with pytest.raises(AnnotationError, match="ContourGeometricType is none of CLOSED_PLANAR, CLOSEDPLANAR_XOR"):
        rtstruct.read(path, volume)


def told(dataset):
    observation = Dataset()
    observation.ROIInterpreter = "R7"
    dataset.RTROIObservationsSequence = [Dataset(), observation]
    dataset.OperatorsName, dataset.StructureSetDate = "", "20200231"  # no day
    for item in dataset.StructureSetROISequence:
        item.ROIGenerationAlgorithm = "AUTOMATIC"


def test_who_drew_and_how_is_said_where_it_is_known(tmp_path, volume):
    found = rtstruct.read(save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0)])], told), volume)
    assert (found.reader, found.date, found.reference_standard) == ("R7", "", "model")


def test_an_image_without_a_place_and_a_file_of_another_kind_are_refused(tmp_path, volume):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0)])])
    made_up.radiograph(tmp_path / "cr.dcm")
    with pytest.raises(AnnotationError, match="the image has no place"):
        rtstruct.read(path, read_volumes(tmp_path / "cr.dcm")[0])
    for read in (rtstruct.roi_names, lambda other: rtstruct.read(other, volume)):
        with pytest.raises(AnnotationError, match="no RT Structure Set"):
            read(tmp_path / "cr.dcm")
        (tmp_path / "text.dcm").write_text("no DICOM")
        with pytest.raises(AnnotationError, match="cannot be read"):
            read(tmp_path / "text.dcm")


@pytest.mark.parametrize("implicit", [False, True])
def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path, volume, implicit):
    path = save(tmp_path / "rt.dcm", volume, [("A", [contour(volume, 0)]), ("B", [contour(volume, 1)])])
    if implicit:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(250):
        damaged = bytearray(whole)
        for place in rng.integers(132, len(whole), rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(200, len(whole))] if rng.random() < 0.2 else damaged)
        try:
            rtstruct.read(path, volume, wishes=LAX)
        except AnnotationError:
            refused += 1
    assert 25 < refused < 250
