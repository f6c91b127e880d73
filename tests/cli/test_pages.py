"""Every command that pages for beginners tell the reader to type: run here, or elsewhere, or listed with a reason."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typed_commands import PAGES, commands, first_run

HERE = [  # run by this module, in a folder of their own
    "moesaic evaluate m3vit-micro --scenes 20",
    "moesaic boards",
    "moesaic models",
    "moesaic compile m3vit-micro --set prefetch_words=64 --set ports=1",
]
ELSEWHERE = {
    "moesaic run --model m3vit-micro --image street.jpg --resize --sim functional": "tests/cli/test_run.py",
    "moesaic run --model m3vit-micro --task all": "tests/cli/test_run.py",
    "moesaic explore m3vit-micro --board pynq-z2 --set rows=8 --set lanes=16": "tests/flow/test_explore.py",
    "moesaic quantise m3vit-micro": "tests/cli/test_quantise.py",
    "moesaic generate --board pynq-z2 --model m3vit-micro --out out/pynq": "tests/boards/test_board.py",
    "moesaic --install-completion": "tests/cli/test_models.py",
}
ONLY_PARSED = {  # by tests/cli/test_usage.py, which makes the context of each
    "moesaic run": "m3vit-tiny on zcu102: minutes",
    "moesaic run --batch 4": "the same",
    "moesaic run --task all --memory ideal": "the same",
    "moesaic run --batch 4 --memory ideal": "the same",
    "moesaic run --task all --separate --memory ideal": "the same",
    "moesaic run --task all --separate --widths w4a8 --memory ideal": "the same",
    "moesaic run --model m3vit-micro --board pynq-z2 --task all --memory ideal": "a simulator of its own: minutes",
    "moesaic run --model mymodels.py:shapes --board micro8": "the tutorial's cells do it in Python",
    "moesaic evaluate mymodels.py:shapes --data 'photos/*/*.png'": "tests/cli/test_evaluate.py, another model",
    "moesaic generate --board pynq-z2 --model mymodels.py:shapes --out out/shapes": "the same",
    "make run": "minutes",
    "make test": "this",
    "source .venv/bin/activate": "of the shell",
}


def test_every_command_is_here_or_there() -> None:
    typed = {command for page in PAGES for command in commands(page)}
    known = [*HERE, *ELSEWHERE, *ONLY_PARSED]
    assert typed == set(known) and len(known) == len(set(known))
    assert shlex.join(first_run()[0]) in ELSEWHERE


@pytest.mark.parametrize("command", HERE)
def test_commands(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., Any]) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*shlex.split(command)[1:])
    assert done.exit_code == 0 and done.output, done.stderr
