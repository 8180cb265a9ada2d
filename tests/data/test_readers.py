"""Several readers of one image: who they are, how they are made one, where they differ."""

import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from radkit import config
from radkit.data import box_consensus, readers
from radkit.dicom.annotations import form
from radkit.dicom.annotations.form import Annotation, AnnotationError, Box, Measurement
from radkit.metrics import consensus, segmentation

SHAPE = (4, 9, 8)
LABELS = ("liver", "lesion")


def drawn(reader: str = "", date: str = "", standard: str = "", **inside: np.ndarray) -> Annotation:
    """Returns an annotation whose regions are named by keyword."""
    regions = tuple(form.region(label, n, mask.astype(bool)) for n, (label, mask) in enumerate(inside.items(), 1))
    return Annotation(regions, (), (), reader, date, standard)


def boxed(reader: str, *boxes: Box, standard: str = "") -> Annotation:
    return Annotation((), boxes, (), reader, "", standard)


def box(at: float, size: float = 4, label: str = "", name: str = "") -> Box:
    return Box((at, at, at), (at + size, at + size, at + size), label, name)


def part(*slices: int | slice) -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[slices] = True
    return inside


def combine(*annotations: Annotation, labels: tuple[str, ...] = LABELS, **wishes: object) -> readers.Combined:
    return readers.combine(annotations, labels, SHAPE, config.Annotations(**wishes))


LIVER, LESION = part(slice(0, 2)), part(slice(2, 4), slice(0, 4))


class TestOneReader:
    @pytest.mark.parametrize("name", ["", "ann"])
    def test_one_file_an_organ_is_one_readers(self, name: str) -> None:
        found = combine(drawn(name, liver=LIVER), drawn(name, lesion=LESION), drawn(name, bone=LIVER))
        assert found.readers == (name,)
        assert (found.mask == LIVER + 2 * LESION).all()
        assert len(found.masks) == 1
        assert (found.masks[0] == found.mask).all()
        assert not found.findings
        assert not found.agreement.dice
        assert math.isnan(found.agreement.boxes_matched)

    def test_parts_of_a_structure_in_several_files_are_added_and_copies_dropped(self) -> None:
        found = combine(drawn("ann", lesion=part(0)), drawn("ann", lesion=part(2)), drawn("ann", lesion=part(0)))
        assert found.readers == ("ann",)
        assert (found.mask == 2 * (part(0) | part(2))).all()

    def test_a_structure_drawn_twice_and_differently_is_refused_or_the_first_stands(self) -> None:
        twice = drawn("ann", lesion=part(slice(0, 2))), drawn("ann", lesion=part(slice(1, 3)), liver=part(3))
        with pytest.raises(
            AnnotationError, match=r"reader ann drew lesion more than once.*duplicates='first'"
        ) as error:
            combine(*twice)
        assert error.value.finding == "repeated_reading"
        found = combine(*twice, duplicates="first")
        assert (found.mask == 2 * part(slice(0, 2)) + part(3)).all()

    def test_overlapping_labels_go_by_the_configs_wish(self) -> None:
        both = drawn("ann", liver=part(slice(0, 3)), lesion=part(slice(2, 4)))
        with pytest.raises(AnnotationError, match="overlap"):
            combine(both)
        assert (combine(both, overlap="last").mask == form.as_mask(both.regions, LABELS, SHAPE, "last")).all()


