"""The DDR model against a Python memory: contents, timing, faults, checks."""

import random
from pathlib import Path

import pytest

from moesaic.sim.build import build
from moesaic.sim.verilated import SimulationFailed, run

SIM = Path(__file__).parents[2] / "sim"
SOURCE, DRAM = SIM / "ddr.sv", SIM / "dram.sv"
PARAMETERS = ["-GPORTS=2", "-GADDR_BITS=32", "-GBYTES=65536", "-GMAX_OUTSTANDING=4"]


def image(path: Path) -> Path:
    path.write_bytes(random.Random(1).randbytes(1 << 16))
    return path


def simulate(source: str, tmp_path: Path, *, dram: Path = DRAM, **env: str) -> None:
    data = image(tmp_path / "image.bin")
    run(
        build(source, top="ddr", extra_sources=[dram], extra_args=PARAMETERS),
        test_module="tb_ddr,tb_dram",
        work_dir=tmp_path / "run",
        env={"IMAGE": str(data), **env},
        timeout_s=300,
        plusargs=[f"+image={data}", "+dump=dump.bin", "+dump_bytes=8192", "+latency=20"],
    )


def test_against_python(tmp_path: Path) -> None:
    simulate(SOURCE.read_text(), tmp_path)
    assert (tmp_path / "run" / "dump.bin").read_bytes() == (tmp_path / "run" / "expected.bin").read_bytes()


@pytest.mark.parametrize(
    ("right", "wrong", "test"),
    [
        ("mem[index] = {<<8{big}};", "mem[index] = big;", "reads_the_image"),
        (
            "return longint'(latency > 2 ? latency - 1 : 1)",
            "return longint'(latency)",
            "first_beat_after_latency",
        ),
        ("if (p >= first) serve(p)", "serve(p)", "ports_share_the_bandwidth"),
        ("if (wstrb[p][i]) mem", "if (!wstrb[p][i]) mem", "writes"),
        ("err_addr & ~longint'(WORD - 1)", "err_addr", "error_at_one_word"),
        ("+ bytes > 4096", "+ bytes > 4096 + WORD", "violation_is_seen"),
        ("mem[b.word] = wdata[p];", "mem[b.word] = wdata[0];", "ports_write_at_once"),
        ("most = write_share / (writers + readers)", "most = beats", "reads_and_writes_share_the_bandwidth"),
        ("aw_after_w == 0 || w_waits[p]", "aw_after_w == 0 || w_waits != 0", "addresses_wait_for_data_of_their_port"),
        ("!(p == dead_write_port && dead_writes_after", "!(dead_writes_after", "dead_writes"),
        ("violate(4, p, awaddr[p])", "violate(4, PORTS, awaddr[p])", "write_violation_is_seen"),
        (
            "posted = posted + longint'(wrote_bytes[p])",
            "posted = longint'(wrote_bytes[p])",
            "dram_collects_writes_of_all_ports",
        ),
        ("if (dram_refresh != 0 && now >= next_refresh) refresh_all;", "", "dram_is_refreshed"),
        ("if (write != writing) start", "if (0) start", "dram_turns_round"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, right: str, wrong: str, test: str) -> None:
    texts = {path: path.read_text() for path in (SOURCE, DRAM)}
    (where,) = (path for path, text in texts.items() if right in text)
    texts[where] = texts[where].replace(right, wrong)
    (behind := tmp_path / DRAM.name).write_text(texts[DRAM])
    with pytest.raises(SimulationFailed, match=rf"tb_\w+.{test}"):
        simulate(texts[SOURCE], tmp_path, dram=behind, COCOTB_TEST_FILTER=rf"\.{test}(/|$)")
