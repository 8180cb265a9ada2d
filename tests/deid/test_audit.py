"""The audit: every touched element with its place, what was done and by which option, and no value."""

import hashlib
import json
import re

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.deid import audit, files, keys, rules
from radkit.deid.rules import Rule
from radkit.deid.settings import Settings
from tests.deid.test_engine import BASIC, KEY, OTHER, PATIENT, header, plant, raw, written
from tests.deid.test_structured import ACCESSION, FINDING, container, report, text

PATH = re.compile(r"(?:[0-9A-F]{8}\[[1-9][0-9]*\]\.)*[0-9A-F]{8}")


def lines(dataset, folder, key=KEY, chosen=BASIC):
    """Returns an instance's audit by path, and what it was made from."""
    outcome = files.deidentify_file(written(dataset, folder), folder / "out", files.Work(key, chosen)).outcome
    read = [json.loads(line) for line in outcome.log.lines(outcome.instance).splitlines()]
    return read, outcome


def digest(value, key=KEY):
    """Returns what only who has the key can make of a value: BLAKE2 (RFC 7693), its digits as letters."""
    made = hashlib.blake2b(value, key=key.secret("audit"), digest_size=16).hexdigest()
    return made.translate(str.maketrans("0123456789", "ghijklmnop"))


def nested(dataset, tag, *items):
    dataset.add(DataElement(tag, "SQ", Sequence(list(items))))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_each_line_is_json_with_a_place_an_action_and_no_value(tmp_path, syntax):
    dataset = header(syntax)
    plant(dataset)
    read, outcome = lines(dataset, tmp_path)
    assert len(read) > 600
    for line in read:
        assert list(line) == ["instance", "path", "action", "option", "old"]
        assert line["instance"] == outcome.instance == KEY.uid("1.2.999.3")
        assert PATH.fullmatch(line["path"])
        assert line["action"] in ("X", "Z", "D", "U", "C", "K")
        assert line["option"] == ""
        assert re.fullmatch("[a-p]{32}", line["old"])
    said = json.dumps(read)
    for secret in ("PLANTED", "19620304", "112233", "1.2.999", "062Y"):
        assert secret not in said


def test_the_old_value_is_proved_by_its_digest_and_only_with_the_key(tmp_path):
    (tmp_path / "other").mkdir()
    first = {line["path"]: line for line in lines(header(), tmp_path)[0]}
    other = {line["path"]: line for line in lines(header(), tmp_path / "other", OTHER)[0]}
    assert first["00100030"]["old"] == digest(b"19620304") != other["00100030"]["old"] == digest(b"19620304", OTHER)
    assert first["0020000D"]["old"] == digest(b"1.2.999.1\0")
    assert first["00100010"]["old"] == digest(b"PLANTED^NAME")
    assert digest(b"19620304") != digest(b"19620305")


def test_places_at_depth_are_those_of_the_source(tmp_path):
    dataset, deepest, middle, first = header(), Dataset(), Dataset(), Dataset()
    deepest.PatientName, deepest.AccessionNumber = "PLANTED^NAME", "PLANTED"
    nested(middle, 0x00081115, Dataset(), deepest)
    first.InstitutionName = "PLANTED"
    nested(dataset, 0x52009230, first, Dataset(), middle)
    read = {line["path"]: line for line in lines(dataset, tmp_path)[0]}
    assert read["52009230[1].00080080"]["action"] == "X"
    name = read["52009230[3].00081115[2].00100010"]
    assert (name["action"], name["old"]) == ("D", digest(b"PLANTED^NAME"))
    assert "52009230[3].00081115[2].00080050" in read


def test_actions_are_the_standards_and_options_are_named(tmp_path):
    dataset = header()
    dataset.StudyDate, dataset.InstitutionName = "20200304", "PLANTED"
    dataset.StudyDescription, dataset.SeriesDescription = "CT of PLANTED", "PLANTED"
    dataset.AccessionNumber, dataset.PatientAge = "PLANTED", "062Y"
    options = ("RetainLongModifiedDates", "RetainInstitutionIdentity", "CleanDescriptors", "RetainUIDs")
    read = {line["path"]: line for line in lines(dataset, tmp_path, chosen=Settings(frozenset(options)))[0]}
    decided = {path: (line["action"], line["option"]) for path, line in read.items()}
    assert decided["00080020"] == ("C", "RetainLongModifiedDates")
    assert decided["00080080"] == ("K", "RetainInstitutionIdentity")
    assert decided["00081030"] == ("C", "CleanDescriptors")
    assert decided["0008103E"] == ("X", "")  # no word of it is known: the basic action
    assert decided["0020000D"] == ("K", "RetainUIDs")
    assert decided["00080050"] == ("Z", "")
    assert decided["00101010"] == ("X", "")
    assert decided["00100020"] == ("D", "")
    assert decided["00100030"] == ("Z", "")


