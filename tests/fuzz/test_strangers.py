"""Files of strangers, changed at random: a line or a result, and nothing else.

The long form, with as many of each as one likes: `python tests/fuzz/long.py 10000`.
"""

from pathlib import Path

import pytest
from fuzz.run import COUNT, fuzz
from fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("kind", TARGETS, ids=lambda kind: kind.name)
def test_files(kind: type[Target], tmp_path: Path) -> None:
    accepted = fuzz(kind(tmp_path), COUNT, 1)
    assert 0 < accepted < COUNT
