"""Consensus of readers against SimpleITK's filters, and what holds for any readers."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from radkit.errors import UserError
from radkit.metrics import consensus

UNDECIDED = 200


def images(masks: list[np.ndarray]) -> list[sitk.Image]:
    return [sitk.GetImageFromArray(mask) for mask in masks]


def itk_staple(masks: list[np.ndarray]) -> tuple[np.ndarray, list[float], list[float]]:
    its = sitk.STAPLEImageFilter()
    probability = sitk.GetArrayFromImage(its.Execute(images(masks)))
    return probability, list(its.GetSensitivity()), list(its.GetSpecificity())


def readers(rng: np.random.Generator, num_labels: int = 1, wrong: tuple[float, ...] = (0.02, 0.1, 0.3)) -> list:
    """Returns what 2 to 7 readers made of one truth, each wrong in some share of all voxels."""
    shape = tuple(rng.integers(3, 13, rng.integers(2, 4)))
    truth = rng.integers(1, num_labels + 1, shape) * (rng.random(shape) < rng.random())
    made = []
    for _ in range(rng.integers(2, 8)):
        slip = rng.random(shape) < rng.choice(wrong)
        made.append(np.where(slip, rng.integers(0, num_labels + 1, shape), truth).astype(np.uint8))
    return made


def same_as_itk(masks: list[np.ndarray], tolerance: float = 1e-6) -> None:
    probability, sensitivity, specificity = itk_staple(masks)
    own = consensus.staple(masks)
    np.testing.assert_allclose(own["probability"], probability, atol=tolerance)
    np.testing.assert_allclose(own["sensitivity"], sensitivity, atol=tolerance)
    np.testing.assert_allclose(own["specificity"], specificity, atol=tolerance)
    assert own["sum_prob"] == pytest.approx(probability.sum(), abs=tolerance * probability.size)
    assert own["n_voxels_p50"] == np.count_nonzero(probability.astype(np.float32) >= 0.5)


class TestStaple:
    @pytest.mark.parametrize("seed", range(60))
    def test_it_is_itks_for_any_readers(self, seed: int) -> None:
        same_as_itk(readers(np.random.default_rng(seed)))

    @pytest.mark.parametrize("seed", range(30))
    def test_it_is_itks_for_readers_who_guess_or_invert(self, seed: int) -> None:
        rng = np.random.default_rng(1000 + seed)
        masks = readers(rng)
        masks[0] = rng.integers(0, 2, masks[0].shape).astype(np.uint8)
        masks[-1] = (1 - masks[1]).astype(np.uint8)
        same_as_itk(masks)

    @pytest.mark.parametrize("empty", [[0], [1, 2], [0, 1, 2, 3]])
    @pytest.mark.parametrize("value", [0, 1])
    def test_it_is_itks_where_some_readers_mark_nothing_or_all(self, empty: list[int], value: int) -> None:
        rng = np.random.default_rng(5)
        truth = rng.integers(0, 2, (6, 7, 8)).astype(np.uint8)
        masks = [np.where(rng.random(truth.shape) < 0.1, 1 - truth, truth).astype(np.uint8) for _ in range(5)]
        for number in empty:
            masks[number][:] = value
        same_as_itk(masks)

    def test_identical_readers_are_all_right(self) -> None:
        mask = np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(np.uint8)
        same_as_itk([mask] * 4)
        own = consensus.staple([mask] * 4)
        assert (own["probability"] == mask).all()
        assert own["sensitivity"] == own["specificity"] == [1.0] * 4

    def test_one_reader_is_believed(self) -> None:
        mask = np.random.default_rng(0).integers(0, 2, (5, 6)).astype(np.uint8)
        same_as_itk([mask])

    @pytest.mark.parametrize("value", [0, 1])
    @pytest.mark.parametrize("count", [1, 3])
    def test_where_all_mark_nothing_or_everything_only_what_is_undefined_is_nan(self, value: int, count: int) -> None:
        masks = [np.full((3, 4, 5), value, np.uint8)] * count
        own = consensus.staple(masks)
        assert (own["probability"] == value).all()
        assert (own["n_voxels_p50"], own["sum_prob"]) == (60 * value, 60.0 * value)
        undefined, defined = ("sensitivity", "specificity")[:: 1 if value == 0 else -1]
        assert all(math.isnan(share) for share in own[undefined])
        assert own[defined] == [1.0] * count
        assert np.isnan(itk_staple(masks)[0]).all()  # the documented difference

    def test_readers_order_and_kind_of_number_make_no_difference(self) -> None:
        masks = readers(np.random.default_rng(3))
        there = consensus.staple(masks)
        back = consensus.staple([mask.astype(kind) for mask, kind in zip(masks[::-1], [bool, float, int] * 3)])
        np.testing.assert_allclose(there["probability"], back["probability"], atol=1e-6)
        np.testing.assert_allclose(there["sensitivity"], back["sensitivity"][::-1], atol=1e-6)

    def test_many_readers_of_noise_are_told_apart_by_sorting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(4)
        masks = [rng.integers(0, 2, (4, 10, 10)).astype(np.uint8) for _ in range(14)]
        whole = consensus.staple(masks)
        monkeypatch.setattr(consensus, "_MOST_CODES", 8)
        monkeypatch.setattr(consensus, "_MOST_COUNTED", 64)
        np.testing.assert_allclose(consensus.staple(masks)["probability"], whole["probability"], atol=1e-6)
        same_as_itk(masks)


class TestVotes:
    @pytest.mark.parametrize("seed", range(30))
    def test_they_are_itks_with_0_for_undecided_voxels(self, seed: int) -> None:
        masks = readers(np.random.default_rng(seed))
        own = consensus.majority_vote(masks)
        expected = sitk.GetArrayFromImage(sitk.LabelVoting(images(masks), 0))
        assert own["mask"].dtype == np.uint8
        assert (own["mask"] == expected).all()
        assert own["n_voxels"] == expected.sum()
        assert (consensus.majority_labels(masks, 1) == expected).all()

    @pytest.mark.parametrize("seed", range(40))
    def test_labels_are_itks_with_0_for_undecided_voxels(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        num_labels = int(rng.integers(1, 9))
        masks = readers(rng, num_labels, (0.1, 0.5, 0.9))
        expected = sitk.GetArrayFromImage(sitk.LabelVoting(images(masks), 0))
        assert (consensus.majority_labels(masks, num_labels) == expected).all()

    def test_half_of_the_readers_are_no_majority(self) -> None:
        assert consensus.majority_vote([[[1, 1]], [[0, 1]]])["mask"].tolist() == [[0, 1]]
        assert consensus.majority_labels([[[1, 2]], [[2, 2]]], 2).tolist() == [[0, 2]]

    def test_more_readers_than_a_byte_counts(self) -> None:
        masks = [np.array([[1, int(n < 150), int(n < 151)]], np.uint8) for n in range(300)]
        assert consensus.majority_vote(masks)["mask"].tolist() == [[1, 0, 1]]

    def test_all_255_labels_have_their_place(self) -> None:
        mask = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)
        other = np.roll(mask, 1)
        for merge in (consensus.majority_labels, consensus.staple_labels):
            assert (merge([mask, mask, mask], 255) == mask).all()
        assert (consensus.majority_labels([mask, other, mask, other, mask], 255) == mask).all()


class TestStapleLabels:
    @pytest.mark.parametrize("seed", range(40))
    def test_they_are_itks_for_readers_who_know_something(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        num_labels = int(rng.integers(2, 6))
        shape = (8, 11, 12)
        truth = rng.integers(0, num_labels + 1, shape).astype(np.uint8)
        masks = []
        for _ in range(rng.integers(3, 7)):
            slip = rng.random(shape) < rng.choice([0.02, 0.1, 0.2])
            masks.append(np.where(slip, rng.integers(0, num_labels + 1, shape), truth).astype(np.uint8))
        expected = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images(masks), UNDECIDED))
        own = consensus.staple_labels(masks, num_labels)
        # Single voxels may hang between two labels, and ITK reckons in single precision.
        assert np.count_nonzero(own != expected) <= 2
        assert (own == truth).mean() >= max((mask == truth).mean() for mask in masks) - 0.01

    @pytest.mark.parametrize("seed", range(10))
    def test_one_label_is_staple_at_one_half(self, seed: int) -> None:
        masks = readers(np.random.default_rng(seed))
        assert (consensus.staple_labels(masks, 1) == (consensus.staple(masks)["probability"] >= 0.5)).all()

    def test_a_poor_reader_is_outweighed_where_votes_are_tied(self) -> None:
        rng = np.random.default_rng(8)
        truth = rng.integers(0, 3, (10, 20, 20)).astype(np.uint8)
        good = [np.where(rng.random(truth.shape) < 0.05, 0, truth).astype(np.uint8) for _ in range(2)]
        poor = [rng.integers(0, 3, truth.shape).astype(np.uint8) for _ in range(2)]
        staple, votes = (merge([*good, *poor], 2) for merge in (consensus.staple_labels, consensus.majority_labels))
        assert (staple == truth).mean() > (votes == truth).mean() + 0.05

    def test_a_label_that_nobody_gave_is_nowhere(self) -> None:
        mask = np.array([[0, 1, 1, 3]], np.uint8)
        assert (consensus.staple_labels([mask, mask], 7) == mask).all()
        assert not consensus.staple_labels([mask * 0, mask * 0], 7).any()

    def test_where_two_readers_wholly_disagree_nobody_is_right(self) -> None:
        ones, twos = np.full((4, 4), 1, np.uint8), np.full((4, 4), 2, np.uint8)
        assert not consensus.staple_labels([ones, twos], 2).any()


BOTH = [consensus.majority_vote, consensus.staple]
LABELS = [consensus.majority_labels, consensus.staple_labels]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([], "readers is empty"),
        ([np.zeros((2, 3)), np.zeros((3, 2))], r"one shape, not \(2, 3\), \(3, 2\)"),
        ([np.zeros((0, 3))], "with voxels in them"),
        ([np.zeros(3)], "of shape"),
        ([np.full((2, 2), 1), np.full((2, 2), 9)], "reader 2's mask must hold .*; 4 of 4 voxels do not"),
        ([np.array([[0, 9]], np.uint8)], "1 of 2 voxels do not"),
        ([np.array([[0.0, 0.5]])], "1 of 2 voxels do not"),
        ([np.array([[0.0, math.nan]])], "1 of 2 voxels do not"),
        ([np.array([[-1, 0]])], "1 of 2 voxels do not"),
        ([np.array([["a", "b"]])], "holds no numbers"),
    ],
)
def test_what_is_no_mask_is_refused(masks: list[np.ndarray], message: str) -> None:
    for merge in BOTH:
        with pytest.raises(UserError, match=message):
            merge(masks)
    for merge in LABELS:
        with pytest.raises(UserError, match=message):
            merge(masks, 2)


@pytest.mark.parametrize("num_labels", [0, 256])
def test_a_mask_holds_1_to_255_labels(num_labels: int) -> None:
    with pytest.raises(UserError, match="num_labels must be 1 to 255"):
        consensus.majority_labels([np.zeros((2, 2))], num_labels)


def test_readers_masks_stay_as_they_are() -> None:
    masks = readers(np.random.default_rng(0))
    copies = [mask.copy() for mask in masks]
    consensus.staple(masks), consensus.majority_vote(masks), consensus.staple_labels(masks, 1)
    assert all((mask == copy).all() for mask, copy in zip(masks, copies))
