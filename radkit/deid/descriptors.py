"""Keeps of a description only what a list of radiology's words knows (option CleanDescriptors); pure, on text."""

import functools
import itertools
import re
from pathlib import Path

# Lower case, sorted, one a line. A word that is a common given name or surname stays out even if protocols use it:
# cor, dixon, tse, bravo, rao, colon. Rare surnames that no protocol does without stay in: head, hand, bone, lung, post.
VOCABULARY = Path(__file__).with_name("vocabulary.txt")

# Units that may follow a number, and the most that a protocol says of each, so that no age, height, weight, year or
# identifier gets by with one. No unit that names or ages use too: s (thirties), m (male), ma, mg, us.
LIMITS = {
    "mm": 999, "cm": 60, "t": 12, "kv": 150, "kvp": 150, "kev": 700, "sec": 900, "msec": 9999,
    "gy": 100, "cgy": 9999, "mgy": 999, "mbq": 999, "mci": 99, "hz": 999, "khz": 999, "mhz": 999, "deg": 360,
    "degree": 360, "degrees": 360, "fps": 60, "ppm": 9999,
}  # fmt: skip
# Min, Ms and Mas are said of persons, ML and CC of views, which an age may stand before: only joined to their number.
JOINED_LIMITS = LIMITS | {"ms": 9999, "min": 180, "mas": 999, "ml": 500, "cc": 500}

# What is not ASCII is a letter, never a gap: of a word with an accent no half may be left that happens to be known.
# Digits parted by points, dashes and the like are one word: a date must not fall into its numbers.
_WORD = re.compile(r"[0-9]+(?:[.,:/\-][0-9]+)*(?:[A-Za-z0-9]|[^\x00-\x7f])*|(?:[A-Za-z0-9]|[^\x00-\x7f])+")
_NUMBER = re.compile(r"[0-9]{1,4}(?:[.,][0-9]{1,3})?")
_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,4}(?:[.,][0-9]{1,3})?)([A-Za-z]+)")
_MAX_DIGITS = 4
_GAP = frozenset(" _\t")


def clean(text: str) -> str:
    """Returns the words of a description that cannot say who the patient is, in order, parted by single spaces.

    A word stays if the vocabulary has it; a number of up to four digits if a unit follows it. Everything else goes:
    names, numbers, ages, dates, abbreviations of a site, words with accents, other scripts.

    ```python
    clean("HEAD^Routine 3.0 mm Dr. Example 01.02.1950")  # "HEAD Routine 3.0 mm"
    clean("45 year old male")  # ""
    ```

    Returns:
        Text no longer than `text`, ASCII; empty if nothing is known. Cleaning it again changes nothing.

    Source: DICOM PS3.15 E.3.5 (Clean Descriptors), which leaves open how.
    """
    found = list(_WORD.finditer(text))
    kept = {place for place, match in enumerate(found) if _is_known(match.group())}
    # Judged as they stand in the text: the words that leave bring no number to a unit.
    for place, (first, second) in enumerate(itertools.pairwise(found)):
        if set(text[first.end() : second.start()]) <= _GAP and _is_measure(first.group(), second.group()):
            kept |= {place, place + 1}
    return " ".join(found[place].group() for place in sorted(kept))


@functools.cache
def vocabulary() -> frozenset[str]:
    """Returns the words that stay, in lower case."""
    return frozenset(VOCABULARY.read_text(encoding="ascii").split())


def _is_known(word: str) -> bool:
    """Returns whether a word stays by itself: one of the vocabulary, or a number joined to its unit."""
    # Some letters of other scripts turn to ASCII in lower case: the kelvin sign is no k.
    if not word.isascii():
        return False
    if word.lower() in vocabulary():
        return True
    joined = _NUMBER_AND_UNIT.fullmatch(word)
    return joined is not None and _is_within(joined[1], JOINED_LIMITS.get(joined[2].lower()))


def _is_measure(number: str, unit: str) -> bool:
    """Returns whether two words that follow one another are a number and its unit."""
    return _NUMBER.fullmatch(number) is not None and unit.isascii() and _is_within(number, LIMITS.get(unit.lower()))


def _is_within(number: str, limit: int | None) -> bool:
    """Returns whether a number has few enough digits and is no more than a protocol would say."""
    digits = sum(character.isdigit() for character in number)
    return limit is not None and digits <= _MAX_DIGITS and float(number.replace(",", ".")) <= limit
