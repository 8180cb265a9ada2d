"""Faces: a made-up head, CT and MR, in many planes and spacings; the face's skin goes, the brain stays."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.deid import faces
from radkit.dicom import read_volumes
from radkit.errors import UserError
from tests import made_up

AIR = {"CT": -1000.0, "MR": 0.0}
# Values of skin and muscle, fat, bone, brain, eye.
_CT = (40.0, -90.0, 900.0, 35.0, 10.0)
_MR = (420.0, 900.0, 40.0, 500.0, 300.0)


@dataclasses.dataclass(frozen=True)
class Head:
    """A made-up head: its values, what is brain, and what is skin of the face, (slices, rows, columns)."""

    array: np.ndarray
    affine: np.ndarray
    brain: np.ndarray
    face: np.ndarray


def _ball(p: np.ndarray, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """Returns how far points, (3, ...) LPS mm, lie outside an ellipsoid, mm, roughly."""
    away = np.sqrt(sum(((c - m) / r) ** 2 for c, m, r in zip(p, centre, radii)))
    return (away - 1) * min(radii)


def _head(affine: np.ndarray, shape: tuple[int, int, int], modality: str = "MR") -> Head:
    """Returns the head sampled on a grid; sizes as of an adult, the origin between the ears' height and the eyes."""
    k, j, i = np.ogrid[tuple(slice(size) for size in shape)]
    p = np.stack([np.broadcast_to(a * i + b * j + c * k + d, shape) for a, b, c, d in affine[:3]])
    # The floor of the skull rises towards the front.
    brain_by = np.maximum(_ball(p, (0, 17, 8), (64, 88, 68)), (-51 - 0.5 * p[1] - p[2]) / 1.12)
    cranium, jaw = _ball(p, (0, 17, 8), (80, 104, 86)), _ball(p, (0, -22, -55), (62, 68, 72))
    nose, neck = _ball(p, (0, -92, -48), (14, 24, 22)), np.maximum(np.hypot(p[0], p[1] - 30) - 52, p[2] + 20)
    ears = np.minimum(*(_ball(p, (side * 82, 12, -35), (12, 14, 30)) for side in (-1, 1)))
    eyes = np.minimum(*(_ball(p, (side * 32, -70, -38), (12, 12, 12)) for side in (-1, 1)))
    body = np.min([cranium, jaw, nose, neck, ears], axis=0)
    skin, fat, bone, tissue, eye = _CT if modality == "CT" else _MR
    array = np.full(shape, AIR[modality])
    for value, where in (
        (fat, body < 0), (skin, body < -4), (bone, (brain_by < 9) & (body < -4)),
        (eye, eyes < 0), (tissue, brain_by < 0),
    ):  # fmt: skip
        array[where] = value
    shows = (p[1] < -60) & (p[2] < -25) & (p[2] > -105) & (np.abs(p[0]) < 40)
    return Head(array, affine, brain_by < 0, (body < 0) & (body > -5) & shows & (np.minimum(jaw, nose) > -5))


def _axial(spacing: tuple[float, float, float] = (3.0, 2.0, 2.0), low: float = -130.0, high: float = 110.0) -> tuple:
    """Returns affine and shape of a stack along the body, slice, row, column spacing in mm."""
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = -110, -140, low
    return affine, (int((high - low) / spacing[0]), int(280 / spacing[1]), int(220 / spacing[2]))


def _turned(affine: np.ndarray, shape: tuple, order: tuple[int, int, int], mirrored: tuple) -> tuple:
    """Returns affine and shape of the same box with its axes in another order and direction."""
    columns = affine[:3, :3][:, list(order)].copy()
    sizes = [shape[::-1][axis] for axis in order]
    origin = affine[:3, 3].copy()
    for axis, back in enumerate(mirrored):
        if back:
            origin += columns[:, axis] * (sizes[axis] - 1)
            columns[:, axis] *= -1
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = columns, origin
    return turned, tuple(sizes[::-1])


def _check(head: Head, modality: str = "MR", least: float = 0.98) -> np.ndarray:
    cleaned, mask = faces.deface(head.array, head.affine, modality, AIR[modality])
    assert not (mask & head.brain).any()
    assert mask[head.face].mean() >= least
    assert (cleaned[mask] == AIR[modality]).all()
    assert np.array_equal(cleaned[~mask], head.array[~mask])
    return mask


@pytest.mark.parametrize(
    ("modality", "spacing"),
    [
        ("CT", (3, 2, 2)),
        ("MR", (6.5, 1.5, 1.5)),
        *[pytest.param(m, s, marks=pytest.mark.slow) for m in ("CT", "MR") for s in ((1.5, 1.5, 1.5), (2, 4, 4))],
    ],
)
def test_face_goes_and_brain_stays_at_many_spacings(modality: str, spacing: tuple[float, float, float]) -> None:
    _check(_head(*_axial(spacing), modality), modality)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("angles", [(20, 0, 0), (-20, 0, 0), (0, 15, 0), (0, 0, 20)])
def test_face_goes_when_slices_are_oblique(modality: str, angles: tuple[float, float, float]) -> None:
    affine = made_up.affine((3, 2, 2), angles=angles)
    shape = (90, 145, 120)
    affine[:3, 3] = np.array([0, -10, -10]) - affine[:3, :3] @ (np.array(shape[::-1]) / 2)
    _check(_head(affine, shape, modality), modality)


@pytest.mark.slow
@pytest.mark.parametrize(("modality", "pitch"), [("CT", 20), ("MR", -20)])
def test_face_goes_when_the_chin_is_up_or_down(modality: str, pitch: float) -> None:
    head = _head(*_axial(), modality)
    turn = np.eye(4)
    turn[:3, :3] = made_up.affine((1, 1, 1), angles=(pitch, 0, 0))[:3, :3]
    _check(dataclasses.replace(head, affine=turn @ head.affine), modality)


