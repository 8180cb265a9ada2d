"""Faults planted in made-up bodies are named; the bodies as they are, and their crops, are not."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radkit.dicom import checks, chest, neighbours
from radkit.dicom.volumes import META, Volume

SHAPE = (24, 72, 64)


def volume(stored, modality="CT", **more):
    count = len(stored)
    meta = {**dict.fromkeys(META, ""), "Modality": modality, **more.pop("meta", {})}
    return Volume(
        stored=stored,
        slope=np.ones(count, np.float32),
        intercept=np.zeros(count, np.float32),
        affine=np.diag([1.0, 1.0, 2.0, 1.0]),
        spacing_mm=(2.0, 1.0, 1.0),
        meta=meta,
        findings=(),
        paths=(),
        instance_uids=(),
        **more,
    )


def trunk(seed=0):
    """Returns HU of an oval body that leans, with lungs, spine and organs that change along it, and noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    values = np.full(SHAPE, -1000.0)
    body = ((x - 0.1 * z) / 0.85) ** 2 + (y / (0.65 + 0.1 * z)) ** 2 < 1
    values[body] = 40
    values[body & (((x - 0.1 * z) / 0.78) ** 2 + (y / (0.58 + 0.1 * z)) ** 2 > 1)] = -100
    for side in (-1, 1):
        values[((x - 0.4 * side) / 0.25) ** 2 + (y / (0.4 - 0.3 * z)) ** 2 < 0.8 - z] = -800
    values[(x / 0.12) ** 2 + ((y - 0.4) / 0.12) ** 2 < 1] = 400
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), (2, 3, 3))
    values[body] += 60 * texture[body] / texture.std()
    return np.round(ndimage.gaussian_filter(values, 0.7) + rng.normal(0, 8, SHAPE)).clip(-1024, 3071).astype(np.int16)


def magnet(seed=0):
    """Returns the same body as an MR may show it: dark air, no units."""
    hu = trunk(seed).astype(float)
    shown = np.select([hu < -500, hu < -30, hu < 200], [20, 900, 400], 120) + 0.5 * np.clip(hu, -30, 200)
    return np.abs(ndimage.gaussian_filter(shown, 0.7) + np.random.default_rng(seed).normal(0, 12, SHAPE)).astype(
        np.int16
    )


CT, MR = trunk(), magnet()


def names(found):
    return {finding.name for finding in checks.of_volume(found) if finding.severity != "note"}


@pytest.mark.parametrize("seed", range(4))
def test_sound_bodies_and_their_crops_raise_nothing(seed):
    ct, mr = trunk(seed), magnet(seed)
    crop = np.s_[4:20, 20:52, 16:48]
    for stored, modality in (
        (ct, "CT"),
        (ct[crop], "CT"),
        (mr, "MR"),
        (mr[crop], "MR"),
        (ct[:1], "CT"),
        (mr[:1], "MR"),
    ):
        assert names(volume(stored, modality)) == set()


def with_slice(stored, index, values):
    changed = stored.copy()
    changed[index] = values
    return changed


@pytest.mark.parametrize("stored", [CT, MR], ids=["CT", "MR"])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda a: np.full_like(a, 7), "constant_image"),
        (lambda a: with_slice(a, 9, 0), "constant_slices"),
        (lambda a: with_slice(a, 9, a[15]), "repeated_pixels"),
        (lambda a: np.minimum(a, np.percentile(a, 97).astype(a.dtype)), "clipped"),
        (lambda a: (int(a.max()) + int(a.min()) - a).astype(a.dtype), "inverted"),
        (lambda a: a[[*range(8), 9, 8, *range(10, 24)]], "shuffled_slices"),
        (lambda a: a[[*range(4), 18, *range(5, 18), 4, *range(19, 24)]], "shuffled_slices"),
        (lambda a: a[np.random.default_rng(1).permutation(24)], "shuffled_slices"),
        (lambda a: with_slice(a, 12, np.roll(a[12], 9, 0)), "shifted_slice"),
        (lambda a: with_slice(a, 12, np.roll(a[12], -7, 1)), "shifted_slice"),
    ],
)
def test_planted_faults_are_named(stored, change, name):
    assert name in names(volume(change(stored), "CT" if stored is CT else "MR"))


