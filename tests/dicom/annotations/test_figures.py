"""Figures of reports: the box around them on the slice, frame or place in space where they were drawn."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radkit import config
from radkit.dicom import read_volumes
from radkit.dicom.annotations import form, sr
from radkit.dicom.annotations.form import AnnotationError
from tests import made_up
from tests.dicom.annotations import made_up_sr as make
from tests.dicom.annotations.made_up_enhanced import enhanced

SIZE = (40, 50)
FRAME = made_up.header()["FrameOfReferenceUID"]
QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    made_up.ct_series(folder, size=SIZE, place=made_up.affine(angles=(10, -20, 30), tilt=8))
    return read_volumes(folder)[0]


def read(tmp_path, volume, *groups, wishes=form.WISHES, **more):
    return sr.read(make.save(make.report(*groups, **more), tmp_path / "sr.dcm"), volume, None, wishes)


def box_of(tmp_path, volume, *figures):
    (box,) = read(tmp_path, volume, make.nodule(*figures)).boxes
    return np.array([box.low, box.high])


INSIDE = st.tuples(st.floats(12, 38, width=32), st.floats(12, 28, width=32))


def drawn(kind, centre, reach, angle):
    """Returns the points of a figure around a centre, and many points of its outline, (n, 2) column, row."""
    turns = np.linspace(0, 2 * np.pi, 20001)[:, None]
    u = np.array([np.cos(angle), np.sin(angle)])
    v = np.array([-u[1], u[0]]) * 0.4
    if kind == "CIRCLE":
        return [centre, centre + reach * u], centre + reach * np.hstack([np.cos(turns), np.sin(turns)])
    if kind == "ELLIPSE":
        ends = [centre + reach * u, centre - reach * u, centre + reach * v, centre - reach * v]
        return ends, centre + reach * (np.cos(turns) * u + np.sin(turns) * v)
    corners = np.array([centre + reach * u, centre - reach * u, centre + reach * v])
    return list(corners), corners


@QUICK
@given(st.sampled_from(["CIRCLE", "ELLIPSE", "POLYLINE", "MULTIPOINT"]), INSIDE, st.floats(1, 11), st.floats(0, 7))
def test_a_box_holds_its_figure_and_no_more(tmp_path, volume, kind, centre, reach, angle):
    points, outline = drawn(kind, np.array(centre), reach, angle)
    figure = make.figure(kind, np.concatenate(points), make.image(volume.instance_uids[2]))
    low, high = box_of(tmp_path, volume, figure)
    np.testing.assert_allclose([low[1:], high[1:]], [outline.min(0)[::-1], outline.max(0)[::-1]], atol=1e-3)
    assert (low[0], high[0]) == (2, 3)


@QUICK
@given(st.sampled_from(["ELLIPSE", "ELLIPSOID", "POLYGON", "POINT"]), st.integers(0, 99))
def test_a_box_holds_its_figure_in_space(tmp_path, volume, kind, seed):
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] * np.array([[2.0], [1.5], [1.0]])
    centre = form.to_mm([2.5, 20.3, 25.4], volume)
    number = {"ELLIPSE": 2, "ELLIPSOID": 3, "POLYGON": 2, "POINT": 0}[kind]
    points = [centre + sign * axis for axis in axes[:number] for sign in (1, -1)] or [centre]
    around = rng.normal(size=(40000, number or 1))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    outline = centre + around @ axes[:number] if kind.startswith("ELL") else np.array(points)
    low, high = box_of(tmp_path, volume, make.figure_3d(kind, np.concatenate(points), FRAME))
    there = form.from_mm(outline, volume)
    if kind == "POINT":
        assert (low.tolist(), high.tolist()) == ([2, 20, 25], [3, 21, 26])
    else:
        np.testing.assert_allclose([low, high], [there.min(0), there.max(0)], atol=0.02)


def test_the_upper_left_corner_is_0_and_the_lower_right_is_columns_and_rows(tmp_path, volume):
    rows, columns = SIZE
    corners = (0, 0, columns, 0, columns, rows, 0, rows, 0, 0)
    figure = make.figure("POLYLINE", corners, make.image(volume.instance_uids[0]))
    np.testing.assert_array_equal(box_of(tmp_path, volume, figure), [[0, 0, 0], [1, *SIZE]])


def test_the_figures_of_a_lesion_make_one_box(tmp_path, volume):
    figures = [make.figure("CIRCLE", (20, 20, 20, 25), make.image(volume.instance_uids[k])) for k in (1, 3)]
    figures.append(make.figure("POINT", (30.5, 2.5), make.image(volume.instance_uids[2])))
    np.testing.assert_array_equal(box_of(tmp_path, volume, *figures), [[1, 2, 15], [4, 25, 31]])


@pytest.mark.parametrize(
    ("points", "low", "high"),
    [((4, 5, 9, 5), (5, 4), (6, 9)), ((4.5, 5, 4.5, 8), (5, 4), (8, 5))],
    ids=["along a row", "along a column"],
)
def test_a_line_is_one_voxel_wide(tmp_path, volume, points, low, high):
    found = box_of(tmp_path, volume, make.figure("POLYLINE", points, make.image(volume.instance_uids[0])))
    assert found[:, 1:].tolist() == [list(low), list(high)]


def of_frames(volume, numbers):
    """Returns the volume as though its slices were frames of one file."""
    uid = volume.instance_uids[0]
    return dataclasses.replace(volume, instance_uids=(uid,) * len(numbers), frame_numbers=tuple(numbers))


def test_frames_of_a_file_are_found_by_their_number(tmp_path, volume):
    multi = of_frames(volume, [4, 3, 2, 1, 0])
    figure = make.figure("CIRCLE", (20, 20, 20, 25), make.image(multi.instance_uids[0], [2, 3]))
    assert box_of(tmp_path, multi, figure)[:, 0].tolist() == [2, 4]  # frames 2 and 3 are numbers 1 and 2 from 0
    every = make.figure("CIRCLE", (20, 20, 20, 25), make.image(multi.instance_uids[0]))
    assert box_of(tmp_path, multi, every)[:, 0].tolist() == [0, 5]


def test_frames_of_an_enhanced_file_are_found(tmp_path):
    volume = enhanced(tmp_path)
    for k in (0, 3):
        image = make.image(volume.instance_uids[0], [volume.frame_numbers[k] + 1])
        figure = make.figure("CIRCLE", (3, 3, 3, 4), image)
        np.testing.assert_array_equal(box_of(tmp_path, volume, figure), [[k, 2, 2], [k + 1, 4, 4]])


def test_a_figure_on_a_mosaic_is_of_no_slice(tmp_path, volume):
    mosaic = of_frames(volume, [0] * 5)
    figure = make.figure("CIRCLE", (20, 20, 20, 25), make.image(mosaic.instance_uids[0]))
    found = read(tmp_path, mosaic, make.nodule(figure))
    assert found.boxes == ()
    assert [one.name for one in found.findings] == ["figure_without_slice"]


def test_a_figure_that_names_no_image_is_of_the_one_that_its_group_names(tmp_path, volume):
    figure = make.figure("CIRCLE", (20, 20, 20, 25))
    image = make.image(volume.instance_uids[3])
    assert box_of(tmp_path, volume, figure, image)[0, 0] == 3
    empty = make.item("IMAGE", make.code("121324"))
    found = read(tmp_path, volume, make.nodule(figure, empty))
    assert [one.name for one in found.findings] == ["figure_without_slice"]


def test_a_figure_in_space_has_no_place_on_a_radiograph(tmp_path):
    made_up.radiograph(tmp_path / "cr" / "a.dcm")
    (volume,) = read_volumes(tmp_path / "cr")
    found = read(tmp_path, volume, make.nodule(make.figure_3d("POINT", (1, 2, 3), FRAME)))
    assert (found.boxes, [one.name for one in found.findings]) == ((), ["figure_without_slice"])
    flat = make.figure("POLYLINE", (1, 2, 4, 6), make.image(volume.instance_uids[0]))
    assert box_of(tmp_path, volume, flat).tolist() == [[0, 2, 1], [1, 6, 4]]


def test_items_by_reference_are_followed(tmp_path, volume):
    figure = make.figure("CIRCLE", (20, 20, 20, 25))
    reference = Dataset()
    reference.RelationshipType = "SELECTED FROM"
    reference.ReferencedContentItemIdentifier = [1, 1, 2]
    figure.ContentSequence = [reference]
    library = make.item("CONTAINER", make.code("111028"), *(make.image(uid) for uid in volume.instance_uids))
    found = read(tmp_path, volume, make.nodule(figure), context=[library])
    assert found.boxes[0].low == (1, 15, 15)
    for wrong in ([], [1], [1, 9, 9], [1, 0], [2, 1], [1, 2]):
        reference.ReferencedContentItemIdentifier = wrong
        found = read(tmp_path, volume, make.nodule(figure), context=[library])
        assert [one.name for one in found.findings] == ["figure_without_slice"]


@pytest.mark.parametrize(("centre", "name"), [((48, 20), "partly_outside"), ((90, 20), "outside_image")])
def test_figures_beyond_the_image_are_cut_or_refused(tmp_path, volume, centre, name):
    x, y = centre
    group = make.nodule(make.figure("CIRCLE", (x, y, x, y + 5), make.image(volume.instance_uids[0])))
    with pytest.raises(AnnotationError) as caught:
        read(tmp_path, volume, group, wishes=config.Annotations(partly_outside="refuse"))
    assert caught.value.finding == name
    if name == "partly_outside":
        found = read(tmp_path, volume, group)
        assert (found.boxes[0].low, found.boxes[0].high) == ((0, 15, 43), (1, 25, 50))
        assert [one.name for one in found.findings] == [name]


BAD_FIGURES = {
    "none of POINT": make.figure("STAR", (1, 2)),
    "has 3 numbers; 2 a point": make.figure("POLYLINE", (1, 2, 3)),
    "has 2 numbers; 4 were": make.figure("CIRCLE", (1, 2)),
    "has 4 numbers; 8 were": make.figure("ELLIPSE", (1, 2, 3, 4)),
    "has 0 numbers": make.figure("POINT", ()),
    "not of finite": make.figure("POINT", (np.nan, 1)),
    "has 6 numbers; 18": make.figure_3d("ELLIPSOID", (1, 2, 3, 4, 5, 6), FRAME),
}


@pytest.mark.parametrize("said", BAD_FIGURES)
def test_a_figure_that_is_none_is_refused(tmp_path, volume, said):
    with pytest.raises(AnnotationError, match=said):
        read(tmp_path, volume, make.nodule(BAD_FIGURES[said]))
