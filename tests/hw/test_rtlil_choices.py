"""Shorter choices: the same value for every input, nothing that does nothing, states by name."""

import random
from itertools import product

from moesaic.hw.rtlil.choices import shorten_choices
from moesaic.hw.rtlil.design import Item, Module, Words, parse


def process_of(lines: list[str]) -> Module:
    wires = [
        'attribute \\enum_value_00 "IDLE"',
        'attribute \\enum_value_01 "BUSY"',
        'attribute \\enum_value_10 "DONE"',
        "wire width 2 \\state",
        "wire width 2 \\s",
    ]
    return parse("\n".join(["module \\top", *wires, "process $1", *lines, "end", "end"]))["\\top"]


def shortened(*lines: str) -> list[str]:
    module = process_of([line for text in lines for line in text.split("; ")])
    shorten_choices(module)
    return [" ".join(line) for line in module.of_kind("process")[0].body]


def value(process: Item, inputs: dict[str, str]) -> str:
    """What the process assigns, as RTLIL defines it: the first case that matches, later assignments win."""
    lines = iter(process.body)
    result = ""

    def bits(words: Words) -> str:
        if words == ["{}"]:
            return ""
        return "".join(inputs[word] if word in inputs else word.partition("'")[2] for word in words if word not in "{}")

    def block(active: bool) -> Words:
        nonlocal result
        for line in lines:
            if line[0] == "assign":
                result = line[2] if active else result
            elif line[0] == "switch":
                choice(bits(line[1:]), active)
            elif line[0] != "attribute":
                return line
        return []

    def choice(signal: str, active: bool) -> None:
        line, open_ = next(lines), active
        while line[0] == "attribute":
            line = next(lines)
        while line != ["end"]:
            patterns = [word.partition("'")[2] for word in " ".join(line[1:]).replace(",", " ").split()]
            taken = open_ and (
                not patterns or any(all(p in ("-", b) for p, b in zip(q, signal, strict=True)) for q in patterns)
            )
            open_ = open_ and not taken
            line = block(taken)

    block(True)
    return result


def random_body(rng: random.Random, depth: int) -> list[str]:
    lines = [f"assign \\o 4'{rng.randrange(16):04b}"] if rng.random() < 0.5 else []
    for _ in range(rng.randrange(3) if depth else 0):
        signal, width = rng.choice([("\\s", 2), ("{ \\a \\s }", 3), ("\\a", 1), ("1'1", 1), ("2'01", 2), ("{ }", 0)])
        lines.append(f"switch {signal}")
        for index in range(rng.randrange(4) if width else 0):
            chain = "-" * (width - 1 - index) + "1" + "-" * index
            patterns = ["".join(rng.choice("01-" if rng.random() < 0.3 else "01") for _ in range(width))]
            patterns += ["".join(rng.choice("01") for _ in range(width))] * (rng.random() < 0.3)
            case = " , ".join(f"{width}'{p}" for p in ([chain] if rng.random() < 0.5 and index < width else patterns))
            lines += [f"case {case}", *random_body(rng, depth - 1)]
        if rng.random() < 0.5 or not width:
            lines += ["case" if width else rng.choice(["case", "case 0'"]), *random_body(rng, depth - 1)]
        lines.append("end")
    return lines


def test_every_input_has_the_same_value() -> None:
    rng = random.Random(1)
    changed = 0
    for _ in range(400):
        lines = ["assign \\o 4'0000", *random_body(rng, 3)]
        before, after = process_of(lines), process_of(lines)
        shorten_choices(after)
        old, new = before.of_kind("process")[0], after.of_kind("process")[0]
        changed += len(new.body) < len(old.body)
        for s, a in product(("00", "01", "10", "11"), "01"):
            inputs = {"\\s": s, "\\a": a}
            assert value(new, inputs) == value(old, inputs), (lines, inputs)
    assert changed > 100


def test_branches_that_do_nothing_go() -> None:
    assert shortened("switch \\s; case 2'-1; assign \\o 1'1; case 2'1-; case; end") == [
        "switch \\s", "case 2'-1", "assign \\o 1'1", "end"
    ]  # fmt: skip
    assert shortened("switch \\s; case 2'-1; case 2'1-; assign \\o 1'1; case; end") == [
        "switch \\s", "case 2'-1", "case 2'1-", "assign \\o 1'1", "end"
    ]  # fmt: skip
    assert shortened("switch \\s; case 2'00; case 2'01; assign \\o 1'1; case 2'11; case; end") == [
        "switch \\s", "case 2'01", "assign \\o 1'1", "case", "end"
    ]  # fmt: skip
    assert shortened("switch \\s; case 2'00; switch \\a; case 1'1; end; case; end") == []


def test_what_is_decided_is_no_choice() -> None:
    assert shortened("switch 1'0; case 1'1; assign \\o 1'1; end") == []
    assert shortened("switch 1'1; case 1'1; assign \\o 1'1; end") == ["switch {}", "case", "assign \\o 1'1", "end"]


def test_a_choice_without_a_signal_keeps_its_case() -> None:
    """As Amaranth writes an index into a single element."""
    assert shortened("switch { }; case 0'; assign \\o 1'1; end") == ["switch {}", "case", "assign \\o 1'1", "end"]


def test_states_have_names() -> None:
    found = shortened("switch \\state [1:0]; case 2'00 , 2'10; assign \\o 1'1; case 2'01; assign \\o 1'0; case; end")
    assert [line for line in found if line.startswith("attribute")] == [
        'attribute \\name "IDLE, DONE"', 'attribute \\name "BUSY"'
    ]  # fmt: skip
    assert not any(
        line.startswith("attribute") for line in shortened("switch \\s [1:0]; case 2'00; assign \\o 1'1; end")
    )
