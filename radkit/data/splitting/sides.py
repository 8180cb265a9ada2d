"""Which images are tested on: by day, by site, by list; and which are not taken, so that no patient is on two sides."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from radkit import config
from radkit.data.contents import Unit
from radkit.data.splitting.patients_table import Known
from radkit.errors import UserError, did_you_mean

TEST, DEVELOPMENT, LEAVE_OUT = "test", "development", "leave_out"
_ASKED = {"temporal": "day", "geographic": "site", "explicit": "split"}
_KEEPING = ", or keep patients on both sides by data.split.straddling='test'"
_SIDES = {TEST: "test", "train": DEVELOPMENT}  # what `data.split.straddling` takes


@dataclass(frozen=True)
class Image:
    """A unit, and what decides on which side it is."""

    unit: Unit
    known: Known


@dataclass(frozen=True)
class Chosen:
    """Who is tested on.

    Attributes:
        sides: Of each image: `test`, `development`, of a list also `train`, `validation`; None: it is not taken.
        left_out: How many images are not taken, by reason.
        patients_left_out: How many patients have no image that is taken, by reason.
        remarks: What a person should know of it.
    """

    sides: list[str | None]
    left_out: Counter[str]
    patients_left_out: dict[str, int]
    remarks: list[str]


def choose(images: Sequence[Image], data: config.Data) -> Chosen:
    """Returns on which side each image is.

    Raises:
        UserError: The day, site or side that is asked for is not known of an image and `data.split.unknown` refuses
            it; a list names two sides of one patient; or nobody would be tested on.
    """
    tells = {"temporal": _by_day, "geographic": _by_site, "explicit": _by_list, "random": _by_nothing}
    sides = tells[data.split.test](images, data)
    taken: list[str | None] = [side or None for side in sides]
    reasons: list[str] = ["" if side else _unknown(data) for side in sides]
    unknown = {image.unit.patient_id for image, side in zip(images, sides) if not side}
    if unknown and data.split.unknown == "refuse":
        raise UserError(_refused(unknown, data))
    for places in _straddling(images, sides).values():
        keeps = _SIDES.get(data.split.straddling)
        for place in places:
            if sides[place] != keeps:
                taken[place], reasons[place] = None, _straddles(data)
    for place, side in enumerate(taken):
        if side == LEAVE_OUT:
            taken[place], reasons[place] = None, "by the split column of the patients table"
    if data.split.test != "random" and TEST not in taken:
        raise UserError(_nobody(images, data))
    return Chosen(taken, Counter(filter(None, reasons)), _gone(images, taken, reasons), _absent(images, data))


def _by_nothing(images: Sequence[Image], _: config.Data) -> list[str]:
    return [DEVELOPMENT] * len(images)


def _by_day(images: Sequence[Image], data: config.Data) -> list[str]:
    return _cut([image.known.day for image in images], lambda day: day >= data.split.test_from)


def _by_site(images: Sequence[Image], data: config.Data) -> list[str]:
    return _cut([image.known.site for image in images], lambda site: site in data.split.test_sites)


def _cut(values: Sequence[str], is_test: Callable[[str], bool]) -> list[str]:
    """Returns the side of each value; nothing of one that is not known."""
    return [(TEST if is_test(value) else DEVELOPMENT) if value else "" for value in values]


def _by_list(images: Sequence[Image], _: config.Data) -> list[str]:
    """Returns the side of each image: a list is of patients, whatever study its row names."""
    listed: dict[str, set[str]] = defaultdict(set)
    for image in images:
        listed[image.unit.patient_id] |= {image.known.side} - {""}
    several = [patient for patient, sides in listed.items() if len(sides) > 1]
    if several:
        raise UserError(
            f"the patients table names different sides in its column 'split' for studies of {len(several)} patients; "
            "all that belongs to a patient is on one side: correct the rows"
        )
    return [next(iter(listed[image.unit.patient_id]), "") for image in images]


def _straddling(images: Sequence[Image], sides: Sequence[str]) -> dict[str, list[int]]:
    """Returns the places of the images whose side is known of each patient who has images on both sides."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (image, side) in enumerate(zip(images, sides)):
        if side:
            places[image.unit.patient_id].append(place)
    return {patient: found for patient, found in places.items() if len({sides[place] for place in found}) > 1}


def _straddles(data: config.Data) -> str:
    what = (
        f"before and from {data.split.test_from}" if data.split.test == "temporal" else "of the test's sites and others"
    )
    return f"by data.split.straddling: its patient has images {what}"


def _unknown(data: config.Data) -> str:
    return f"the {_ASKED[data.split.test]} that data.split.test={data.split.test!r} goes by is not known"


def _refused(unknown: set[str], data: config.Data) -> str:
    column = {"temporal": data.split.date, "geographic": data.split.site, "explicit": "split"}[data.split.test]
    return (
        f"{len(unknown)} patients have images of which {_unknown(data)}: give a patients table (convert --patients) "
        f"whose column {column!r} tells it, or set data.split.unknown='leave_out'"
    )


def _absent(images: Sequence[Image], data: config.Data) -> list[str]:
    """Returns what to say of sites of the test set of which there is no image: one may be misspelt."""
    there = sorted({image.known.site for image in images} - {""})
    absent = [site for site in data.split.test_sites if site not in there]
    return [f"data.split.test_sites: no image is of site {site!r}{did_you_mean(site, there)}" for site in absent]


def _nobody(images: Sequence[Image], data: config.Data) -> str:
    if data.split.test == "temporal":
        nobody = f"data.split.test_from={data.split.test_from!r}: nobody who is taken has a study of that day or later"
        return f"{nobody}; name an earlier day{_KEEPING}"
    if data.split.test == "geographic":
        near = "".join(f"; {text}" for text in _absent(images, data))
        nobody = f"data.split.test_sites={data.split.test_sites}: nobody who is taken is of these sites{near}"
        return f"{nobody}; name sites that are there{_KEEPING}"
    return (
        "the patients table names nobody 'test' in its column 'split' who has images here; name some, by the "
        "identifiers of the images"
    )


def _gone(images: Sequence[Image], taken: Sequence[str | None], reasons: Sequence[str]) -> dict[str, int]:
    """Returns how many patients have no image that is taken, by the reason of the first of them."""
    there = {image.unit.patient_id for image, side in zip(images, taken) if side}
    reason_of: dict[str, str] = {}
    for image, reason in zip(images, reasons):
        if image.unit.patient_id not in there:
            known = reason_of.setdefault(image.unit.patient_id, reason)
            reason_of[image.unit.patient_id] = min(known, reason)  # whatever the order of the images
    return dict(sorted(Counter(reason_of.values()).items()))
