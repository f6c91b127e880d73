"""The main job on m3vit-micro: the folder it leaves, the schema of its report, and what the page shows."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typed_commands import first_run, without_seconds

from moesaic.golden import quantfile
from moesaic.report.html import render_html

Invoke, Results = Callable[..., Any], Any  # fixtures of conftest.py

NUMBER, TEXT, NOTHING = (int, float), str, type(None)
SCHEMA: dict[str, Any] = {
    "model": TEXT,
    "task": TEXT,
    "board": TEXT,
    "weights": TEXT,
    "clock_mhz": NUMBER,
    "memory": TEXT,
    "cycles_ideal": int,
    "timing": {"asked_mhz": NUMBER, "optimistic_mhz": NUMBER, "pessimistic_mhz": NUMBER, "paths": list},
    "config": dict,
    "bit_exact": bool,
    "mismatches": int,
    "cycles": (int, NOTHING),
    "macs": int,
    "weight_bytes": int,
    "latency_ms": (float, NOTHING),
    "fps": (float, NOTHING),
    "units": dict,
    "wall_s": dict,
    "peak_memory_bytes": dict,
    "speculated_bytes_dropped": int,
    "violations": list,
    "tasks": dict,
    "array": (dict, NOTHING),
    "roofline": {"arithmetic_cycles": int, "ddr_cycles": int, "bound_cycles": int, "fraction": (float, NOTHING)},
    "blocks": [
        {
            "name": TEXT,
            "kind": TEXT,
            "cycles": (int, NOTHING),
            "macs": int,
            "bytes_read": (int, NOTHING),
            "sqnr_db": float,
            "cosine": float,
            "routing_agreement": (float, NOTHING),
            "bit_exact": bool,
        }
    ],
}


def conforms(value: Any, schema: Any, path: str = "report") -> None:
    """Every key of the schema is there, and of its type."""
    if isinstance(schema, dict):
        for key, inner in schema.items():
            assert key in value, f"{path} has no {key}"
            conforms(value[key], inner, f"{path}.{key}")
    elif isinstance(schema, list):
        assert value, f"{path} is empty"
        for number, item in enumerate(value):
            conforms(item, schema[0], f"{path}[{number}]")
    else:
        assert isinstance(value, schema), f"{path} is {value!r}"
        assert not isinstance(value, bool) or schema is bool, f"{path} is {value!r}"


def sections(page: str) -> dict[str, str]:
    """Content by heading."""
    parts = re.split(r"<h[23]>(.*?)</h[23]>", page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_schema(whole: Results) -> None:
    conforms(whole.report, SCHEMA)
    for entry in whole.report["tasks"].values():
        conforms(
            entry,
            {
                key: SCHEMA[key]
                for key in ("bit_exact", "mismatches", "cycles", "macs", "weight_bytes", "roofline", "blocks")
            },
        )


def test_numbers_of_a_functional_run(whole: Results) -> None:
    report = whole.report
    assert report["bit_exact"] is True and report["mismatches"] == 0
    assert report["compared"] == ["integer golden", "functional simulator"]
    assert list(report["tasks"]) == ["semseg", "depth"]
    assert [block["kind"] for block in report["blocks"]] == ["dense", "moe"] * 2
    assert report["cycles"] is None and report["units"] == {} and report["latency_ms"] is None
    assert report["roofline"]["arithmetic_cycles"] == report["macs"] // 64
    for block in report["blocks"]:
        assert block["bit_exact"] and block["sqnr_db"] > 15 and block["cosine"] > 0.9
        if block["kind"] == "moe":
            assert sum(block["tokens_per_expert"]) == 2 * 65 and 0 < block["routing_agreement"] <= 1


def test_page_is_whole(whole: Results) -> None:
    page = whole.page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "<script src" not in page
    assert "undefined" not in page.lower() and ">None<" not in page
    found = sections(page)
    for heading in (
        "Input and predictions",
        "Task semseg",
        "Task depth",
        "Blocks",
        "Tokens per expert",
        "Integers against float",
        "How these numbers came about",
    ):
        assert heading in found
    for heading, content in found.items():
        if not heading.startswith("Task "):  # followed at once by its first part
            assert re.search(r"<img|<td|<p", content), f"{heading} is empty"
    assert page.count("data:image/png") == 1 + 2 * 3
    assert page.count("data:image/svg+xml") == 2 * 4 + 2  # roofline, experts, energy, accuracy; worst cases, resources
    assert "The RTL was not simulated" in page and "images per second" not in page
    with Image.open(whole.folder / "semseg-accelerator.png") as picture:
        assert picture.size == (64, 64)


def test_report_is_drawn_again(whole: Results, tmp_path: Path, invoke: Invoke) -> None:
    shutil.copytree(whole.folder, tmp_path / "copy")
    (tmp_path / "copy" / "report.html").unlink()
    assert invoke("report", tmp_path / "copy").exit_code == 0
    assert (tmp_path / "copy" / "report.html").read_text().count("<img") == whole.page.count("<img")
    (tmp_path / "copy" / "data.npz").write_bytes(b"damaged")
    done = invoke("report", tmp_path / "copy")
    assert done.exit_code == 2 and "folder must hold all that `moesaic run` wrote" in done.stderr


def test_an_inexact_report_claims_nothing(whole: Results, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "copy")
    report = whole.report
    difference = {
        "models": "RTL, integer golden",
        "tensor": "blocks.1",
        "token": 3,
        "channel": 5,
        "got": 1,
        "expected": 2,
        "count": 7,
        "text": "blocks.1: token 3, channel 5 must be 2, not 1",
    }
    entry = {
        **report["tasks"]["semseg"],
        "bit_exact": False,
        "mismatches": 7,
        "differences": [difference],
        "cycles": 123456,
    }
    changed = {
        **report,
        "bit_exact": False,
        "mismatches": 7,
        "cycles": 123456,
        "tasks": {**report["tasks"], "semseg": entry},
    }
    (tmp_path / "copy" / "report.json").write_text(json.dumps(changed))
    page = render_html(tmp_path / "copy")
    assert "Not bit exact" in page and difference["text"] in page
    assert "123,456" not in page and "images per second" not in page and "of the roofline" not in page


def test_two_blocks(tmp_path: Path, invoke: Invoke) -> None:
    done = invoke(
        "run",
        "--model",
        "m3vit-micro",
        "--sim",
        "functional",
        "--blocks",
        2,
        "--out",
        tmp_path / "out",
        "--json",
        "--quiet",
    )
    assert done.exit_code == 0 and done.stderr == ""
    report = json.loads(done.stdout)
    conforms(report, SCHEMA)
    assert [block["name"] for block in report["blocks"]] == ["blocks.0", "blocks.1"] and report["task"] == "semseg"
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert "the heads need the last one" in (tmp_path / "out" / "report.html").read_text()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_image_of_another_size(tmp_path: Path, invoke: Invoke) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 50), np.uint8)).save(tmp_path / "grey.png")
    done = invoke(
        "run",
        "--model",
        "m3vit-micro",
        "--sim",
        "functional",
        "--blocks",
        1,
        "--out",
        tmp_path / "out",
        "--image",
        tmp_path / "grey.png",
        "--resize",
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads((tmp_path / "out" / "report.json").read_text())["image"] == "grey.png"


def test_stages_one_by_one(tmp_path: Path, invoke: Invoke) -> None:
    program, out = tmp_path / "program", tmp_path / "out"
    done = invoke("compile", "--model", "m3vit-micro", "--blocks", 1, "--out", program, "--dump", "--quiet")
    assert done.exit_code == 0, done.stderr
    for stage in ("ir", "schedule", "buffers", "disassembly", "memory"):
        assert f"==== {stage}, task semseg\n" in done.stdout and f"==== {stage}, task depth\n" in done.stdout
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 0, done.stderr
    assert "bit_exact: true" in done.stdout
    conforms(json.loads((out / "report.json").read_text()), SCHEMA)

    # A network that is not the one that was compiled is refused before anything is simulated.
    network = quantfile.load(program / "network.safetensors")
    network.blocks[0].layers[0].proj.weight[5, :] += 1
    quantfile.save(network, program / "network.safetensors")
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 2 and "network" in done.stderr

    memory = bytearray((program / "memory.bin").read_bytes())
    memory[5000] ^= 1
    (program / "memory.bin").write_bytes(memory)
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 2 and "SHA-256 of memory.bin must be" in done.stderr


@pytest.mark.slow
def test_rtl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke, results: Any) -> None:
    """The whole of m3vit-micro through the command line, on the RTL; docs/getting-started.md shows what it prints."""
    monkeypatch.chdir(tmp_path)
    command, shown = first_run()
    done = invoke(*command[1:])
    assert done.exit_code == 0, done.stderr
    assert without_seconds(done.stderr + done.stdout) == without_seconds(shown), f"the page must show\n{done.stdout}"
    result = results(tmp_path / "out" / "m3vit-micro-all-micro8")
    report = result.report
    conforms(report, SCHEMA)
    assert report["bit_exact"] and report["compared"][-1] == "RTL" and not report["violations"]
    for entry in report["tasks"].values():
        parts = [entry["embedding"], *entry["blocks"], entry["result"]]
        assert sum(part["cycles"] for part in parts) == entry["cycles"]
        assert (
            0 <= entry["cycles"] - sum(entry["array"].values()) < 300
        )  # the array's counters begin with its first instruction
        for state, cycles in entry["array"].items():
            assert sum(part["array"][state] for part in parts) == cycles
        counters = entry["counters"]
        assert sum(part["bytes_read"] for part in parts) == counters["weight_bytes"] + counters["fetch_bytes"]
        assert all(part["bytes_read"] >= 0 for part in parts)
        assert {"busy", "starved", "blocked"} <= set(entry["units"]["array"]) & set(entry["units"]["loader"])
        assert entry["latency_ms"] == pytest.approx(entry["cycles"] / (1e3 * report["clock_mhz"]))
        assert abs(entry["cycles_ideal"] / entry["cycles"] - 1) < 0.01 and entry["cycles_ideal_is"] == "model"
    assert report["roofline"]["fraction"] == pytest.approx(
        report["roofline"]["bound_cycles"] / report["cycles"], abs=1e-4
    )
    assert result.page.count("data:image/svg+xml") == 6 + 2
    for heading in ("What the array did in each block", "Timeline"):
        assert heading in sections(result.page)
    assert (result.folder / "all-timeline.png").is_file()


@pytest.mark.slow
def test_rtl_that_stops(tmp_path: Path, invoke: Invoke, results: Any) -> None:
    """A DDR slower than the watchdog: the error is named, nothing is claimed, and the report is written."""
    done = invoke("run", "--model", "m3vit-micro", "--latency", 300_000, "--out", tmp_path / "out", "--quiet")
    assert done.exit_code == 1 and "WATCHDOG: no unit made progress" in done.stdout, done.stderr
    result = results(tmp_path / "out")
    assert (
        not result.report["bit_exact"]
        and result.report["cycles"] is None
        and result.report["weight_bytes_read"] is None
    )
    assert result.report["tasks"]["semseg"]["error"]["code"] == "WATCHDOG"
    assert (
        "Not bit exact" in result.page
        and "WATCHDOG" in result.page
        and "semseg-accelerator" not in result.report["pictures"]["semseg"].values()
    )
    assert "accelerator" not in result.report["pictures"]["semseg"]
