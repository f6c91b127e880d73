"""Structural coverage: points of a small design, what runs hit of them, and what is left out for a reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.errors import FailedRun
from moesaic.flow.stages import Stages
from moesaic.flow.verify import covered
from moesaic.flow.verify.campaign import Campaign, Chunk, run_campaign
from moesaic.flow.verify.coverage_points import Point, ports_only, read_hits
from moesaic.flow.verify.covered import Exclusion, exclusions, matcher, measured
from moesaic.flow.verify.covered_simulator import FLAGS
from moesaic.report.signoff import read_signoff
from moesaic.sim.build import build
from moesaic.sim.verilated import run

ROOT = Path(__file__).parents[2]
PORTS = (Point("unit", "port", "o[1]:0->1"), Point("unit", "port", "o[0]:1->0"))
POINTS = tuple(Point("unit", kind, place) for kind in ("line", "branch", "port") for place in "abc")


TEXT = """// module counter
module counter(
  clk, enable, o
);
  input clk;
  input enable;
  output [3:0] o;
  reg [3:0] o;

  reg [3:0] count = 4'h0;
  wire ready;
  reg [7:0] words [3:0];

  always_ff @(posedge clk) begin
    count <= count + 4'h1;
    if (enable)
      words[count] <= 8'h00;
    if (!enable)
      words[count] <= 8'h01;
  end

  always @(posedge clk) begin
    if (enable) begin
      if (!ready)
        $write("must be ready");
      assert (ready);
    end
  end
endmodule

// module moesaic_a_contract
module moesaic_a_contract(
  clk
);
  input clk;