class TestWhoIsWho:
    def test_a_label_that_nobody_named_drew_again_is_another_readers(self) -> None:
        given = [drawn(liver=LIVER), drawn(lesion=LESION), drawn(lesion=part(3)), drawn(liver=part(0))]
        found = combine(*given, several="first")
        assert found.readers == ("reader 1", "reader 2")
        assert (found.mask == LIVER + 2 * LESION).all()
        assert (found.masks[1] == part(0) + 2 * part(3)).all()

    def test_ten_readers_come_in_the_order_of_their_numbers(self) -> None:
        found = combine(*(drawn(liver=part(0, n % 9)) for n in range(12)), several="first")
        assert found.readers == tuple(f"reader {n}" for n in range(1, 13))
        assert (found.mask == part(0, 0)).all()

    def test_a_number_that_is_somebodys_name_is_not_given_again(self) -> None:
        found = combine(drawn("reader 1", liver=LIVER), drawn(liver=LIVER), drawn(liver=LIVER), several="first")
        assert found.readers == ("reader 1", "reader 2", "reader 3")

    def test_readers_who_drew_no_label_twice_shared_the_work(self) -> None:
        found = combine(drawn("ann", liver=LIVER), drawn("bob", lesion=LESION))
        assert (found.mask == LIVER + 2 * LESION).all()
        assert found.readers == ("ann", "bob")
        assert [f.name for f in found.findings] == ["several_readers"]
        assert not found.agreement.dice

    def test_one_who_found_nothing_contradicts_one_who_did(self) -> None:
        with pytest.raises(AnnotationError, match="2 readers"):
            combine(drawn("ann", liver=LIVER), drawn("bob"))
        found = combine(drawn("ann", liver=LIVER), drawn("bob"), drawn("cy"), several="majority")
        assert not found.mask.any()
        assert found.agreement.voxels == {"liver": (int(LIVER.sum()), 0, 0)}

    def test_a_report_of_measurements_is_no_vote_on_labels(self) -> None:
        measured = Annotation((), (), (Measurement("Long Axis", 3.0, "mm"),), "bob")
        found = combine(drawn("ann", liver=LIVER), measured)
        assert found.readers == ("ann",)
        assert (found.mask == LIVER).all()


class TestWishes:
    THREE = (drawn("cy", liver=part(slice(0, 3))), drawn("ann", liver=LIVER), drawn("bob", liver=part(0)))

    def test_several_are_refused_with_their_names_and_the_setting(self) -> None:
        with pytest.raises(AnnotationError, match=r"3 readers \(ann, bob, cy\).*data\.annotations\.several=") as error:
            combine(*self.THREE)
        assert error.value.finding == "several_readers"

    def test_the_first_is_by_name_or_as_the_config_says(self) -> None:
        assert (combine(*self.THREE, several="first").mask == LIVER).all()
        found = combine(*self.THREE, several="first", readers=("bob", "cy"))
        assert (found.mask == part(0)).all()
        assert found.readers == ("bob", "cy")

    def test_readers_that_are_not_asked_do_not_count(self) -> None:
        found = combine(*self.THREE, readers=("cy",))
        assert (found.mask == part(slice(0, 3))).all()
        assert not found.findings
        with pytest.raises(AnnotationError, match=r"3 readers .*data\.annotations\.readers \(dan\)") as error:
            combine(*self.THREE, readers=("dan",))
        assert error.value.finding == "images_without_labels"
        assert (combine(drawn(liver=LIVER), drawn(liver=part(0)), readers=("reader 2",)).mask == part(0)).all()

    def test_no_annotation_at_all_is_refused(self) -> None:
        with pytest.raises(AnnotationError, match="0 annotations; one was expected"):
            combine()

    @pytest.mark.parametrize("seed", range(8))
    @pytest.mark.parametrize("how", ["majority", "staple"])
    def test_they_are_made_one_as_the_metrics_do(self, seed: int, how: str) -> None:
        rng = np.random.default_rng(seed)
        masks = [rng.choice(3, SHAPE, p=[0.6, 0.3, 0.1]).astype(np.uint8) for _ in range(rng.integers(2, 6))]
        given = [drawn(f"r{n}", liver=m == 1, lesion=m == 2) for n, m in enumerate(masks)]
        found = combine(*given, several=how)
        merge = {"majority": consensus.majority_labels, "staple": consensus.staple_labels}[how]
        assert (found.mask == merge(masks, 2)).all()
        assert all((a == b).all() for a, b in zip(found.masks, masks))
        pairs = [segmentation.multilabel_dice(a, b, [1, 2]) for a, b in itertools.combinations(masks, 2)]
        for value, label in enumerate(LABELS, start=1):
            assert found.agreement.dice[label] == pytest.approx(np.mean([pair[value] for pair in pairs]))
            assert found.agreement.voxels[label] == tuple(int((mask == value).sum()) for mask in masks)
        shuffled = combine(*given[::-1], several=how)
        assert (shuffled.mask == found.mask).all()
        assert shuffled.agreement.dice == pytest.approx(found.agreement.dice)

    def test_an_empty_segment_is_a_vote_for_nothing(self) -> None:
        found = combine(*self.THREE[:2], drawn("bob", liver=part(0) & False), several="majority")
        assert (found.mask == LIVER).all()
        assert "liver was outlined by 2 of 3 readers" in found.findings[0].text

    def test_reference_standards_are_not_mixed(self) -> None:
        mixed = drawn("ann", liver=LIVER, standard="reader"), drawn("lab", liver=LIVER, standard="histology")
        with pytest.raises(AnnotationError, match=r"\(histology, reader\); name the one") as error:
            combine(*mixed, several="majority")
        assert error.value.finding == "mixed_reference_standards"
        found = combine(*mixed, reference_standards=("histology",))
        assert (found.readers, found.reference_standard) == (("lab",), "histology")
        with pytest.raises(AnnotationError, match="reference_standards surgery"):
            combine(*mixed, reference_standards=("surgery",))

    @pytest.mark.parametrize(
        ("standards", "how", "expected"),
        [
            (("reader", "reader"), "majority", "consensus"),
            (("reader", "reader"), "first", "reader"),
            (("reader", ""), "majority", ""),
            (("histology", "histology"), "staple", "histology"),
            (("", ""), "majority", ""),
        ],
    )
    def test_the_reference_standard_says_no_more_than_was_said(
        self, standards: tuple[str, str], how: str, expected: str
    ) -> None:
        given = [drawn(f"r{n}", f"2020-01-0{3 - n}", s, liver=LIVER) for n, s in enumerate(standards)]
        found = combine(*given, several=how)
        assert (found.reference_standard, found.date) == (expected, "2020-01-03")


