"""The walker on netlists whose longest path is known by hand, and on random ones against the same logic in one
module.
"""

import random

import pytest
from netlists import Netlist

from moesaic.boards.synthesis.advice import advice, slack
from moesaic.boards.synthesis.analysis import analyse
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.boards.synthesis.modules import Module, Port
from moesaic.boards.synthesis.timing import TimingLoop

D = DELAYS["zynqmp"]


def longest(netlist: Netlist, **kwargs):
    module = Module("top", "", (), {})
    return analyse({"top": module}, {"top": netlist.raw()}, top="top", delays=D, **kwargs)


def test_register_to_register_is_one_net() -> None:
    n = Netlist()
    n.register(n.register("0", "a"), "b")
    (path,) = longest(n).paths
    assert path.delay == pytest.approx(D.ff_out + D.net + D.ff_setup)
    assert path.levels == 0
    assert [step.name for step in path.steps] == ["a", "b"]


def test_three_luts_in_a_row() -> None:
    n = Netlist()
    net = n.register("0", "a")
    for _ in range(3):
        net = n.lut(net)
    n.register(net, "b")
    (path,) = longest(n).paths
    # Three routed nets, three LUTs, and the local net of the last LUT to its flip-flop.
    assert path.delay == pytest.approx(D.ff_out + 3 * (D.net + D.lut) + D.net_local + D.ff_setup)
    assert path.levels == 3


def test_loads_make_a_net_slower() -> None:
    n = Netlist()
    a = n.register("0", "a")
    for k in range(64):
        n.register(n.lut(a), f"b{k}")
    paths = longest(n).paths
    assert paths[0].delay == pytest.approx(D.ff_out + D.net + 6 * D.net_doubling + D.lut + D.net_local + D.ff_setup)
    assert paths[0].steps[1].loads == 64


def test_enable_has_its_own_set_up() -> None:
    n = Netlist()
    a = n.register("0", "a")
    n.register("0", "b", CE=a)
    (path,) = longest(n).paths
    assert path.delay == pytest.approx(D.ff_out + D.net + D.ff_control)
    assert path.steps[-1].name == "b.CE"


def test_carry_chain_of_sixteen_bits() -> None:
    n = Netlist()
    a = [n.register("0", f"a[{k}]") for k in range(16)]
    carry: int | str = "0"
    for block in range(4):
        s = [n.lut(net) for net in a[4 * block : 4 * block + 4]]
        o = [n.net() for _ in range(4)]
        co = [n.net() for _ in range(4)]
        n.cell("CARRY4", CI=carry if block else "0", CYINIT="0", DI=["0"] * 4, S=s, CO=co, O=o)
        for k, net in enumerate(o):
            n.register(net, f"s[{4 * block + k}]")
        carry = co[3]
    paths = longest(n).paths
    chain = D.lut + D.net_local + D.carry_data_carry + 2 * D.carry_in_carry + D.carry_in_sum
    assert paths[0].delay == pytest.approx(D.ff_out + D.net + chain + D.net_local + D.ff_setup)
    assert paths[0].steps[0].name in {f"a[{k}]" for k in range(4)}
    assert paths[0].levels == 5


def test_a_carry_chain_passes_its_own_bit() -> None:
    n = Netlist()
    o, co = n.net(), n.net()
    n.cell(
        "CARRY4",
        CI="0",
        CYINIT="0",
        DI=["0"] * 4,
        S=["0", "0", "0", n.register("0", "a")],
        CO=["x", "x", "x", co],
        O=["x", "x", "x", o],
    )
    n.register(o, "sum")
    n.register(n.lut(co), "carry")
    ends = {path.steps[-1].name: path.delay for path in longest(n).paths}
    assert ends["sum"] == pytest.approx(D.ff_out + D.net + D.lut + D.net_local + D.ff_setup)
    assert ends["carry"] == pytest.approx(
        D.ff_out + D.net + D.carry_data_carry + D.net + D.lut + D.net_local + D.ff_setup
    )