@pytest.mark.parametrize(
    ("stored", "modality", "name"),
    [
        (CT + 1024, "CT", "wrong_range"),  # no intercept
        (CT // 4 - 768, "CT", "wrong_range"),  # a slope that was lost
        (MR, "CT", "wrong_modality"),
        (CT, "MR", "wrong_modality"),
        (CT + 1024, "MR", "wrong_modality"),
        (np.clip(CT, -160, 240), "CT", "clipped"),  # a window that was burned in
        (MR - 450, "PT", "wrong_range"),
    ],
)
def test_values_that_the_modality_does_not_have(stored, modality, name):
    assert name in names(volume(stored.astype(np.int16), modality))


@pytest.mark.parametrize("stored", [CT, MR], ids=["CT", "MR"])
@pytest.mark.parametrize("which", [[12], [0], [23], [5, 17], list(range(16, 24))])
def test_slices_turned_round_among_others_are_named(stored, which):
    changed = stored.copy()
    changed[which] = stored.max() + stored.min() - stored[which]
    assert "inverted" in names(volume(changed, "CT" if stored is CT else "MR"))


def test_a_chest_s_radiograph_said_to_be_an_mr_is_named():
    small = np.concatenate([chest._WEIGHTS, chest._WEIGHTS[:, ::-1]], axis=1)
    shown = ndimage.zoom(small, 8, order=1) * 400 + 300
    radiograph = np.rint(shown + np.random.default_rng(0).normal(0, 3, shown.shape)).astype(np.int16)[None]
    assert names(volume(radiograph, "MR")) == {"wrong_modality"}
    assert names(volume(radiograph, "CR")) == set()


def test_a_slope_swapped_with_its_intercept_is_named():
    swapped = replace(volume(CT), slope=np.full(24, -1024, np.float32), intercept=np.ones(24, np.float32))
    assert "wrong_range" in names(swapped)


def test_values_that_are_no_numbers_are_named():
    assert "wrong_range" in names(volume(with_slice(MR.astype(np.float32), 3, np.nan), "MR"))


def test_empty_slices_at_the_ends_are_normal():
    padded = np.concatenate([np.zeros((3, *SHAPE[1:]), np.int16), MR, np.zeros((2, *SHAPE[1:]), np.int16)])
    assert names(volume(padded, "MR")) == set()


def test_interleaved_brightness_is_normal():
    striped = (MR * np.where(np.arange(24) % 2, 1.0, 0.8)[:, None, None]).astype(np.int16)
    assert names(volume(striped, "MR")) == set()


def test_noise_is_told_of_and_phase_is_not():
    noise = np.random.default_rng(0).integers(0, 4095, (6, 32, 32)).astype(np.int16)
    assert names(volume(noise, "MR")) == {"noisy"}
    assert names(volume(noise, "MR", meta={"ImageType": "ORIGINAL\\PRIMARY\\P\\ND"})) == set()


def test_a_mask_given_as_an_image_is_a_note():
    (finding,) = checks.of_volume(volume((CT > 0).astype(np.int16), "MR"))
    assert (finding.name, finding.severity) == ("drawn", "note")


def test_frames_without_a_place_have_no_order():
    film = replace(volume(MR[np.random.default_rng(1).permutation(24)], "MR"), findings=("no ImagePositionPatient: x",))
    assert names(film) == set()


def radiograph():
    """Returns a chest as the table of weights has it: dark lungs, a bright middle and belly."""
    y, x = np.meshgrid(np.linspace(0, 1, 120), np.linspace(-1, 1, 100), indexing="ij")
    shown = 2600 + 900 * y - 1500 * np.exp(-(((np.abs(x) - 0.45) / 0.22) ** 2) - ((y - 0.4) / 0.25) ** 2)
    shown[(np.abs(x) > 0.7) & (y < 0.2)] = 500
    return (shown + np.random.default_rng(0).normal(0, 30, shown.shape)).astype(np.uint16)[None]


def test_a_chest_turned_round_or_upside_down_is_named():
    sound = radiograph()
    known = {"meta": {"BodyPartExamined": "CHEST"}}
    assert names(volume(sound, "DX", **known)) == set()
    assert names(volume(4095 - sound, "DX", **known)) == {"inverted"}
    assert names(volume(sound[:, ::-1].copy(), "DX", **known)) == {"upside_down"}
    assert names(volume(4095 - sound, "DX", meta={"BodyPartExamined": "HAND"})) == set()


@given(st.integers(0, 2**31), st.integers(48, 90), st.integers(48, 90))
@settings(max_examples=20, deadline=None)
def test_a_chest_s_score_is_the_opposite_when_turned_round(seed, rows, columns):
    image = np.random.default_rng(seed).integers(0, 4095, (rows, columns))
    assert chest.score(4095 - image) == pytest.approx(-chest.score(image), abs=1e-4)
    assert -1 <= chest.score(image) <= 1


@given(st.permutations(range(8)))
@settings(max_examples=25, deadline=None)
def test_no_slice_is_misplaced_on_a_straight_line_and_one_is_in_most_orders(order):
    apart = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0)))
    assert neighbours.misplaced(apart)[1] == 0
    shuffled = apart[np.ix_(order, order)]
    # Brute force: the share of its own way that the best move of one slice saves.
    most, share = neighbours.misplaced(shuffled)
    assert 0 <= most < 8
    if share > 0:
        rest = [k for k in range(8) if k != most]
        shorter = min(way(shuffled, [*rest[:gap], most, *rest[gap:]]) for gap in range(8))
        assert shorter < way(shuffled, list(range(8)))


def way(apart, order):
    return sum(apart[a, b] for a, b in pairwise(order))


@pytest.mark.parametrize(("down", "right"), [(0, 0), (5, -3), (-8, 2)])
def test_shifts_are_those_of_brute_force(down, right):
    first = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(64, 64)), 1.5)
    moved = np.roll(first, (down, right), (0, 1))
    step, there, _ = neighbours.shifts(np.stack([first, moved]).astype(np.float32))
    assert step[0].tolist() == [down, right]
    assert there[0] > 0.7


def test_the_digest_is_of_values_not_of_types():
    again = replace(volume(CT.astype(np.int32) + 1024), intercept=np.full(24, -1024, np.float32))
    assert checks.digest(volume(CT)) == checks.digest(again)
    assert checks.digest(volume(CT)) != checks.digest(volume(with_slice(CT, 3, CT[4])))


def test_tiny_images_are_asked_only_whether_anything_is_on_them():
    tiny = np.random.default_rng(0).integers(-2048, 2048, (5, 6, 7)).astype(np.int16)
    assert names(volume(tiny)) == set()
    assert names(volume(np.zeros((5, 6, 7), np.int16))) == {"constant_image"}


def test_colour_is_not_judged():
    assert names(volume(np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3)).astype(np.uint8), "US")) == set()


def test_a_ct_scout_is_no_slice_in_hounsfield_units():
    scout = (CT[:1] // 12 - 940).astype(np.int16)  # a projection: hardly a value where tissue lies
    assert "wrong_range" in {found.name for found in checks.of_volume(volume(scout))}
    said = {"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}
    assert not checks.of_volume(volume(scout, meta=said))
