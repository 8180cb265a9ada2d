"""What a series says of its own number of images, and what is found of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radkit.dicom import completeness, frames
from tests import made_up
from tests.dicom import made_up_stacks as stacks


def series(numbers, **more):
    """Returns (path, data set) of instances with these InstanceNumbers; None leaves it out."""
    found = []
    for number in numbers:
        dataset = Dataset()
        dataset.Rows = dataset.Columns = 2
        if number is not None:
            dataset.InstanceNumber = number
        for keyword, value in more.items():
            setattr(dataset, keyword, value)
        found.append((None, dataset))
    return found


def planes(numbers, **more):
    return [frames.classic(path, dataset) for path, dataset in series(numbers, **more)]


@given(st.sets(st.integers(1, 40), min_size=2), st.randoms())
def test_numbers_that_lack_some_are_counted(numbers, random):
    shuffled = sorted(numbers)
    random.shuffle(shuffled)
    before = min(numbers) - 1
    lacking = len(set(range(min(numbers), max(numbers))) - numbers)
    lacking += before if before <= len(numbers) else 0  # such numbers begin elsewhere
    found = completeness.of_series(series(shuffled))
    if lacking:
        assert found == [
            f"InstanceNumber runs to {max(numbers)} and lacks {lacking} of its numbers: files may be missing"
        ]
    else:
        assert not found


@pytest.mark.parametrize("numbers", [[0, 1, 2, 3], [1, 2, 3], [7], [1], [1, 1, 2, 2, 5], [None, 1, 3], [None, None]])
def test_numbers_that_say_nothing_of_missing_files_are_passed_over(numbers):
    assert completeness.of_series(series(numbers)) == []


@pytest.mark.parametrize(("numbers", "lacking"), [([0, 1, 3], 1), ([2, 3, 4], 1), ([1, 2, 5], 2), ([-1, 0, 2], 1)])
def test_numbers_from_nought_or_one_are_counted_from_there(numbers, lacking):
    (found,) = completeness.of_series(series(numbers))
    assert f"lacks {lacking} of its numbers" in found


def test_images_in_acquisition_of_all_files_is_compared_with_their_count():
    assert completeness.of_series(series([1, 2, 3], ImagesInAcquisition=3)) == []
    assert completeness.of_series(series([1, 2, 3], ImagesInAcquisition=2)) == []
    assert completeness.of_series(series([1, 2, 3], ImagesInAcquisition=5)) == [
        "ImagesInAcquisition is 5, 3 images are there: files may be missing"
    ]
    mixed = [*series([1], ImagesInAcquisition=5), *series([2], ImagesInAcquisition=6)]
    assert completeness.of_series(mixed) == []


def test_images_in_acquisition_of_a_file_of_many_frames_counts_frames():
    assert completeness.of_series(series([1], ImagesInAcquisition=4, NumberOfFrames=4)) == []


@pytest.mark.parametrize(
    "more",
    [
        {"NumberOfSlices": 5},
        {("GEMS_RELA_01", 0x0021, 0x4F, "SS"): 5},
        {("GEMS_RELA_01", 0x0021, 0x4F, "UN"): b"\5\0"},  # as archives that do not know the element keep it
        {("Philips Imaging DD 001", 0x2001, 0x18, "SL"): 5},
    ],
)
@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_the_number_of_slices_told_is_compared_with_their_count(tmp_path, more, count):
    given = stacks.slices(made_up.affine(), made_up.stored_values((count, 3, 3)), "MR")
    for dataset in given:
        for where, value in more.items():
            if isinstance(where, str):
                setattr(dataset, where, value)
            else:
                creator, group, element, vr = where
                dataset.private_block(group, creator, create=True).add_new(element, vr, value)
    said = f"the header tells of 5 slices, {count} are there: slices may be missing"
    assert stacks.said(stacks.save(tmp_path, given)) == ({said} if count < 5 else set())


@pytest.mark.parametrize("value", [None, [], [4, 5], 0])
def test_a_number_of_slices_that_is_none_says_nothing(value):
    assert completeness.of_volume(planes([1, 2, 3], NumberOfSlices=value)) == []


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ([1, 2, 3, 4], False), ([4, 3, 2, 1], False), ([10, 13, 40], False), ([1, 3, 2], True), ([1, 2, 4, 3], True),
        ([2, 1], False), ([1], False), ([1, 1, 1], False), ([1, None, 2], False), ([None] * 3, False),
    ],
)  # fmt: skip
def test_numbers_that_leap_along_the_slices_are_told(numbers, told):
    found = completeness.of_volume(planes(numbers))
    assert found == (
        ["InstanceNumber does not rise or fall along the slices; their order is by position"] if told else []
    )


@pytest.mark.parametrize("number", ["", "1\\2", "x", "999999999999999999999"])
def test_a_number_that_is_none_does_no_harm(tmp_path, number):
    datasets = stacks.slices(made_up.affine(), made_up.stored_values((4, 3, 3)))
    paths = stacks.save(tmp_path, datasets)
    raw = number.encode() + b" " * (len(number) % 2)
    written = paths[1].read_bytes()
    at = written.index(b"\x20\x00\x13\x00IS")
    paths[1].write_bytes(written[: at + 6] + len(raw).to_bytes(2, "little") + raw + written[at + 10 :])
    assert all("InstanceNumber" in finding for finding in stacks.said(paths))