endmodule
"""


def test_only_ports_and_no_checks_are_watched() -> None:
    watched, on = {}, True
    for line in ports_only(TEXT).split("\n"):
        on = {"/*verilator coverage_off*/": False, "/*verilator coverage_on*/": True}.get(line, on)
        watched[line] = on
    seen = ("  input enable;", "  output [3:0] o;", "  reg [3:0] o;", "  always_ff @(posedge clk) begin")
    seen += ("    if (enable)", "    if (!enable)", "    if (enable) begin", "      assert (ready);")
    inner = ("      if (!ready)", '        $write("must be ready");')
    inner += ("  reg [3:0] count = 4'h0;", "  wire ready;", "  reg [7:0] words [3:0];", "module moesaic_a_contract(")
    assert all(watched[line] for line in seen) and not any(watched[line] for line in inner) and on
    kept = [line for line in ports_only(TEXT).split("\n") if line and "coverage" not in line]
    assert kept == [line for line in TEXT.split("\n") if line and not line.startswith("// module")]


def point(page: str, module: str, line: int, said: str, hits: int, instance: str = "a") -> str:
    fields = {"f": "d.sv", "l": line, "n": 3, "t": "x", "page": f"{page}/{module}", "o": said, "h": instance}
    return "C '" + "".join(f"\x01{name}\x02{value}" for name, value in fields.items()) + f"' {hits}"


def test_hits_of_all_instances_are_one(tmp_path: Path) -> None:
    path = tmp_path / "coverage.dat"
    lines = [
        "# SystemC::Coverage-3",
        point("v_line", "moesaic_unit", 2, "if", 0),
        point("v_line", "moesaic_unit", 2, "if", 3, "b"),
        point("v_line", "moesaic_unit", 3, "if", 0),
        point("v_toggle", "moesaic_unit", 1, "o___05Fx[2]:0->1", 0),
        point("v_user", "moesaic_unit", 3, "cover_i_waits", 4),
        point("v_branch", "other", 1, "else", 5),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    source = "  output [3:0] o;\n    if (a)  begin\n    if (a) begin"
    assert read_hits(path, source, frozenset(["moesaic_unit"])) == {
        Point("unit", "line", "if: if (a) begin"): True,
        Point("unit", "line", "if: if (a) begin (2)"): False,
        Point("unit", "port", "o__x[2]:0->1"): False,
        Point("unit", "cover", "i_waits"): True,
    }
    with pytest.raises(FailedRun, match=r"coverage.dat must have points of 1 modules, not none"):
        read_hits(path, source, frozenset(["nothing"]))
    with pytest.raises(FailedRun, match=r"simulator must leave its coverage in nowhere.dat"):
        read_hits(tmp_path / "nowhere.dat", source, frozenset(["moesaic_unit"]))


def test_what_is_left_out_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (Exclusion("port of unit: [ab]", "two"), Exclusion("* of unit: a", "never"))
    monkeypatch.setattr(covered, "exclusions", lambda: rules)
    found = measured(POINTS, 0b100_010_111)  # lines all, branch b, port c
    assert found.totals() == {"branch": (1, 2), "line": (3, 3), "port": (1, 1)}
    assert found.excluded == (replace(rules[0], points=2), replace(rules[1], points=1, hit=1))
    assert [entry.refused for entry in found.excluded] == [False, True]  # line a was hit
    assert found.holes == ("branch of unit: c",) and measured(PORTS, 0).holes == ("port of unit: o, 2 points",)
    assert found.left() == {"unit": {"line": 0, "branch": 1, "port": 0, "cover": 0}}


def test_what_is_proved_must_not_be_hit() -> None:
    proved = dict.fromkeys(POINTS[:2], "constant")
    found = measured(POINTS, 0b111_111_100, proved=proved)
    assert found.totals() == {"branch": (3, 3), "line": (1, 1), "port": (3, 3)}
    assert found.proved == {"constant": 2} and not found.holes
    with pytest.raises(FailedRun, match=r"must not be hit, since it is proved to be constant: line of unit: b"):
        measured(POINTS, 0b10, proved=proved)


@pytest.mark.parametrize(
    "text",
    ["port of unit: o[7]:0->1", "port of unit: o[12]:1->0", "port of unit: o[13]:1->0", "port of unit: o[2]:1->0"],
)
def test_patterns_with_numbers(text: str) -> None:
    inside = text not in ("port of unit: o[13]:1->0", "port of unit: o[2]:1->0")
    assert matcher("port of *: o[[]{7..12}[]]:?->?")(text) == inside


@pytest.mark.parametrize(("points", "hit", "refused"), [(0, 0, True), (3, 1, True), (3, 0, False)])
def test_wrong_exclusions_are_refused(points: int, hit: int, *, refused: bool) -> None:
    assert Exclusion("line of unit: a", "never", points=points, hit=hit).refused == refused


WIDE = """// module wide
module wide(
  clk, i, o
);
  input clk;
  input [64:0] i;
  output [99:0] o;
  reg [99:0] o;

  always_ff @(posedge clk) begin
    o <= { 35'h000000000, i };
  end
endmodule
"""


BENCH = """module testbench(input logic aclk, input logic [7:0] at, output logic [99:0] o);
  logic [64:0] i;
  always_comb begin i = 0; i[at[6:0]] = at[7]; end
  wide dut(.clk(aclk), .i(i), .o(o));
endmodule
"""


def test_slices_of_wide_ports(tmp_path: Path) -> None:
    """One toggle is one point, though Verilator counts it for bits 32 and 64 places higher too where a port is wide."""
    source = ports_only(WIDE)
    built = build(f"{source}\n{BENCH}", top="testbench", extra_args=FLAGS)
    run(built, test_module="coverage_bench", work_dir=tmp_path, python_path=[Path(__file__).parent])
    hits = read_hits(tmp_path / "coverage.dat", source, frozenset(["wide"]))
    seen = {point.place for point, hit in hits.items() if hit and point.place[0] in "io"}
    assert seen == {f"{port}[{bit}]:{way}" for port in "io" for bit in (3, 64) for way in ("0->1", "1->0")}
    assert sum(point.place[0] in "io" for point in hits) == 2 * (65 + 100)


def _pretend(shared: None, item: tuple[int, int], stages: Stages) -> Chunk:
    return Chunk(item[1], 10, {"fine": 10}, (), covered=f"{1 << 4 * item[1] | 1 << 40_000:x}")


def test_chunks_add_up(tmp_path: Path) -> None:
    campaign = Campaign(
        "pretence", "", 10, lambda: None, _pretend, lambda _: None, measure=lambda hit: measured(POINTS, hit)
    )
    report = run_campaign(campaign, count=30, seed=0, folder=tmp_path, stages=Stages(quiet=True))
    assert report.coverage is not None and report.coverage == measured(POINTS, 0b1_0001_0001)
    assert run_campaign(campaign, count=10, seed=0, folder=tmp_path, stages=Stages(quiet=True)) == report


def test_every_exclusion_has_a_reason_and_is_needed() -> None:
    campaigns = [campaign for campaign in read_signoff(ROOT / "docs/signoff.md").campaigns if campaign.coverage]
    assert [campaign.origin.campaign for campaign in campaigns] == ["coverage"]
    (coverage,) = (campaign.coverage for campaign in campaigns)
    assert coverage is not None
    assert tuple(replace(entry, points=0, hit=0) for entry in coverage.excluded) == exclusions()
    assert all(not entry.refused and len(entry.reason.split()) >= 4 for entry in coverage.excluded)
