"""Segmentations of every kind as regions: equal to what was drawn, wherever its frames lie, or refused by name."""

import datetime
import warnings
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.sr.codedict import codes

from radkit import config
from radkit.dicom import pixels, read_volumes
from radkit.dicom.annotations import AnnotationError, as_mask, seg
from tests import made_up

QUICK = settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
REPORT = config.Annotations(other_instances="report", other_frame_of_reference="report")
SHAPE = (5, 6, 7)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return image(tmp_path_factory.mktemp("seg"))


def image(folder, spacing="refuse", **more):
    more = {"place": made_up.affine(angles=(10, 20, 30)), "slices": SHAPE[0], "size": SHAPE[1:], **more}
    made_up.ct_series(folder, **more)
    return read_volumes(folder.glob("*.dcm"), spacing=spacing)[0]


def written(path, volume, drawn, kind="BINARY", labels=("A", "B", "C"), algorithm="MANUAL", **more):
    """Writes a segmentation as highdicom makes it, of an array or of a volume of highdicom's with its own place."""
    last = drawn.shape[-1] if len(drawn.shape) == 4 else int(getattr(drawn, "array", drawn).max())
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            labels[number - 1],
            codes.SCT.AnatomicalStructure,
            codes.SCT.Organ,
            algorithm,
            None
            if algorithm == "MANUAL"
            else highdicom.AlgorithmIdentificationSequence("a", codes.DCM.ArtificialIntelligence, "1"),
        )
        for number in range(1, max(last, 1) + 1)
    ]
    sources = [pydicom.dcmread(p) for p in volume.paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = highdicom.seg.Segmentation(
            sources, drawn, kind, segments, "1.2.3.1", 1, "1.2.3.2", 1, "m", "m", "1", "0", **more
        )
    made.save_as(path)
    return path


def placed(drawn, volume, change):
    """Returns an array on the image's grid changed by a map from its (slice, row, column, 1) to the image's."""
    swap = np.eye(4)[[2, 1, 0, 3]]
    return highdicom.Volume(
        drawn, volume.affine @ swap @ change, "PATIENT", frame_of_reference_uid=volume.meta["FrameOfReferenceUID"]
    )


def sparse(rng, shape, share=0.2):
    drawn = (rng.random(shape) < share).astype(np.uint8)
    drawn[rng.integers(0, shape[0])] = 0
    drawn[-1, 1, 2] = 1
    return drawn


def on_image(annotation, number):
    return np.any([r.on(SHAPE) for r in annotation.regions if r.number == number], axis=0)


@QUICK
@given(
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from((uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)),
    st.sampled_from((None, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless)),
)
def test_overlapping_binary_segments_are_what_was_drawn(tmp_path, volume, seed, omit, syntax, after):
    drawn = np.stack([sparse(np.random.default_rng(seed + n), SHAPE) for n in range(3)], axis=-1)
    path = written(tmp_path / "a.dcm", volume, drawn, omit_empty_frames=omit, transfer_syntax_uid=syntax)
    if after is not None and syntax == uid.ExplicitVRLittleEndian and after != uid.RLELossless:
        made_up.save(pydicom.dcmread(path), path, after)
    found = seg.read(path, volume)
    assert found.labels == ("A", "B", "C")
    for number in (1, 2, 3):
        np.testing.assert_array_equal(on_image(found, number), drawn[..., number - 1])
    assert not found.findings
    if (drawn.sum(axis=-1) > 1).any():
        with pytest.raises(AnnotationError, match="overlap") as caught:
            as_mask(found.regions, ("A", "B", "C"), SHAPE)
        assert caught.value.finding == "overlapping_segments"


@QUICK
@given(
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from((uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless)),
    st.sampled_from(("MONOCHROME2", "PALETTE")),
)
def test_label_maps_are_what_was_drawn(tmp_path, volume, seed, omit, syntax, look):
    drawn = np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    drawn[1], drawn[-1, 0, 0] = 0, 3
    more = {"palette_color_lut_transformation": palette()} if look == "PALETTE" else {}
    path = written(
        tmp_path / "a.dcm", volume, drawn, "LABELMAP", omit_empty_frames=omit, transfer_syntax_uid=syntax, **more
    )
    found = seg.read(path, volume)
    assert [r.number for r in found.regions] == [1, 2, 3]
    for number in (1, 2, 3):
        np.testing.assert_array_equal(on_image(found, number), drawn == number)
    np.testing.assert_array_equal(seg.read_seg(path, volume, ["C", "A"]), np.array([0, 2, 0, 1])[drawn])
    assert seg.segment_labels(path) == ["A", "B", "C"]


def palette():
    return highdicom.PaletteColorLUTTransformation.from_combined_lut(np.arange(12, dtype=np.uint8).reshape(4, 3) * 20)


@QUICK
@given(st.integers(0, 999), st.sampled_from((0.0, 0.3, 0.5, 1.0)), st.sampled_from(("PROBABILITY", "OCCUPANCY")))
def test_fractions_are_inside_from_the_configs_share_on(tmp_path, volume, seed, share, fractional):
    values = np.random.default_rng(seed).integers(0, 11, SHAPE) / 10
    values[2], values[0, 0, 0] = 0, 1
    path = written(
        tmp_path / "a.dcm", volume, values[..., None], "FRACTIONAL", ("A",),
        fractional_type=fractional, max_fractional_value=10,
    )  # fmt: skip
    found = seg.read(path, volume, None, config.Annotations(fraction=share))
    np.testing.assert_array_equal(on_image(found, 1), (values >= share - 1e-9) & (values > 0))


def change_of(order, signs, shape=SHAPE):
    """Returns the map from indices of an array whose axes were exchanged and turned to those of the first one."""
    change = np.eye(4)
    change[:3, :3] = 0
    for new, (old, sign) in enumerate(zip(order, signs)):
        change[old, new] = sign
        change[old, 3] = shape[old] - 1 if sign < 0 else 0
    return change


@QUICK
@given(st.permutations(range(3)), st.lists(st.sampled_from((1, -1)), min_size=3, max_size=3))
def test_frames_in_another_direction_are_the_same_voxels(tmp_path, volume, order, signs):
    drawn = sparse(np.random.default_rng(1), SHAPE)
    turned = np.transpose(drawn, order)[tuple(slice(None, None, s) for s in signs)]
    found = seg.read(written(tmp_path / "a.dcm", volume, placed(turned, volume, change_of(order, signs))), volume)
    np.testing.assert_array_equal(on_image(found, 1), drawn)
    assert not found.findings


@pytest.mark.parametrize("tilt", [0.0, 15.0])
def test_frames_in_any_order_lie_where_they_say(tmp_path, tilt):
    volume = image(tmp_path / "ct", place=made_up.affine(tilt=tilt))
    drawn = np.random.default_rng(1).integers(0, 4, SHAPE).astype(np.uint8)
    path = written(tmp_path / "a.dcm", volume, drawn, "LABELMAP")

    def mix(dataset):
        frames = np.frombuffer(dataset.PixelData[: drawn.size], np.uint8).reshape(SHAPE)
        order = [3, 1, 4, 0, 2]
        dataset.PixelData = frames[order].tobytes() + b"\0" * (drawn.size % 2)
        groups = list(dataset.PerFrameFunctionalGroupsSequence)
        dataset.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]

    made_up.change(path, mix)
    np.testing.assert_array_equal(seg.read_seg(path, volume, "ABC"), drawn)