def test_counts_are_of_the_lines(tmp_path):
    dataset = header()
    plant(dataset)
    read, outcome = lines(dataset, tmp_path)
    assert outcome.log.removed == sum(line["action"] == "X" for line in read)
    assert outcome.log.replaced <= sum(line["action"] in ("Z", "D", "U", "C") for line in read)


def test_no_element_is_told_twice_and_each_that_went_is_told(tmp_path):
    dataset = header()
    plant(dataset)
    read, outcome = lines(dataset, tmp_path)
    paths = [line["path"] for line in read]
    assert len(paths) == len(set(paths))
    after = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    gone = {f"{e.tag:08X}" for e in dataset.elements()} - {f"{e.tag:08X}" for e in after.elements()}
    assert gone == {line["path"] for line in read if line["action"] == "X" and "." not in line["path"]}
    assert outcome.log.tags() >= {int(path, 16) for path in gone} | set(PATIENT)


def test_an_untouched_element_is_not_told(tmp_path):
    read, _ = lines(header(), tmp_path)
    assert not {"00280010", "00180060", "7FE00010"} & {line["path"] for line in read}


def test_an_item_of_a_report_is_told_by_its_place_before(tmp_path):
    dataset = report(
        text(ACCESSION, "PLANTED"), container(FINDING, text(ACCESSION, "PLANTED"), text(FINDING, "PLANTED"))
    )
    read = {line["path"]: line for line in lines(dataset, tmp_path)[0]}
    assert read["0040A730[1].0040A040"]["action"] == "X"
    assert read["0040A730[2].0040A730[1].0040A040"]["action"] == "X"
    assert read["0040A730[2].0040A730[2].0040A160"]["action"] == "D"


def test_private_elements_that_went_or_were_mapped_are_told(tmp_path):
    dataset = header()
    dataset.add(raw(0x00990010, "LO", b"NQHeader"))
    dataset.add(raw(0x00991002, "UI", b"1.2.999.2\0"))
    dataset.add(raw(0x00991077, "LT", b"PLANTED"))
    chosen = Settings(frozenset(("RetainSafePrivate",)))
    read = {line["path"]: line for line in lines(dataset, tmp_path, chosen=chosen)[0]}
    assert read["00991002"]["action"] == "U"
    assert read["00991077"]["action"] == "X"


def test_a_log_counts_and_tells_its_places():
    log = audit.Log(keys.Key(bytes(32)))
    log.add(0x00100030, Rule(rules.REMOVE, "", "X"), b"19620304")
    log.enter(0x00081115, 3)
    assert log.is_in(0x00081115)
    assert log.is_within((0x00081115,))
    assert log.path(0x00080018) == "00081115[3].00080018"
    log.add(0x00080018, Rule(rules.UID, "UI", "U"), b"1.2.999")
    log.leave()
    assert not log.is_in(0x00081115)
    log.note(0x00080080, Rule(rules.KEEP, "LO", "K", "RetainInstitutionIdentity"), b"PLANTED")
    assert (log.removed, log.replaced) == (1, 1)
    assert log.tags() == {0x00100030, 0x00081115}
    said = [json.loads(line) for line in log.lines("2.25.1").splitlines()]
    assert [line["path"] for line in said] == ["00100030", "00081115[3].00080018", "00080080"]


def test_what_stays_because_an_option_says_so_is_told_of_private_elements_too(tmp_path):
    dataset = header()
    dataset.add(raw(0x00990010, "LO", b"NQHeader"))
    dataset.add(raw(0x00991005, "LT", b"harmless"))
    chosen = Settings(frozenset(("RetainSafePrivate",)))
    read = {line["path"]: line for line in lines(dataset, tmp_path, chosen=chosen)[0]}
    assert "00991005" in read  # K of public elements is told, see above
    assert read["00991005"]["option"] == "RetainSafePrivate"