class TestBoxes:
    def test_lesions_that_a_majority_boxed_have_the_mean_box(self) -> None:
        found = combine(
            boxed("ann", box(0, 8, name="a"), box(20)),
            boxed("bob", box(1, 8, name="a")),
            boxed("cy", box(0.5, 8, name="a")),
            several="majority",
            labels=(),
        )
        assert found.boxes == (box(0.5, 8, name="a"),)
        assert found.agreement.boxes_matched == 3 / 4
        assert found.readers == ("ann", "bob", "cy")
        assert not found.mask.any()
        assert "75% of the boxes" in found.findings[0].text

    def test_the_first_readers_boxes_stand_as_they_are(self) -> None:
        given = boxed("bob", box(1)), boxed("ann", box(0), box(30))
        assert combine(*given, several="first", labels=()).boxes == (box(0), box(30))
        with pytest.raises(AnnotationError, match="2 readers"):
            combine(*given, labels=())

    def test_one_who_boxed_nothing_is_a_vote(self) -> None:
        found = combine(boxed("ann", box(0)), boxed("bob"), boxed("cy"), several="majority", labels=())
        assert found.boxes == ()
        assert found.agreement.boxes_matched == 0

    def test_boxes_and_outlines_of_different_readers_stand_beside_each_other(self) -> None:
        found = combine(drawn("ann", liver=LIVER), boxed("bob", box(0)))
        assert (found.mask == LIVER).all()
        assert found.boxes == (box(0),)

    def test_labels_are_kept_apart_and_no_reader_has_two_boxes_of_a_lesion(self) -> None:
        assert box_consensus.majority([[box(0, label="cyst")], [box(0, label="node")]]) == ((), 0.0)
        made, share = box_consensus.majority([[box(0), box(1)], [box(0.2)]])
        assert made == (box(0.1),)
        assert share == 2 / 3

    def test_a_chain_of_boxes_is_not_one_lesion(self) -> None:
        made, _ = box_consensus.majority([[box(0, 10)], [box(2, 10)], [box(4, 10)]])
        assert made == (box(1, 10),)

    @pytest.mark.parametrize("seed", range(20))
    def test_far_lesions_are_found_again_whatever_the_order(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        places, num_readers = np.arange(6) * 50.0, int(rng.integers(1, 6))
        seen = rng.random((num_readers, 6)) < 0.6
        jitter = rng.uniform(-0.5, 0.5, (num_readers, 6))
        drew = [[box(places[i] + jitter[n, i], 8) for i in range(6) if seen[n, i]] for n in range(num_readers)]
        agreed = [i for i in range(6) if seen[:, i].sum() * 2 > num_readers]
        expected = [box(float(places[i] + jitter[seen[:, i], i].mean()), 8) for i in agreed]
        for order in (drew, [list(rng.permutation(np.array(one, object))) for one in drew[::-1]]):
            made, share = box_consensus.majority(order)
            assert len(made) == len(expected)
            for one, other in zip(sorted(made, key=lambda b: b.low), expected):
                np.testing.assert_allclose(one.low + one.high, other.low + other.high)
            votes = seen.sum(0)
            total = votes.sum()
            assert (math.isnan(share) and not total) or share == votes[votes * 2 > num_readers].sum() / total

    def test_boxes_without_extent_are_of_no_lesion(self) -> None:
        assert box_consensus.majority([[box(0, 0)], [box(0, 0)]]) == ((), 0.0)


class TestAdjudication:
    def rows(self, uid: str, *annotations: Annotation) -> list[dict]:
        return readers.disagreements(uid, combine(*annotations, several="majority"), 0.002)

    def test_a_row_says_who_differs_where_and_how_much(self) -> None:
        (row,) = self.rows(
            "1.2", drawn("ann", liver=part(0)), drawn("bob", liver=part(slice(0, 3)), lesion=part(3) & False)
        )
        assert tuple(row) == readers.COLUMNS
        assert row == {
            "record_uid": "1.2",
            "readers": "ann; bob",
            "label": "liver",
            "dice": 0.5,
            "volumes_ml": "0.144; 0.432",
            "boxes_matched": "",
            "reason": "outlines differ",
        }
        (row,) = self.rows("1.2", drawn("ann", liver=LIVER), drawn("bob", liver=LIVER, lesion=LESION))
        assert (row["label"], row["dice"], row["reason"]) == ("lesion", 0.0, "outlined by 1 of 2 readers")
        (row,) = self.rows("1.2", boxed("ann", box(0), box(20)), boxed("bob", box(0)))
        assert (row["dice"], row["boxes_matched"]) == ("", 0.6667)

    def test_readers_who_agree_are_not_asked_again(self) -> None:
        assert not self.rows("1.2", drawn("ann", liver=LIVER), drawn("bob", liver=LIVER))
        assert not self.rows("1.2", boxed("ann", box(0)), boxed("bob", box(0)))

    def test_an_unknown_voxel_size_leaves_the_volumes_out(self) -> None:
        made = combine(drawn("ann", liver=LIVER), drawn("bob", liver=part(0)), several="first")
        assert readers.disagreements("1", made, math.nan)[0]["volumes_ml"] == ""

    def test_those_that_disagree_most_come_first_and_classes_last(self, tmp_path: Path) -> None:
        liver, half, none = part(slice(0, 2)), part(0), part(3)
        rows = [readers.class_disagreement("9", {"ann": "yes", "": "no"})]
        rows += self.rows("2", drawn("ann", liver=liver), drawn("bob", liver=half))
        rows += self.rows("1", drawn("ann", liver=liver, lesion=none), drawn("bob", liver=half))
        rows += self.rows("3", boxed("ann", box(0), box(20), box(40)), boxed("bob", box(0)))
        found = readers.adjudication(rows)
        assert [(row["record_uid"], row["label"]) for row in found] == [
            ("1", "lesion"), ("1", "liver"), ("3", ""), ("2", "liver"), ("9", ""),
        ]  # fmt: skip
        assert found[-1]["reason"] == "classes differ (ann: yes; (nobody named): no)"
        with (tmp_path / "adjudication.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, readers.COLUMNS)
            writer.writeheader()
            writer.writerows(found)
        with (tmp_path / "adjudication.csv").open(newline="") as file:
            assert readers.adjudication(list(csv.DictReader(file))) == [
                {column: str(value) for column, value in row.items()} for row in found
            ]