@pytest.mark.parametrize("begin", [(1, 2, 1), (-2, 0, 0), (3, 4, 5)])
def test_a_part_of_the_grid_and_what_reaches_beyond_are_copied(tmp_path, volume, begin):
    drawn = np.ones((3, 3, 4), np.uint8)
    drawn[1, 1, 1:] = 0
    change = np.eye(4)
    change[:3, 3] = begin
    path = written(tmp_path / "a.dcm", volume, placed(drawn, volume, change))
    found = seg.read(path, volume)
    expected = np.zeros(np.array(SHAPE) + 20, np.uint8)
    low = np.array(begin) + 10
    expected[tuple(slice(a, a + n) for a, n in zip(low, drawn.shape))] = drawn
    expected = expected[10:15, 10:16, 10:17]
    np.testing.assert_array_equal(on_image(found, 1), expected)
    lost = int(drawn.sum()) - int(expected.sum())
    assert [f.name for f in found.findings] == (["partly_outside"] if lost else [])
    if lost:
        assert f"{lost} of {drawn.sum()} voxels" in found.findings[0].text
        with pytest.raises(AnnotationError) as caught:
            seg.read(path, volume, None, config.Annotations(partly_outside="refuse"))
        assert caught.value.finding == "partly_outside"


def test_what_lies_wholly_outside_is_refused(tmp_path, volume):
    change = np.eye(4)
    change[:3, 3] = (0, 30, 0)
    path = written(tmp_path / "a.dcm", volume, placed(np.ones((2, 3, 4), np.uint8), volume, change))
    with pytest.raises(AnnotationError, match="no voxel of the mask lies in the image") as caught:
        seg.read(path, volume)
    assert caught.value.finding == "outside_image"


