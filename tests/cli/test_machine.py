"""Odd machines, and models that print: standard output holds results and nothing else, whatever else there is."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).parent / "moesaic"
NOBODY = 12345  # a user that no system knows
# Prints from Python, from below Python, from another process and when the program ends; warns; logs.
LOUD = """
    import atexit, logging, os, subprocess, sys, warnings
    import torch
    from torch import nn

    print("at import")
    print("straight to the console", file=sys.__stdout__)
    atexit.register(print, "at exit")
    os.write(1, b"from below\\n")
    subprocess.run(["echo", "from a child"])
    warnings.warn("a warning of the module")
    logging.getLogger("torch.export").error("an error that is none")

    class Small(nn.Module):
        image_size = 16

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 32, 8, 8)
            self.norm1, self.qkv, self.proj = nn.LayerNorm(32), nn.Linear(32, 96), nn.Linear(32, 32)
            self.norm2, self.fc1, self.fc2 = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)

        def forward(self, x):
            print("when called")
            x = self.conv(x).flatten(2).mT
            q, k, v = self.qkv(self.norm1(x)).reshape(1, 4, 3, 2, 16).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            x = x + self.proj(mixed.transpose(1, 2).reshape(1, 4, 32))
            return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))

    def small():
        print("when made")
        torch.manual_seed(0)
        return Small().eval()
"""


@functools.cache
def become_nobody() -> tuple[str, ...]:
    """What runs a command as a user without a name, a home or any right to write, who may read all the same: Python may
    lie in root's home. Nothing, if this user may not become another.
    """
    rights = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    words = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *rights)
    try:
        return words if subprocess.run([*words, PROGRAM, "--version"], check=False).returncode == 0 else ()
    except OSError:  # no such tool here
        return ()


def moesaic(*words: object, folder: Path, stranger: bool = False, **environment: str) -> subprocess.CompletedProcess:
    """The command in a process of its own that has this environment and no other; as an unknown user, if possible."""
    command = [*(become_nobody() if stranger else ()), PROGRAM, *map(str, words)]
    path = "" if not stranger else os.environ["PATH"]  # where setpriv is
    return subprocess.run(
        command, cwd=folder, env={"PATH": path, **environment}, capture_output=True, timeout=300, check=False
    )


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may write to, with a name that is no trouble to a shell alone."""
    outer = Path(tempfile.mkdtemp(prefix="moesaic-test-"))
    folder = outer / "Ann's [bold]model & $HOME; 100 %, é"
    folder.mkdir()
    outer.chmod(0o755)
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(outer)


def test_a_loud_model_as_an_unknown_user_without_a_home_from_a_folder_that_is_read_only(open_folder: Path) -> None:
    here = open_folder.parent / "read only"
    here.mkdir()
    (here / "loud.py").write_text(textwrap.dedent(LOUD), encoding="utf-8")
    here.chmod(0o555)
    out = open_folder / "out"
    run = ["run", "--model", "loud:small", "--board", "micro8", "--sim", "functional", "--json", "--quiet"]
    done = moesaic(*run, "--out", out, folder=here, stranger=True, TMPDIR=str(open_folder))
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["bit_exact"] is True
    assert done.stdout.decode() == (out / "report.json").read_text(encoding="utf-8")
    said = done.stderr.decode()
    for text in ("at import", "straight to the console", "from below", "from a child", "when made", "at exit"):
        assert text in said
    for noise in ("arning", "an error that is none", "atplotlib"):
        assert noise not in said
    assert [path.name[:8] for path in open_folder.glob("moesaic-*")] == ["moesaic-"]
    assert not list(here.glob("out*"))


def test_a_program_moved_to_another_folder(open_folder: Path, whole: Any, invoke: Callable[..., Any]) -> None:
    moved, out = open_folder / "moved, away", open_folder / "again"
    shutil.copytree(whole.folder / "program", moved)
    done = invoke("simulate", moved, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 0, done.stderr
    assert str(out / "report.html") in done.stdout  # no markup was read out of the path


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "64 × 64"),
        ({"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "64 x 64"),
        ({"PYTHONIOENCODING": "latin-1", "HOME": "/dev/null"}, "64 × 64"),
    ],
    ids=lambda value: ",".join(value) or "nothing" if isinstance(value, dict) else "",
)
def test_a_table_in_every_environment(environment: dict[str, str], line: str, open_folder: Path) -> None:
    done = moesaic("boards", folder=open_folder, stranger=True, TMPDIR=str(open_folder), **environment)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    assert line in done.stdout.decode(encoding)


def test_an_error_in_a_locale_without_its_letters(open_folder: Path) -> None:
    done = moesaic("boards", "zcu–102 ж é", folder=open_folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.decode("ascii").startswith("error: board must be") and "'zcu-102 ? e'" in done.stderr.decode()


def test_no_place_at_all_is_one_line(open_folder: Path) -> None:
    (open_folder / f"moesaic-{os.geteuid()}").mkdir(mode=0o777)
    (open_folder / f"moesaic-{os.geteuid()}").chmod(0o777)
    done = moesaic("boards", folder=open_folder, TMPDIR=str(open_folder), HOME="/dev/null")
    assert done.returncode == 2 and b"set XDG_CACHE_HOME" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_results_that_nobody_reads_to_the_end(open_folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([PROGRAM, "registers"], stdout=writer, stderr=subprocess.PIPE, cwd=open_folder, check=False)
    os.close(writer)
    assert done.returncode == 1 and not done.stderr, done.stderr.decode()
