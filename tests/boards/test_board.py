"""Boards as data: every file is checked the same way, and every wrong one is refused by the name of its field."""

import dataclasses
import functools
import re
from importlib import resources
from pathlib import Path

import pytest

from moesaic.boards.board import Board, BoardError, board_names, load_board, parse_board
from moesaic.boards.family import FAMILIES
from moesaic.boards.fit_bound import FitError, check_fit, largest_preset, lower_bound, ultra_ram_for
from moesaic.boards.resources import Resources
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.model_fit import fitting
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import network_of
from moesaic.golden.hollow import hollow_model
from moesaic.hw.spec.presets import PRESETS


def text_of(name: str) -> str:
    return (resources.files("moesaic.boards") / "data" / f"{name}.toml").read_text()


@pytest.fixture(params=board_names())
def board(request: pytest.FixtureRequest) -> Board:
    return load_board(request.param)


def test_the_boards() -> None:
    assert board_names() == [
        "arty-z7-20",
        "kr260",
        "kv260",
        "pynq-z2",
        "u280",
        "ultra96v2",
        "zcu102",
        "zcu104",
        "zcu106",
        "zcu111",
        "zybo-z7-20",
    ]


def test_accelerator_fits(board: Board) -> None:
    check_fit(board)
    assert largest_preset(board) is not None
    config = board.accelerator
    assert config == PRESETS[config.name].replace(clock_mhz=board.clock_mhz)
    # A board with a preset of its own name has its clock too: reports of the bare preset and the board agree.
    assert board.name not in PRESETS or config == PRESETS[board.name]
    assert board.ports.memory.keys() == {"m_axi_c", *(f"m_axi_w{n}" for n in range(config.ports))}


