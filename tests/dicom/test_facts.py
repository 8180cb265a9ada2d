"""What headers tell of a series."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.dicom import facts
from tests import made_up


@pytest.mark.parametrize(
    ("orientation", "said"),
    [
        ((1, 0, 0, 0, 1, 0), ("axial", 0.0)),
        ((-1, 0, 0, 0, -1, 0), ("axial", 0.0)),
        ((1, 0, 0, 0, 0, -1), ("coronal", 0.0)),
        ((0, 1, 0, 0, 0, -1), ("sagittal", 0.0)),
    ],
)
def test_planes_are_named_by_their_normal(orientation, said):
    assert facts.plane(orientation) == said


@given(st.floats(-44, 44))
def test_a_turned_plane_keeps_its_name_up_to_thirty_degrees(degrees):
    turned = made_up.affine((1, 1, 1), angles=(degrees, 0, 0))
    name, angle = facts.plane([*turned[:3, 0], *turned[:3, 1]])
    assert angle == pytest.approx(abs(degrees), abs=0.02)
    assert name == ("axial" if angle <= 30 else "oblique")


@pytest.mark.parametrize("orientation", [(0,) * 6, (1, 0, 0, 1, 0, 0), (2, 0, 0, 0, 1, 0)])
def test_what_is_no_orientation_has_no_plane(orientation):
    assert facts.plane(orientation) is None
    assert facts.places(np.zeros((2, 3)), orientation) is None


@given(st.floats(0.1, 10), st.integers(2, 30), st.randoms())
def test_spacing_is_measured_whatever_the_order(step, count, chance):
    where = [(0.0, 0.0, step * i) for i in range(count)]
    chance.shuffle(where)
    found = facts.places(np.array(where), (1, 0, 0, 0, 1, 0))
    assert (found.num_positions, found.num_gaps, found.most_at_one) == (count, 0, 1)
    assert found.spacing_mm == pytest.approx(step, abs=1e-3)
    assert where[found.middle][2] == pytest.approx(step * ((count - 1) // 2))


def test_gaps_and_repeats_are_counted():
    where = np.array([(0, 0, z) for z in (0, 0, 0, 2, 4, 10, 12)], float)
    found = facts.places(where, (1, 0, 0, 0, 1, 0))
    assert (found.num_positions, found.spacing_mm, found.num_gaps, found.most_at_one) == (5, 2.0, 1, 3)
    alone = facts.places(where[:2], (1, 0, 0, 0, 1, 0))
    assert (alone.num_positions, alone.spacing_mm, alone.num_gaps, alone.most_at_one) == (1, None, 0, 2)


@pytest.mark.parametrize(
    ("words", "contrast", "phase"),
    [
        ("Abdomen nativ", "no", "native"),
        ("Abdomen w/o", "no", "native"),
        ("t1_vibe_pre", "no", "native"),
        ("T1 fs post Gd", "yes", ""),
        ("Leber spätarteriell", "", "arterial"),
        ("Liver late arterial +C", "yes", "arterial"),
        ("Abdomen portal venous", "", "portal"),
        ("art + ven", "", "arterial+venous"),
        ("CT Thorax mit KM", "yes", ""),
        ("Arterial Spin Labeling", "", ""),
        ("phase contrast aorta", "", ""),
        ("fMRI VariableDelays1s", "", ""),
        ("C-Spine posterior", "", ""),
        ("", "", ""),
    ],
)
def test_contrast_and_phase_are_read_from_words(words, contrast, phase):
    assert facts.contrast(None, words) == contrast
    assert facts.phase(words) == phase


@pytest.mark.parametrize(
    ("seconds", "phase"), [(30, "arterial"), (70, "portal"), (200, "delayed"), (5, ""), (None, "")]
)
def test_time_since_the_contrast_tells_the_phase_where_words_do_not(seconds, phase):
    assert facts.phase("Abdomen", seconds, with_contrast=True) == phase
    assert facts.phase("Abdomen", seconds) == ""
    assert facts.phase("nativ", seconds, with_contrast=True) == "native"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (
            ("STANDARD", "SOFT", "B31f", "Br40d\\3", "I31f", "H30s", "FC08", "FC13", "B", "YA", "Hr38", "B_SOFT_B"),
            "soft",
        ),
        (("BONE", "BONEPLUS", "EDGE", "FC30", "FC81", "YD"), "bone"),
        (("LUNG", "Bl57", "FC51", "L", "CHST"), "lung"),
        (("B70f", "Br64", "D"), "sharp"),
        (("", None, "?", "12"), ""),
    ],
)
def test_kernels_are_known_by_name(names, kind):
    assert {name: facts.kernel(name) for name in names} == dict.fromkeys(names, kind)
