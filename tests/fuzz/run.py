"""Reads changed files one after the other."""

import random

from fuzz.bounds import harmless
from fuzz.targets import Target

__all__ = ["COUNT", "fuzz"]

COUNT = 300  # in the test suite


def fuzz(target: Target, count: int, seed: int) -> int:
    """Read so many changed files; the number of those that were accepted."""
    accepted = 0
    target.read()  # as it should be; and what is imported late is there
    for number in range(count):
        target.change(random.Random(f"{seed}/{number}"))
        try:
            with harmless(target.place):
                target.read()
                accepted += 1
        except BaseException as error:
            error.add_note(f"{target.name}, seed {seed}, number {number}, in {target.place}")
            raise
    return accepted