@pytest.mark.slow
def test_sagittal_slices_in_the_other_order_give_the_same_voxels() -> None:
    _check_turned((1, 2, 0), (True, False, True), "MR")


@pytest.mark.slow
@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3), st.sampled_from(["CT", "MR"]))
@settings(max_examples=8)
def test_mask_follows_flips_and_orders_of_axes(order: list[int], mirrored: tuple, modality: str) -> None:
    _check_turned(tuple(order), mirrored, modality)


def _check_turned(order: tuple, mirrored: tuple, modality: str) -> None:
    affine, shape = _axial((4, 3, 3))
    plain = _head(affine, shape, modality)
    turned = _head(*_turned(affine, shape, order, mirrored), modality)
    mask, other = (faces.face_mask(h.array, h.affine, modality) for h in (plain, turned))
    back = np.flip(other.transpose(2, 1, 0), [axis for axis in range(3) if mirrored[axis]])
    assert (back.transpose(np.argsort(order)).transpose(2, 1, 0) != mask).mean() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("modality", "spacing"), [("CT", (3, 2, 2)), ("MR", (6, 2, 2))])
def test_what_was_defaced_once_is_left_as_it_is(modality: str, spacing: tuple[float, float, float]) -> None:
    head = _head(*_axial(spacing), modality)
    once, _ = faces.deface(head.array, head.affine, modality, AIR[modality])
    again, mask = faces.deface(once, head.affine, modality, AIR[modality])
    assert not mask.any()
    assert np.array_equal(again, once)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_ears_go(modality: str) -> None:
    head = _head(*_axial((3, 2, 2)), modality)
    mask = _check(head, modality)
    x = head.affine[0, 0] * np.arange(head.array.shape[2]) + head.affine[0, 3]
    outer = (head.array > AIR[modality]) & (np.abs(x) > 88)
    assert outer.any()
    assert mask[outer].mean() > 0.95


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_top_of_a_head_without_face_keeps_its_brain(modality: str) -> None:
    head = _head(*_axial((3, 2, 2), low=20), modality)
    mask = faces.face_mask(head.array, head.affine, modality)
    assert not (mask & head.brain).any()


def test_noise_and_uneven_coils_do_not_matter() -> None:
    head = _head(*_axial())
    random = np.random.default_rng(0)
    uneven = np.linspace(0.7, 1.3, head.array.shape[1])[None, :, None]
    noisy = np.hypot(
        head.array * uneven + random.normal(0, 20, head.array.shape), random.normal(0, 20, head.array.shape)
    )
    mask = faces.face_mask(noisy, head.affine, "MR")
    assert not (mask & head.brain).any()
    assert mask[head.face].mean() > 0.98


def test_a_brain_without_skull_has_no_face() -> None:
    head = _head(*_axial())
    stripped = np.where(head.brain, head.array, 0)
    assert not faces.face_mask(stripped, head.affine, "MR").any()


def test_a_table_under_the_head_does_not_matter() -> None:
    head = _head(*_axial(), "CT")
    table = head.array.copy()
    table[:, 134:137] = 100
    mask = faces.face_mask(table, head.affine, "CT")
    assert mask[head.face].mean() > 0.98
    assert not (mask & head.brain).any()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((40, 50, 50), -1000.0), "no head was found"),
        (np.random.default_rng(0).normal(0, 10, (40, 50, 50)), "no air beside it"),
        (np.pad(np.full((2, 40, 40), 40.0), ((0, 0), (5, 5), (5, 5)), constant_values=-1000.0), "slab of"),
        (np.pad(np.full((60, 90, 90), 40.0), 5, constant_values=-1000.0), "larger than any|no brain"),
    ],
)
def test_what_is_no_head_is_refused(array: np.ndarray, said: str) -> None:
    with pytest.raises(faces.FaceError, match=said):
        faces.face_mask(array, np.diag([4.0, 4.0, 4.0, 1.0]), "CT")


def test_other_modalities_are_refused_as_a_persons_mistake() -> None:
    with pytest.raises(UserError, match="CT and MR"):
        faces.face_mask(np.zeros((2, 2, 2)), np.eye(4), "PT")


@pytest.mark.parametrize(
    ("modality", "part", "description", "expected"),
    [
        ("MR", "BRAIN", "", True), ("CT", "HEAD", "", True), ("CT", "Head/Neck", "", True), ("CT", "SKULL", "", True),
        ("MR", "", "FH-HEAD^Brain Protocols", True), ("MR", "", "t1_brain_sag", True), ("CT", "CHEST", "", False),
        ("CT", "ABDOMEN", "overhead", False), ("MR", "KNEE", "surface coil", False), ("CR", "SKULL", "", False),
        ("", "HEAD", "", False), ("CT", "WHOLEBODY", "", True),
    ],
)  # fmt: skip
def test_is_head_by_header(modality: str, part: str, description: str, expected: bool) -> None:
    said = {"Modality": modality, "BodyPartExamined": part, "SeriesDescription": description}
    assert faces.is_head(said) is expected


def test_masks_are_told_by_instance_whatever_the_files_are_called(tmp_path: Path) -> None:
    head = _head(*_axial((6, 4, 4)), "CT")
    made_up.ct_series(tmp_path, stored=(head.array + 1024).astype(np.int16), place=head.affine)
    volume = read_volumes(sorted(tmp_path.iterdir()))[0]
    masks = faces.masks_for(volume)
    assert set(masks) == set(volume.instance_uids)
    assert np.array_equal(
        np.stack([masks[uid] for uid in volume.instance_uids]), faces.face_mask(head.array, head.affine, "CT")
    )
