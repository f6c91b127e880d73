"""Next values as statements of a clocked process, from processes of a few lines."""

import pytest

from moesaic.hw.verilog_fold import clocked_statements, is_next_of

HEAD, END = "  always_comb begin", "  end"


def test_a_process_of_one_signal_moves() -> None:
    lines = ["    a_next = a;", "    if (go) begin", "      a_next[3:0] = b;", "    end"]
    moved = clocked_statements([HEAD, *lines, END], "a")
    assert moved == ["    if (go) begin", "      a[3:0] <= b;", "    end"]
    assert clocked_statements(["  assign a_next = b + c;"], "a") == ["    a <= b + c;"]


@pytest.mark.parametrize(
    "lines",
    [
        ["    a_next = a;", "    other = b;"],
        ["    a_next = a;", "      other [2] = b;"],
        ["    a_next = a;", "    b_next = a_next;"],
        ["    a_next = a;", "    if (a_next) begin", "      a_next = 0;", "    end"],
        ["    if (go) begin", "      a_next = b;", "    end"],
        [],
    ],
    ids=["another signal", "a bit of another", "read by another", "read", "not whole first", "empty"],
)
def test_what_would_change_the_meaning_stays(lines: list[str]) -> None:
    assert clocked_statements([HEAD, *lines, END], "a") is None


def test_names() -> None:
    assert is_next_of("a_next", "a") and is_next_of("a_next_2", "a")
    assert not is_next_of("a_next_x", "a") and not is_next_of("b_next", "a")