@pytest.mark.parametrize(("behind", "stages"), [(0, ()), (1, ("P",)), (2, ("M", "P"))])
def test_registers_behind_a_product_move_into_the_dsp(behind: int, stages: tuple[str, ...]) -> None:
    n = Netlist()
    a, b = (
        n.lut(n.register("0", name), n.register("0", name + "2")) for name in "ab"
    )  # LUTs: operand registers cannot move
    p = [n.net() for _ in range(4)]
    n.cell("DSP48E2", CLK=1, A=[a] * 4, B=[b] * 4, P=p)
    for _ in range(behind):
        p = [n.register(net) for net in p]
    n.register(n.lut(*p), "end")
    found = longest(n)
    paths = found.paths
    assert found.absorbed == {"top": 4 * behind}
    into = D.ff_out + D.net + D.lut + D.net_delay(4)
    fabric = D.net + D.lut + D.net_local + D.ff_setup
    expected = {
        (): into + D.dsp_in + D.dsp_multiply + D.dsp_add + D.dsp_out + fabric,
        ("P",): into + D.dsp_in + D.dsp_multiply + D.dsp_add + D.dsp_setup,
        ("M", "P"): into + D.dsp_in + D.dsp_multiply + D.dsp_setup,
    }
    assert paths[0].delay == pytest.approx(expected[stages])


def test_operand_registers_move_only_if_nothing_else_reads_them() -> None:
    for shared in ("", "logic", "enable"):
        n = Netlist()
        a, b = n.register("0", "a"), n.register("0", "b")
        p = n.net()
        n.cell("DSP48E2", CLK=1, A=[a], B=[b], P=[p], **({"CED": a} if shared == "enable" else {}))
        m = n.register(p)
        n.register(n.register(m), "end")
        if shared == "logic":
            n.register(a, "other")
        assert longest(n).absorbed["top"] == (3 if shared else 4)  # M, P, B and, if nothing else reads it, A


def test_a_chain_of_dsp_slices_adds_between_registers() -> None:
    n = Netlist()
    cascade = None
    for k in range(3):
        pins = {"PCIN": [cascade]} if cascade else {"C": [n.register("0", "start")]}
        cascade, p = n.net(), n.net(f"p{k}")
        n.cell(
            "DSP48E2", CLK=1, A=[n.register("0", f"a{k}")], B=[n.register("0", f"b{k}")], P=[p], PCOUT=[cascade], **pins
        )
        n.cells[f"c{len(n.cells) - 1}"][1].update(MREG="1", PREG="1", AREG="1", BREG="1")
    n.register(n.lut(p), "end")
    paths = {(path.steps[0].name, path.steps[-1].name): path for path in longest(n).paths}
    from_start = next(path for (start, _), path in paths.items() if start == "start")
    assert from_start.delay == pytest.approx(D.ff_out + D.net + D.dsp_add + D.dsp_setup)
    assert paths["p2", "end"].delay == pytest.approx(D.dsp_clock_p + D.net + D.lut + D.net_local + D.ff_setup)
    along = [path.delay for (_, end), path in paths.items() if end.endswith("PCIN")]
    assert along == [pytest.approx(D.dsp_clock_p + D.net_local + D.dsp_add + D.dsp_setup)]


@pytest.mark.parametrize("registered", [False, True])
def test_an_adder_in_front_of_the_multiplier(registered: bool) -> None:
    n = Netlist()
    a = n.lut(n.register("0", "a"))
    p = n.net()
    n.cell("DSP48E2", CLK=1, D=[a], B=["0"], P=[p])
    n.cells[f"c{len(n.cells) - 1}"][1].update(AMULTSEL="AD", ADREG="1" if registered else "0", MREG="1", PREG="1")
    n.register(p, "end")
    first = longest(n).paths[0]
    into = D.ff_out + 2 * D.net + D.lut + D.dsp_in + D.dsp_pre_add + D.dsp_setup
    assert first.delay == pytest.approx(into if registered else into + D.dsp_multiply)