def test_ports_share_the_memory_controller_fairly(board: Board) -> None:
    """Instructions keep off the weights' ports, and what the ports ask for is what DDR can nearly give."""
    controllers = [board.system.memory[name].controller for name in board.ports.weights]
    shared = max(controllers.count(controller) for controller in controllers)
    assert shared <= max(1, len(controllers) // 2)
    # Below a half it is the fabric's clock: two ports of 64 bits at 100 MHz in front of a DDR3 of 32.
    least = 0.35 if board.family == "zynq7000" else 0.5
    assert least <= board.stream_gbs / board.memory.bandwidth_gbs <= 1.15
    timing = board.memory.timing(board.clock_mhz)
    assert timing is not None and timing.rate == pytest.approx(1e3 * board.memory.bandwidth_gbs / board.clock_mhz)
    assert 0.92 < timing.busy < 0.98 and timing.row < 0.02 * timing.refresh
    memory = board.memory
    assert memory.bandwidth_gbs == pytest.approx(memory.channels * memory.bits * memory.mega_transfers / 8000)


@functools.cache
def compiled(model: str, accelerator: str) -> ProgramImage:
    """Once for all boards that share an accelerator."""
    fitting(make_request(model=model, board=accelerator), Stages(quiet=True))
    return compile_model(hollow_model(network_of(MODELS[model])), PRESETS[accelerator])


def test_window_holds_the_program_of_its_model(board: Board) -> None:
    assert make_request(model=board.model, board=board.name).accelerator == board.accelerator
    image = compiled(board.model, board.accelerator.name)
    assert image.address == board.memory.window_base
    assert len(image.memory) <= board.memory.window_bytes
    assert image.address + len(image.memory) <= 1 << board.accelerator.addr_bits


def test_sources_are_named(board: Board) -> None:
    assert {"part", "budget", "memory", "window"} <= set(board.sources)
    assert all(board.sources.values())


def test_aperture_and_clock(board: Board) -> None:
    manager = board.system.managers[board.ports.registers]
    assert manager.base <= board.ports.registers_base < board.ports.interrupt_base < manager.base + manager.bytes
    assert board.clock_mhz == board.accelerator.clock_mhz
    assert board.accelerator.addr_bits >= board.system.addr_bits
    assert board.accelerator.max_burst <= board.system.max_burst


@pytest.mark.parametrize(
    ("pattern", "to", "message"),
    [
        (r"^title = .*\n", "", "title must be given"),
        (r"^title = .*", "title = 3", "title must be a text, not 3"),
        (r"^title", "colour = 'red'\ntitle", "colour must be absent (fields: title, part"),
        (
            r"^part = .*",
            'part = "spartan"',
            "part must be a device with package and speed grade, like xczu9eg-ffvb1156-2-e, not 'spartan'",
        ),
        (r"^speed_grade = .*", 'speed_grade = "-3"', "speed_grade must be that of xczu9eg-ffvb1156-2-e, not '-3'"),
        (r"^board_part = .*", 'board_part = "zcu102"', "board_part must be vendor:board:part0:version, not 'zcu102'"),
        (r"^family = .*", 'family = "versal"', "family must be one of zynqmp, zynq7000, virtexuplushbm, not 'versal'"),
        (r"^clock_mhz = .*", "clock_mhz = 3000", "clock_mhz must be from 10 to 500, not 3000"),
        (r"^clock_mhz = .*", 'clock_mhz = "fast"', "clock_mhz must be a number, not 'fast'"),
        (r"^accelerator = .*", 'accelerator = "abacus"', "accelerator must be a table or one of micro8,"),
        (
            r"^accelerator = .*",
            "accelerator = 4",
            "accelerator must be the name of a preset or a table of sizes, not 4",
        ),
        (
            r"^accelerator = .*",
            "accelerator = {rows = 5, lanes = 8}",
            "accelerator: rows must be a power of two from 4 to 128, not 5",
        ),
        (
            r"^accelerator = .*",
            'accelerator = {rows = "5", lanes = 8}',
            "accelerator.rows must be a whole number, not '5'",
        ),
        (r"^accelerator = .*", "accelerator = {lanes = 8}", "accelerator.rows must be given"),
        (r"^accelerator = .*", 'accelerator = "zcu104"', "accelerator.ultra_ram must be empty where there is no URAM"),
        (
            r"^weights = .*",
            'weights = ["HP0", "HP1"]',
            "ports.weights must be 4 ports, as accelerator zcu102 has, not ['HP0', 'HP1']",
        ),
        (
            r"^weights = .*",
            'weights = ["HP0", "HP1", "HP2", "HP7"]',
            "ports.weights must be of HPC0, HPC1, HP0, HP1, HP2, HP3, not 'HP7'",
        ),
        (r"^weights = .*", 'weights = "HP0"', "ports.weights must be a list of names, not 'HP0'"),
        (r"^control = .*", 'control = "HP0"', "ports.weights and ports.control must be different ports"),
        (
            r"^registers = .*",
            'registers = "GP0"',
            "ports.registers must be one of HPM0_FPD, HPM1_FPD, HPM0_LPD, not 'GP0'",
        ),
        (
            r"^registers_base = .*",
            "registers_base = 0xA000_1000",
            "ports.registers_base must be a multiple of 0x10000 from 0xa0000000 to 0xaffe0000 (HPM0_FPD)",
        ),
        (r"^registers_base = .*", "registers_base = 0xB000_0000", "(HPM0_FPD), not '0xb0000000'"),
        (r"^bits = .*", "bits = 72", "memory.bits must be 16, 32 or 64, not 72"),
        (r"^mega_transfers = .*", "mega_transfers = 0", "memory.mega_transfers must be positive, not 0"),
        (
            r"^window_base = .*",
            "window_base = 0x1000_0001",
            "memory.window_base must be a multiple of 4096, not '0x10000001'",
        ),
        (
            r"^window_bytes = .*",
            "window_bytes = 0x8000_0000",
            "memory.window_bytes must be a multiple of 4096, and end below 0x80000000",
        ),
        (r"^lut = .*", "lut = -1", "budget: lut must be at least 0, not -1"),
        (r"^dsp = .*", "dsp = 2.5", "budget.dsp must be a whole number, not 2.5"),
        (r"^dsp = .*\n", "", "budget.dsp must be given"),
        (r"^\[budget\]\n", "", "memory.dram.lut must be absent"),
        (r"^banks = .*", "banks = 65", "memory.dram.banks must be from 1 to 64, not 65"),
        (r"^recovery_ns = .*", "recovery_ns = 7800", "memory.dram.refresh_ns must be above recovery_ns"),
        (r"^row_ns = .*", "row_ns = nan", "memory.dram.row_ns must be a number"),
        (r"^\[ports\]", "[port]", "ports must be a table, not None"),
        (r"^title = ", "title ", "the file must be TOML"),
    ],
)
def test_refused(pattern: str, to: str, message: str) -> None:
    text, count = re.subn(pattern, to, text_of("zcu102"), count=1, flags=re.MULTILINE)
    assert count == 1
    with pytest.raises(BoardError, match=re.escape(message)) as error:
        parse_board(text, name="mine")
    assert str(error.value).startswith("board 'mine': ")


def test_zynq_7000_has_its_own_limits() -> None:
    def change(pattern: str, to: str) -> str:
        return re.sub(pattern, to, text_of("pynq-z2"), flags=re.MULTILINE)

    config = "accelerator = {rows = 16, lanes = 16, ports = 2, port_bits = %d, max_burst = %d, prefetch_words = 4096}"
    for text, message in (
        (
            change("^accelerator = .*", config % (128, 16)),
            "accelerator.port_bits must be one of 32, 64 on Zynq-7000, not 128",
        ),
        (
            change("^accelerator = .*", config % (64, 64)),
            "accelerator.max_burst must be at most 16 on Zynq-7000, not 64",
        ),
        (change("^uram = .*", "uram = 4"), "budget.uram must be 0 on Zynq-7000, not 4"),
    ):
        with pytest.raises(BoardError, match=re.escape(message)):
            parse_board(text, name="mine")
    assert parse_board(change("^accelerator = .*", config % (64, 16)), name="mine").accelerator.clock_mhz == 100.0


@pytest.mark.parametrize(
    ("pattern", "to", "message"),
    [
        (r"^control = .*", 'control = "SAXI_16"', "must be other ports than the host's (SAXI_16)"),
        (r"^control = .*", 'control = "SAXI_12"', "window_base must be the first byte of the channel behind SAXI_01"),
        (r"^window_base = .*", "window_base = 0", "memory.window_base must be the first byte of the channel behind"),
        (r"^channel_bytes = .*\n", "", "memory.channel_bytes must be a multiple of 4096, not 0"),
        (r"^channels = .*\n", "", "memory.channel_bytes must be 0 with one channel, not 268435456"),
        (r"^channels = .*", "channels = 4", "memory.channels must be one for a weight port, not 4"),
        (r"^cattrip_pin = .*", 'cattrip_pin = "D 32"', "card.cattrip_pin must be a name, not 'D 32'"),
        (r"^reset = .*\n", "", "card.reset must be given"),
        (r"(?s)^\[card\].*(?=\[memory\])", "", "card must be there on Virtex UltraScale+ HBM, not None"),
        (r"^accelerator = .*", 'accelerator = "zcu102"', "ports.weights must be 4 ports, as accelerator zcu102 has"),
    ],
)
def test_a_card_has_its_own_limits(pattern: str, to: str, message: str) -> None:
    text, count = re.subn(pattern, to, text_of("u280"), count=1, flags=re.MULTILINE)
    assert count == 1
    with pytest.raises(BoardError, match=re.escape(message)):
        parse_board(text, name="mine")


def test_a_board_with_processors_is_no_card() -> None:
    card = text_of("u280").partition("[card]")[2].partition("[memory]")[0]
    with pytest.raises(BoardError, match="card must be absent on Zynq UltraScale"):
        parse_board(text_of("zcu102") + f"[card]{card}", name="mine")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "lab-7.toml"
    path.write_text(text_of("kv260").replace("clock_mhz = 300.0", "clock_mhz = 200"))
    board = load_board(path)
    assert (board.name, board.clock_mhz, board.accelerator.clock_mhz) == ("lab-7", 200.0, 200.0)
    assert board.accelerator.hash == PRESETS["kv260"].hash
    request = make_request(model="m3vit-tiny", board=str(path))
    assert (request.board, request.board_origin) == ("lab-7", str(path))
    assert make_request(model="m3vit-tiny", board=request.board_origin).accelerator == request.accelerator


def test_unknown_boards(tmp_path: Path) -> None:
    with pytest.raises(
        BoardError, match="board must be one of arty-z7-20, kr260, .*, zcu111, zybo-z7-20, or a TOML file, not 'abacus'"
    ):
        load_board("abacus")
    with pytest.raises(
        BoardError, match=r"board must be a readable TOML file, not '.*none.toml' \(No such file or directory\)"
    ):
        load_board(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    with pytest.raises(BoardError, match=r"not UTF-8"):
        load_board(tmp_path / "latin.toml")
    with pytest.raises(
        BoardError, match="board must be one of .*zcu104.*micro8.*, or a .toml file that describes one, not 'abacus'"
    ):
        make_request(model="m3vit-tiny", board="abacus")


def test_too_large() -> None:
    kv260 = load_board("kv260")
    with pytest.raises(
        FitError,
        match=re.escape(
            "accelerator zcu102 must fit kv260, but needs at least DSP 2,048 of 1,248 (800 too many), BRAM36 805.5 "
            "of 144 (661.5 too many); "
            "the largest preset that fits is"
        ),
    ):
        check_fit(kv260, PRESETS["zcu102"])
    with pytest.raises(FitError, match="no preset fits"):
        check_fit(kv260.replace(budget=Resources(lut=10, uram=1)))


def test_lower_bound_by_hand() -> None:
    zcu102 = lower_bound(PRESETS["zcu102"], load_board("zcu102").budget)
    # 64 x 64 / 2 DSPs. Prefetch: 16 banks of 8,192 x 128 in blocks of 4,096 x 9: 2 deep by 15 wide. Activations 7,744 x
    # 512 with byte writes, 64 of 72 bits: 16 x 8 blocks of 512. Keys and values 3,096 x 512: 7 x 8. Residual 1,552 x
    # 1,024: 4 x 16. Accumulators 516 x 1,755: 2 x 24.5 of 72 bits; gates 516 x 1,024: 28.5.
    assert (zcu102.dsp, zcu102.bram36, zcu102.uram) == (2048, 16 * 30 + 128 + 56 + 64 + 49 + 28.5, 0)
    zcu104 = lower_bound(PRESETS["zcu104"], load_board("zcu104").budget)
    # UltraRAM: 8 banks of 2 deep by 2 wide, and activations 1 deep by 8 wide (64 of 72 bits with byte writes).
    assert (zcu104.dsp, zcu104.uram, zcu104.bram36) == (1024, 8 * 4 + 8, 32 + 32 + 12.5 + 7.5)


def test_ultra_ram_goes_where_it_saves_most() -> None:
    """The usual two; more where block RAM is short; what would not fit stays block RAM."""
    budget = load_board("zcu104").budget
    assert ultra_ram_for(PRESETS["zcu104"], budget) == ("prefetch", "activation")
    small = PRESETS["zcu104-small"]
    assert ultra_ram_for(small.replace(ultra_ram=()), budget) == small.ultra_ram
    assert ultra_ram_for(small, dataclasses.replace(budget, uram=64)) == ("activation", "kv")


def test_resources_add_up() -> None:
    a, b = Resources(lut=3, bram36=0.5), Resources(lut=1, ff=2, dsp=4, bram36=1, uram=1)
    assert a + b == Resources(lut=4, ff=2, dsp=4, bram36=1.5, uram=1)
    assert b * 3 == 3 * b == Resources(lut=3, ff=6, dsp=12, bram36=3, uram=3)
    assert a.excess(b) == {"lut": 2} and not a.fits(b) and b.fits(b)
    assert a.describe_excess(b) == "LUT 3 of 1 (2 too many)"
    with pytest.raises(ValueError, match="ff must be at least 0, not -1"):
        Resources(ff=-1)


def test_families_name_each_pin_once() -> None:
    for family in FAMILIES.values():
        for what in ("interface", "clock", "enable"):
            names = [getattr(port, what) for port in [*family.memory.values(), *family.managers.values()]]
            assert len(set(names)) == len(names)
