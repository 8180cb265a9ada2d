"""What a person may ask for, and how a mistake is told."""

import dataclasses

import pytest

from radkit.deid import profile, settings
from radkit.errors import UserError


def test_nothing_asked_for_is_the_basic_profile():
    assert settings.parse([], "clean") == settings.Settings(frozenset(), "clean") == settings.Settings()


def test_options_are_taken_in_any_order_and_told_in_the_standards():
    some = ["CleanGraphics", "RetainUIDs", "CleanDescriptors", "RetainUIDs"]
    one, other = settings.parse(some, "remove"), settings.parse(some[::-1], "remove")
    assert one == other
    assert settings.ordered(one) == ("RetainUIDs", "CleanDescriptors", "CleanGraphics")
    assert one.unlisted == "remove"


@pytest.mark.parametrize("option", profile.OPTIONS)
def test_every_option_of_the_standard_is_known(option):
    assert settings.ordered(settings.parse([option], "clean")) == (option,)


@pytest.mark.parametrize(
    ("options", "unlisted", "message"),
    [
        (["CleanDescriptor"], "clean", "did you mean 'CleanDescriptors'"),
        (["cleandescriptors"], "clean", "'cleandescriptors' is no option of PS3.15"),
        (["BasicProfile"], "clean", "no option"),
        (["RetainUIDs,x"], "clean", "'x' is no option"),
        (["RetainUIDs;CleanGraphics"], "clean", "no option"),
        (["RetainLongFullDates", "RetainLongModifiedDates"], "clean", "exclude each other"),
        ([], "keep", "--unlisted='keep' was not expected; give clean or remove"),
        ([], "", "--unlisted=''"),
        ([], "Clean", "clean or remove"),
    ],
)
def test_a_mistake_is_told_in_one_line(options, unlisted, message):
    with pytest.raises(UserError, match=message) as told:
        settings.parse(options, unlisted)
    assert len(str(told.value).splitlines()) == 1


def test_an_unknown_option_is_told_what_there_is():
    with pytest.raises(UserError) as told:
        settings.parse(["x"], "clean")
    assert all(option in str(told.value) for option in profile.OPTIONS)


def test_the_names_that_code_uses_are_the_standards():
    names = [
        settings.FULL_DATES, settings.MODIFIED_DATES, settings.SAFE_PRIVATE, settings.UIDS, settings.DESCRIPTORS,
        settings.STRUCTURED_CONTENT, settings.GRAPHICS, settings.PIXELS, settings.FEATURES,
    ]  # fmt: skip
    assert set(names) <= set(profile.OPTIONS)


def test_settings_are_values():
    one = settings.Settings(frozenset(("RetainUIDs",)))
    assert hash(one) == hash(settings.Settings(frozenset(("RetainUIDs",))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.unlisted = "remove"