def test_a_memory_without_and_with_output_register() -> None:
    for registered in (False, True):
        n = Netlist()
        address = n.register("0", "address")
        out = n.net("out")
        n.cell("RAMB36E2", CLKARDCLK=1, ADDRARDADDR=[address], DOUTADOUT=[out])
        data = n.register(out) if registered else out
        n.register(n.lut(data), "end")
        found = longest(n)
        clock = D.bram_out_registered if registered else D.bram_out
        assert found.paths[0].delay == pytest.approx(clock + D.net + D.lut + D.net_local + D.ff_setup)
        assert found.absorbed["top"] == registered


def test_logic_that_feeds_itself_is_named() -> None:
    n = Netlist()
    a, b = n.net("first"), n.net("second")
    n.cell("LUT1", I0=a, O=b)
    n.cell("LUT1", I0=b, O=a)
    with pytest.raises(TimingLoop, match=r"logic of module 'top' must not feed itself: first, second"):
        longest(n)


# --- hierarchy ---


def test_a_path_through_two_children() -> None:
    """A register in one child, logic in another, the end in a third: delays of nets count once, names have instance
    paths.
    """

    def child(name: str, build) -> tuple[Module, dict]:
        n = Netlist()
        i, o = n.net("i"), None
        o = build(n, i)
        n.ports = {"i": ["input", [i]], "o": ["output", [o]]}
        return Module(name, "", (Port("i", False, 1), Port("o", True, 1)), {}), n.raw()

    modules, raw = {}, {}
    for name, build in (
        ("source", lambda n, i: n.register(i, "launch")),
        ("logic", lambda n, i: n.lut(n.lut(i))),
        ("sink", lambda n, i: n.register(n.lut(i), "land")),
    ):
        modules[name], raw[name] = child(name, build)
    top = Netlist()
    x, y, z = top.net("x"), top.net("y"), top.net("z")
    top.cells = {
        "one": ["source", {}, {"i": ["0"], "o": [x]}],
        "two": ["logic", {}, {"i": [x], "o": [y]}],
        "three": ["sink", {}, {"i": [y], "o": [z]}],
    }
    modules["top"] = Module("top", "", (), {"one": "source", "two": "logic", "three": "sink"})
    raw["top"] = top.raw()
    path, *_ = analyse(modules, raw, top="top", delays=D).paths
    # FF, three LUTs, FF: nets between the four, the last one local.
    assert path.delay == pytest.approx(D.ff_out + 3 * (D.net + D.lut) + D.net_local + D.ff_setup)
    assert path.delay == pytest.approx(sum(step.net + step.cell for step in path.steps))
    assert [(step.where, step.kind) for step in path.steps] == [
        ("one", "FDRE"),
        ("two", "LUT1"),
        ("two", "LUT1"),
        ("three", "LUT1"),
        ("three", "FDRE"),
    ]
    assert (path.steps[0].name, path.steps[-1].name) == ("launch", "land")


