"""What a de-identification is asked to do: the standard's options and what becomes of unlisted attributes."""

from collections.abc import Sequence
from dataclasses import dataclass

from radkit.deid import profile
from radkit.errors import UserError, did_you_mean

FULL_DATES, MODIFIED_DATES = "RetainLongFullDates", "RetainLongModifiedDates"
SAFE_PRIVATE, UIDS = "RetainSafePrivate", "RetainUIDs"
DESCRIPTORS, STRUCTURED_CONTENT, GRAPHICS = "CleanDescriptors", "CleanStructuredContent", "CleanGraphics"
PIXELS, FEATURES = "CleanPixelData", "CleanRecognizableVisualFeatures"

UNLISTED = ("clean", "remove")


@dataclass(frozen=True)
class Settings:
    """What decides the outcome besides the key.

    `unlisted` is what becomes of text that Table E.1-1 does not list: "clean" keeps short labels where the SOP class's
    IOD defines them; "remove" keeps only those named in `unlisted.ALLOWED`.
    """

    options: frozenset[str] = frozenset()
    unlisted: str = "clean"

    def __post_init__(self) -> None:
        if isinstance(self.options, str):
            raise UserError(f"options are a set of names; give {{{self.options!r}}}")
        object.__setattr__(self, "options", frozenset(self.options))
        _check(self.options, self.unlisted)


def parse(options: Sequence[str], unlisted: str) -> Settings:
    """Returns the settings that flags name; an option may hold several, separated by commas.

    Raises:
        UserError: An unknown option, two that exclude each other, or an unknown word for unlisted attributes.
    """
    return Settings(
        frozenset(name.strip() for option in options for name in option.split(",") if name.strip()), unlisted
    )


def _check(options: frozenset[str], unlisted: str) -> None:
    for option in sorted(options):
        if option not in profile.OPTIONS:
            raise UserError(
                f"--options: {option!r} is no option of PS3.15{did_you_mean(option, profile.OPTIONS)}; "
                f"there are: {', '.join(profile.OPTIONS)}"
            )
    if FULL_DATES in options and MODIFIED_DATES in options:
        raise UserError(f"--options: {FULL_DATES} and {MODIFIED_DATES} exclude each other (PS3.15 E.3.6); give one")
    if unlisted not in UNLISTED:
        raise UserError(f"--unlisted={unlisted!r} was not expected; give {' or '.join(UNLISTED)}")


def ordered(settings: Settings) -> tuple[str, ...]:
    """Returns the options in the standard's order."""
    return tuple(option for option in profile.OPTIONS if option in settings.options)
