"""Answers that are a status code and a line of words."""

from typing import NoReturn

import grpc

# Words travel in a header of at most 8 KiB.
MAX_WORDS = 2000


class Refusal(Exception):
    """A call that gets a status code instead of an answer."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(" ".join(words.split())[:MAX_WORDS])
        self.code = code


def invalid(words: str) -> NoReturn:
    """Refuses with INVALID_ARGUMENT."""
    raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, words)


def missing(words: str) -> NoReturn:
    """Refuses with NOT_FOUND."""
    raise Refusal(grpc.StatusCode.NOT_FOUND, words)


def unfit(words: str) -> NoReturn:
    """Refuses with FAILED_PRECONDITION."""
    raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, words)


def full(words: str) -> NoReturn:
    """Refuses with RESOURCE_EXHAUSTED."""
    raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, words)


def given_up() -> Refusal:
    """Returns CANCELLED for a call that nobody waits for any more."""
    return Refusal(grpc.StatusCode.CANCELLED, "the call was given up while it waited for its turn")


def late(words: str) -> NoReturn:
    """Refuses with DEADLINE_EXCEEDED."""
    raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, words)