def _random_design(rng: random.Random) -> tuple[dict, dict, dict]:
    """A design in two levels (some children placed twice), and the same in one module; logic has no loop."""
    modules, raw = {}, {}
    names = ["ca", "cb", "cc"]
    for name in names:
        n = Netlist()
        i = [n.net() for _ in range(3)]
        nets = [*i, n.register("0", "r0"), n.register("0", "r1")]
        for _ in range(6):
            nets.append(n.lut(*rng.sample(nets, 2)))
        for k in range(2):
            n.register(rng.choice(nets), f"q{k}")
        o = rng.sample(nets[3:], 3)  # not a wire from an input
        n.ports = {"i": ["input", i], "o": ["output", o]}
        modules[name] = Module(name, "", (Port("i", False, 3), Port("o", True, 3)), {})
        raw[name] = n.raw()
    top = Netlist()
    nets = [top.register("0", f"t{k}") for k in range(3)]
    children = {}
    for number in range(5):
        name = rng.choice(names)
        o = [top.net() for _ in range(3)]
        children[f"u{number}"] = name
        top.cells[f"u{number}"] = [name, {}, {"i": rng.sample(nets, 3), "o": o}]
        nets += o
    for k in range(4):
        top.register(top.lut(*rng.sample(nets, 2)), f"e{k}")
    flat = Netlist()
    flat._next = 10_000
    flat.cells = {
        name: [kind, parameters, dict(pins)]
        for name, (kind, parameters, pins) in top.cells.items()
        if kind not in names
    }
    merged: dict = {}

    def find(net):
        while net in merged:
            net = merged[net]
        return net

    for instance, name in children.items():
        base = flat._next
        flat._next += 1000
        inner = {
            bit: base + bit
            for cell in raw[name]["cells"].values()
            for bits in cell[2].values()
            for bit in bits
            if isinstance(bit, int) and bit != 1
        }
        inner |= {bit: base + bit for port in raw[name]["ports"].values() for bit in port[1]}
        for port, bits in top.cells[instance][2].items():
            for outer, bit in zip(bits, raw[name]["ports"][port][1], strict=True):
                if port == "i":
                    merged[inner[bit]] = outer
                elif find(outer) != find(inner[bit]):
                    merged[find(outer)] = find(inner[bit])
        for cell, (kind, parameters, pins) in raw[name]["cells"].items():
            flat.cells[f"{instance}.{cell}"] = [
                kind,
                parameters,
                {p: [inner.get(b, b) for b in bits] for p, bits in pins.items()},
            ]
    for cell in flat.cells.values():
        cell[2] = {port: [find(bit) if isinstance(bit, int) else bit for bit in bits] for port, bits in cell[2].items()}
    modules["top"] = Module("top", "", (), children)
    raw["top"] = top.raw()
    return modules, raw, flat.raw()


@pytest.mark.parametrize("seed", range(40))
def test_hierarchy_and_flat_agree(seed: int) -> None:
    modules, raw, flat = _random_design(random.Random(seed))
    plain = D.__class__(
        **{**D.__dict__, "net_doubling": 0.0, "net_local": D.net}
    )  # loads of repeated modules are a maximum over places
    paths = analyse(modules, raw, top="top", delays=plain).paths
    expected, *_ = analyse({"top": Module("top", "", (), {})}, {"top": flat}, top="top", delays=plain).paths
    assert max(path.delay for path in paths) == pytest.approx(expected.delay)
    for path in paths:
        assert path.delay == pytest.approx(sum(step.net + step.cell for step in path.steps))


def test_ports_of_the_top() -> None:
    n = Netlist()
    i, o = n.net("i"), None
    n.register(n.lut(i), "first")
    o = n.lut(n.register("0", "last"))
    n.ports = {"i": ["input", [i]], "o": ["output", [o]]}
    found = analyse({"top": Module("top", "", (), {})}, {"top": n.raw()}, top="top", delays=D)
    assert found.inputs == {"i": pytest.approx(D.lut + D.net_local + D.ff_setup)}
    assert found.outputs == {"o": pytest.approx(D.ff_out + D.net + D.lut)}
    assert found.paths == ()


# --- what it says ---


def test_advice_names_the_best_remedy() -> None:
    n = Netlist()
    net = n.register("0", "a")
    for _ in range(8):
        net = n.lut(net)
    n.register(net, "b")
    (path,) = longest(n).paths
    assert advice(path, D).startswith("a register behind top (LUT1) leaves 1.2")
    assert slack(path, 300.0, D) == pytest.approx(1000 / 300 - D.uncertainty - path.delay)
    n = Netlist()
    out = n.net("out")
    n.cell("RAMB36E2", CLKARDCLK=1, ADDRARDADDR=["0"], DOUTADOUT=[out])
    n.register(out, "b")
    n.register(n.lut(out), "c")
    paths = longest(n).paths
    assert "an output register on the memory leaves" in advice(paths[0], D)