@pytest.mark.parametrize("factors", [(0.5, 1, 1), (1, 0.5, 2), (1.5, 1, 1), (0.7, 0.8, 0.9)])
@pytest.mark.parametrize("tilt", [0.0, 15.0])
def test_another_grid_is_resampled_as_simpleitk_does(tmp_path, factors, tilt):
    volume = image(tmp_path / "ct", place=made_up.affine(tilt=tilt, angles=(10, 20, 30)))
    upright = replace(volume, affine=made_up.affine(angles=(10, 20, 30)))
    drawn = np.zeros((6, 6, 6), np.uint8)
    drawn[1:5, 1:5, 0:4] = np.random.default_rng(0).integers(0, 2, (4, 4, 4))
    change = np.diag([*factors, 1.0])
    change[:3, 3] = (0.13, 0.21, 0.32)
    theirs = placed(drawn, upright, change)
    path = written(tmp_path / "a.dcm", volume, theirs)
    found = seg.read(path, volume)
    assert "other_grid" in [f.name for f in found.findings]
    np.testing.assert_array_equal(on_image(found, 1), nearest(drawn, theirs.affine, volume))
    with pytest.raises(AnnotationError, match="the image 5 x 6 x 7 voxels of") as caught:
        seg.read(path, volume, None, config.Annotations(other_grid="refuse"))
    assert caught.value.finding == "other_grid"


