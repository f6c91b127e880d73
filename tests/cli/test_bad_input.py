"""What a user can get wrong: a clear line, an exit status, nothing left behind."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from moesaic.cli import app
from moesaic.golden import weights

MICRO = ["--model", "m3vit-micro"]
FUNCTIONAL = [*MICRO, "--sim", "functional"]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with bad files, and the current one."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (10, 20, 3), np.uint8)).save("small.png")
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)).save("right.png")
    Path("text.png").write_text("not an image")
    Path("cut.png").write_bytes(Path("small.png").read_bytes()[:200])
    model, heads, _ = weights.load("m3vit-micro")
    tensors = {**model.state_dict(), **{f"heads.{name}": t for name, t in heads.state_dict().items()}}
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    bad = {**tensors, "blocks.0.attn.qkv.bias": torch.full_like(tensors["blocks.0.attn.qkv.bias"], torch.nan)}
    save_file(bad, "nan.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "pos_embed"}, "missing.safetensors")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years of work")
    (tmp_path / "empty").mkdir()
    return tmp_path


BAD = [
    (["run", "--model", "resnet"], r"model must be one of m3vit-micro, m3vit-tiny, .*, not 'resnet'"),
    (["run", "--task", "poetry"], r"task must be one of semseg, depth, all, not 'poetry'"),
    (["run", "--board", "abacus"], r"board must be one of .*zcu102.*micro8.*, not 'abacus'"),
    (["run", "--sim", "hope"], r"sim must be functional or rtl, not 'hope'"),
    (["run", "--blocks", "0"], r"blocks must be from 1 to 12, not 0"),
    (["run", "--blocks", "13"], r"blocks must be from 1 to 12, not 13"),
    (["run", "--seed", "-1"], r"seed must be from 0 to \d+, not -1"),
    (["run", "--widths", "w2a8"], r"widths must be one of w8a8, w4a8, w16a16, not 'w2a8'"),
    (
        ["compile", "deit-tiny", "--widths", "w4a8"],
        r"widths must not be 'w4a8' for deit-tiny, which has no experts: 4 bits are for theirs alone",
    ),
    (["run", "--speculate", "17"], r"speculate must be from 0 to 16 experts, not 17"),
    (["run", *FUNCTIONAL, "--latency", "1"], r"latency must be at least 2 cycles, not 1"),
    (
        ["run", *FUNCTIONAL, "--image", "nowhere.png"],
        r"image must be a readable image file, not 'nowhere.png' \(No such file",
    ),
    (["run", *FUNCTIONAL, "--image", "empty"], r"image must be a readable image file, not 'empty' \(Is a directory"),
    (["run", *FUNCTIONAL, "--image", "text.png"], r"image must be a readable image file, not 'text.png'"),
    (["run", *FUNCTIONAL, "--image", "cut.png", "--resize"], r"image must be a readable image file, not 'cut.png'"),
    (
        ["run", *FUNCTIONAL, "--image", "small.png"],
        r"image must be 64 pixels high and 64 wide, not 10 and 20 .*--resize",
    ),
    (
        ["run", *FUNCTIONAL, "--weights", "none.safetensors"],
        r"weights must be a .safetensors file, not 'none.safetensors'",
    ),
    (["run", *FUNCTIONAL, "--weights", "text.png"], r"weights must fit the model, not 'text.png'"),
    (["run", *FUNCTIONAL, "--weights", "nan.safetensors"], r"blocks.0.attn.qkv.bias: 192 values are NaN"),
    (["run", *FUNCTIONAL, "--weights", "missing.safetensors"], r"pos_embed: missing"),
    (
        ["run", "--model", "m3vit-tiny", "--board", "micro8", "--sim", "functional"],
        r"dim must be at most 128 \(max_dim\).*not 192",
    ),
    (
        ["run", "--model", "deit-small", "--board", "zcu104", "--sim", "functional"],
        r"buffer 'residual' of 1182 words does not fit.*158 words",
    ),
    (
        ["run", *FUNCTIONAL, "--out", "theirs"],
        r"out must be a new or empty folder, or one with an earlier report.json, not 'theirs'",
    ),
    (["run", *FUNCTIONAL, "--out", "text.png"], r"out must be a folder, not 'text.png'"),
    (
        ["compile", *MICRO, "--out", "theirs"],
        r"out must be a new or empty folder, or one with an earlier manifest.json, not 'theirs'",
    ),
    (["run", *FUNCTIONAL, "--batch", "9"], r"batch must be from 1 to 8 images, not 9"),
    (
        ["run", *FUNCTIONAL, "--batch", "3"],
        r"batch must be at most 2 of these images, not 3: buffer 'residual' .* does not fit",
    ),
    (
        ["run", *FUNCTIONAL, "--batch", "2", "--image", "right.png"],
        r"image must be given 2 times for a batch of 2, not 1 times",
    ),
    (
        ["run", *FUNCTIONAL, "--batch", "2", "--image", "right.png", "--image", "small.png"],
        r"small.png.*64 x 64|small.png.*64x64|small.png.*resize",
    ),
    (["compile", "--model", "m3vit-small", "--board", "zcu102"], r"tokens must be at most 516"),
    (["simulate", "empty"], r"program must be a folder that `moesaic compile` wrote, not 'empty'"),
    (["simulate", "empty", "--sim", "hope"], r"sim must be functional or rtl, not 'hope'"),
    (["report", "empty"], r"folder must hold a report.json that `moesaic run` wrote, not 'empty'"),
    (["generate", "--board", "abacus"], r"board must be one of .*, not 'abacus'"),
    (["train", "--model", "resnet"], r"model must be one of .*, not 'resnet'"),
    (["train", "--steps", "0"], r"steps must be positive, not 0"),
    (["sweep-rows", "--rows", "8,many"], r"rows must be numbers with commas, not '8,many'"),
    (["sweep-rows", "--rows", "8,8"], r"rows must be different numbers, not \[8, 8\]"),
    (["sweep-rows", *MICRO, "--board", "micro8", "--rows", "16"], r"rows must be at most lanes \(8\), not 16"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input(place: Path, arguments: list[str], message: str) -> None:
    before = _files(place)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and re.search(message, done.stderr), done.stderr
    assert _files(place) == before
    assert (place / "theirs" / "thesis.tex").read_text() == "years of work"


def _process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "moesaic", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def test_as_a_process(tmp_path: Path) -> None:
    done = _process("run", "--task", "poetry", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: task must be one of semseg, depth, all, not 'poetry'\n"
    assert not _files(tmp_path)


def test_no_compiler(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": str(tmp_path)}
    done = _process("run", *MICRO, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert done.stderr == "error: a C++ compiler is needed to build the simulator; type: sudo apt-get install -y g++\n"
    assert not _files(tmp_path)


def test_full_disk_is_seen_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5 << 20})())
    done = CliRunner().invoke(app, ["run", *FUNCTIONAL, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert re.search(r"free space in '.*' must be at least \d+ MiB, not 5 MiB: the disk is full", done.stderr)
    assert not _files(tmp_path)


def test_disk_full_in_mid_run(tmp_path: Path, whole: object) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = _process("run", *FUNCTIONAL, "--out", "new/out", "--quiet", cwd=tmp_path, preexec_fn=limit)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: the disk is full: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert not _files(tmp_path)


def test_a_failure_keeps_the_earlier_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "memory.bin")

    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("earlier")
    monkeypatch.setattr("moesaic.job.save_program", fail)
    done = CliRunner().invoke(app, ["run", *FUNCTIONAL, "--blocks", "1", "--out", str(out), "--quiet"])
    assert done.exit_code == 1
    assert done.stderr == "error: the disk is full: No space left on device (memory.bin); nothing was kept\n"
    assert _files(tmp_path) == {"out", "out/report.json"} and (out / "report.json").read_text() == "earlier"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_in_mid_run(tmp_path: Path, whole: object, number: int, status: int) -> None:
    command = [sys.executable, "-m", "moesaic", "run", *FUNCTIONAL, "--task", "all", "--out", "new/out", "--quiet"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not _files(tmp_path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, text = process.communicate(timeout=120)
    assert process.returncode == status, text
    assert text == ("error: interrupted; nothing was kept\n" if number == signal.SIGINT else "")
    assert not _files(tmp_path)
