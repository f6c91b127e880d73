"""The timing model against routed paths: an SDF file read, paths found, a model fitted, all known by hand."""

import pytest

from moesaic.boards.routing.evidence import by_loads, evidence, longest_paths
from moesaic.boards.routing.pins import PINNED, with_pins
from moesaic.boards.routing.sdf import read_sdf
from moesaic.boards.synthesis.modules import Module, Port

HEAD = '(DELAYFILE\n  (CELL\n    (CELLTYPE "top")\n    (INSTANCE )\n    (DELAY (ABSOLUTE\n'


def sdf(nets: list[tuple[str, str, int]], luts: tuple[str, ...], registers: tuple[str, ...]) -> str:
    """A design of LUTs (141 ps) and registers (309 ps to Q, 20 ps before the clock); nets in ps."""
    lines = [HEAD, *(f"      (INTERCONNECT {a} {b} (1:2:{ps}) (1:2:{ps}))" for a, b, ps in nets), ")))\n"]
    for lut in luts:
        arcs = "".join(f"(IOPATH {pin} F (119:130:141) (119:130:141)) " for pin in "AB")
        lines.append(f'(CELL\n (CELLTYPE "TRELLIS_COMB")\n (INSTANCE {lut})\n (DELAY (ABSOLUTE {arcs})))')
    for register in registers:
        lines.append(
            f'(CELL\n (CELLTYPE "TRELLIS_FF")\n (INSTANCE {register})\n'
            " (DELAY (ABSOLUTE (IOPATH CLK Q (257:283:309) (257:283:309))))\n"
            " (TIMINGCHECK (SETUPHOLD (posedge DI) (posedge CLK) (0:10:20) (1:1:1))))"
        )
    return "\n".join(lines)


CHAIN = sdf(
    [
        ("a/Q", "l1/A", 500),
        ("a/Q", "l2/B", 900),
        ("l1/F", "l2/A", 700),
        ("l2/F", "b/DI", 100),
        ("b/Q", "c/DI", 100),
    ],
    ("l1", "l2"),
    ("a", "b", "c"),
)


def test_the_longest_path_is_that_of_a_calculation() -> None:
    longest, other = longest_paths(read_sdf(CHAIN), 10)
    assert (longest.start, longest.end) == (("a", "Q"), ("b", "DI"))
    assert longest.ns == pytest.approx(0.309 + 0.500 + 0.141 + 0.700 + 0.141 + 0.100 + 0.020)
    assert longest.routing == pytest.approx(1.3)
    assert [loads for _, loads, _ in longest.nets] == [2, 1, 1]
    assert other.end == ("c", "DI")
    assert other.ns == pytest.approx(0.309 + 0.1 + 0.02)


def test_the_model_is_fitted_and_its_errors_are_those_of_a_calculation() -> None:
    found = evidence(read_sdf(CHAIN))
    # Nets of one load: 0.7; of two: 0.5 and 0.9. Those to flip-flops of their own slice: 0.1.
    assert (found.model.one, found.model.doubling, found.model.local) == (0.7, 0.0, 0.1)
    model = 0.309 + 0.7 + 0.141 + 0.7 + 0.141 + 0.1 + 0.02
    assert len(found.paths) == 1  # the other takes less than half as long
    assert found.worst_error == found.median_error == pytest.approx(model / found.paths[0].ns - 1)
    assert found.net_full == round(1.3 / 1.5, 2)
    assert [row["loads"] for row in by_loads(read_sdf(CHAIN))] == [1, 2]


def test_longer_nets_need_a_larger_factor() -> None:
    text = sdf(
        [("a/Q", "l1/A", 200), ("l1/F", "l2/A", 200), ("l2/F", "l3/A", 1200), ("l3/F", "b/DI", 100)],
        ("l1", "l2", "l3"),
        ("a", "b"),
    )
    both = text + sdf([("c/Q", "l9/A", 200), ("l9/F", "d/DI", 100)], ("l9",), ("c", "d")).partition(")))\n")[2]
    found = evidence(read_sdf(both))
    assert found.net_full == pytest.approx(round(1.7 / (3 * found.model.one + 0.1), 2))


def test_what_is_no_design_is_refused() -> None:
    with pytest.raises(ValueError, match="an SDF file must have cells, not none"):
        read_sdf("(DELAYFILE )")
    with pytest.raises(ValueError, match="must have nets between its slices, not none"):
        evidence(read_sdf(sdf([], ("l1",), ("a",))))


def test_a_unit_with_pins_has_every_port() -> None:
    ports = (Port("clk", False, 1), Port("i", False, 3), Port("o__valid", True, 1), Port("o", True, 2))
    text = with_pins(Module("unit.name", "", ports, {}))
    assert f"module {PINNED}(input clk, input i, output reg o);" in text
    for place in (
        r".\clk (clk)",
        r".\i (given[2:0])",
        r".\o__valid (made[0:0])",
        r".\o (made[2:1])",
        r"\unit.name unit",
    ):
        assert place in text
    with pytest.raises(ValueError, match="unit must have a clock to be routed, which 'x' has not"):
        with_pins(Module("x", "", ports[1:], {}))