def nearest(drawn, affine, volume):
    """Asks SimpleITK, in millimetres, for the voxel of a mask nearest to each of the image's."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    mask = sitk.GetImageFromArray(drawn)
    mask.SetSpacing(steps[::-1].tolist())
    mask.SetDirection((affine[:3, :3] / steps)[:, ::-1].ravel().tolist())
    mask.SetOrigin(affine[:3, 3].tolist())
    out = np.zeros(volume.stored.shape, bool)
    for k, j, i in np.ndindex(*volume.stored.shape):
        index = mask.TransformPhysicalPointToIndex((volume.affine @ [i, j, k, 1])[:3].tolist())
        if all(0 <= n < size for n, size in zip(index, mask.GetSize())):
            out[k, j, i] = bool(mask[index])
    return out


def test_frames_between_slices_without_a_regular_step_are_refused(tmp_path, volume):
    path = written(tmp_path / "a.dcm", volume, np.ones(SHAPE, np.uint8))

    def shift(dataset):
        shared = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            if keyword in shared:
                del shared[keyword]
        for along, group in zip((0, 1.1, 1.9, 3.3, 4.45), dataset.PerFrameFunctionalGroupsSequence):
            place = (volume.affine @ [0, 0, along, 1])[:3]
            group.PlanePositionSequence[0].ImagePositionPatient = [f"{v:.8g}" for v in place]

    made_up.change(path, shift)
    with pytest.raises(AnnotationError, match="make no grid of their own") as caught:
        seg.read(path, volume)
    assert caught.value.finding == "other_grid"


def test_frames_of_uneven_slices_lie_on_these_slices(tmp_path):
    missing = {2: None, 3: None, 5: None}
    volume = image(tmp_path / "ct", spacing="keep", slices=8, faults=missing)
    drawn = sparse(np.random.default_rng(2), SHAPE)
    path = written(tmp_path / "a.dcm", volume, drawn)
    np.testing.assert_array_equal(on_image(seg.read(path, volume), 1), drawn)
    with pytest.raises(AnnotationError, match="unevenly spaced"):
        seg.read(path, replace(volume, paths=()))
    even = read_volumes((tmp_path / "ct").glob("*.dcm"), spacing="resample")[0]
    found = seg.read(path, even)
    np.testing.assert_array_equal(
        np.any([r.on(even.stored.shape) for r in found.regions], axis=0)[[0, 1, 4, 6, 7]], drawn
    )


def test_only_segments_that_were_asked_for_are_decoded(tmp_path, volume, monkeypatch):
    drawn = np.stack([sparse(np.random.default_rng(n), SHAPE) for n in range(3)], axis=-1)
    path = written(tmp_path / "a.dcm", volume, drawn, omit_empty_frames=False)
    decoded, real = [], pixels.stored_frames
    monkeypatch.setattr(pixels, "stored_frames", lambda d, numbers: real(d, decoded.extend(numbers) or numbers))
    found = seg.read(path, volume, ["B"])
    assert found.labels == ("B",)
    assert len(decoded) == SHAPE[0]
    with pytest.raises(AnnotationError, match="none of the segments Spleen"):
        seg.read(path, volume, ["Spleen"])


def test_segments_of_one_label_stay_apart_and_become_one_mask(tmp_path, volume):
    drawn = np.stack([sparse(np.random.default_rng(n), SHAPE) for n in range(2)], axis=-1)
    found = seg.read(written(tmp_path / "a.dcm", volume, drawn, labels=("A", "A")), volume)
    assert [(r.label, r.number) for r in found.regions] == [("A", 1), ("A", 2)]
    np.testing.assert_array_equal(as_mask(found.regions, ["A"], SHAPE), drawn.any(axis=-1))


def test_an_empty_segment_is_told_or_refused(tmp_path, volume):
    drawn = np.stack([sparse(np.random.default_rng(0), SHAPE), np.zeros(SHAPE, np.uint8)], axis=-1)
    path = written(tmp_path / "a.dcm", volume, drawn)
    found = seg.read(path, volume)
    assert [(f.name, f.text) for f in found.findings] == [("empty_segment", "segment 2 of 2 has no voxel")]
    assert found.regions[1].inside.size == 0
    assert seg.read(path, volume, ["B"]).labels == ("B",)
    with pytest.raises(AnnotationError) as caught:
        seg.read(path, volume, None, config.Annotations(empty="refuse"))
    assert caught.value.finding == "empty_segment"


def test_who_made_it_when_and_how_is_told(tmp_path, volume):
    drawn = sparse(np.random.default_rng(0), SHAPE)
    path = written(tmp_path / "a.dcm", volume, drawn, algorithm="AUTOMATIC", content_creator_name="Reader^Two")
    found = seg.read(path, volume)
    assert (found.reader, found.reference_standard) == ("Reader^Two", "model")
    assert abs(datetime.date.fromisoformat(found.date) - datetime.date.today()).days < 2
    written(path, volume, drawn)

    def older(dataset):
        dataset.ContentDate = ""
        dataset.SeriesDate = "20200203"

    made_up.change(path, older)
    found = seg.read(path, volume)
    assert (found.reader, found.date, found.reference_standard) == ("", "2020-02-03", "")


def test_a_segmentation_of_other_images_is_refused_or_told(tmp_path, volume):
    other = image(tmp_path / "b", series=2)
    path = written(tmp_path / "a.dcm", other, sparse(np.random.default_rng(0), SHAPE))
    with pytest.raises(AnnotationError, match="none of which is the series'") as caught:
        seg.read(path, volume)
    assert caught.value.finding == "other_instances"
    assert [f.name for f in seg.read(path, volume, None, REPORT).findings] == ["other_instances"]
    made_up.change(path, lambda d: setattr(d, "FrameOfReferenceUID", "1.2.3"))
    with pytest.raises(AnnotationError) as caught:
        seg.read(path, volume)
    assert caught.value.finding == "other_frame_of_reference"
    assert len(seg.read(path, volume, None, REPORT).findings) == 2


def test_a_segmentation_that_names_a_part_of_the_series_is_taken(tmp_path, volume):
    drawn = sparse(np.random.default_rng(0), SHAPE)
    path = written(tmp_path / "a.dcm", volume, drawn)
    some = replace(volume, instance_uids=(*volume.instance_uids[:2], "1.2.3", "1.2.4", "1.2.5"))
    assert not seg.read(path, some).findings


def test_a_segment_of_sixteen_bits_and_a_padding_that_is_not_zero(tmp_path, volume):
    drawn = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    path = written(tmp_path / "a.dcm", volume, drawn, "LABELMAP")

    def wide(dataset):
        values = np.array([7, 300, 2], np.uint16)[np.frombuffer(dataset.PixelData[: drawn.size], np.uint8)]
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelData = values.tobytes()
        dataset.PixelPaddingValue = 7
        dataset.SegmentSequence = [s for s in dataset.SegmentSequence if s.SegmentNumber]
        dataset.SegmentSequence[0].SegmentNumber = 300

    made_up.change(path, wide)
    found = seg.read(path, volume)
    np.testing.assert_array_equal(on_image(found, 300), drawn == 1)
    np.testing.assert_array_equal(on_image(found, 2), drawn == 2)
    made_up.change(path, lambda d: delattr(d, "PixelPaddingValue"))
    with pytest.raises(AnnotationError, match="pixels are of segment 7, which"):
        seg.read(path, volume)


def undescribed(dataset):
    dataset.SegmentSequence.pop()


def twice(dataset):
    dataset.SegmentSequence[1].SegmentNumber = 1


def slide(dataset):
    dataset.TotalPixelMatrixColumns = 1000


def another(dataset):
    dataset.SegmentationType = "MANIFOLD"


def far(dataset):
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = ["1e9", "0", "0"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (undescribed, "segment 2, which SegmentSequence does not describe"),
        (twice, "two segments have the same SegmentNumber"),
        (slide, "of a slide, in tiles"),
        (another, "SegmentationType is another"),
        (far, "more than 1 km"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, volume, change, said):
    drawn = np.stack([sparse(np.random.default_rng(n), SHAPE) for n in range(2)], axis=-1)
    path = written(tmp_path / "a.dcm", volume, drawn)
    made_up.change(path, change)
    with pytest.raises(AnnotationError, match=said):
        seg.read(path, volume)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_a_damaged_file_is_read_or_refused(tmp_path, volume, kind):
    drawn = sparse(np.random.default_rng(0), SHAPE)
    content = written(
        tmp_path / "a.dcm", volume, drawn[..., None] if kind == "FRACTIONAL" else drawn, kind
    ).read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(content[: rng.integers(200, len(content))] if rng.random() < 0.3 else content)
        for place in rng.integers(132, len(damaged), rng.integers(0, 6)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "b.dcm").write_bytes(damaged)
        try:
            found = seg.read(tmp_path / "b.dcm", volume)
        except AnnotationError:
            continue
        assert all(r.on(SHAPE).shape == SHAPE for r in found.regions)
