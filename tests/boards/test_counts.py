"""The counts that come along are of the boards that come along, and of the hardware as it is."""

from moesaic.boards.board import board_names, load_board
from moesaic.boards.clocks import Clocks, supported_clocks
from moesaic.boards.estimate import counted
from moesaic.boards.hardware import hardware_digest, meaning
from moesaic.boards.synthesis.delays import DELAYS

AGAIN = "python -m moesaic.flow.counts micro8 pynq-z2 kv260 zcu104 zcu102 u280 --out boards/counts.json"
SOURCE = '''
class Adder:
    """Adds."""

    def elaborate(self, m):
        m.d.sync += self.o.eq(self.a + 1)  # a cycle later
'''


def test_only_meaning_counts() -> None:
    same = (
        SOURCE.replace("  # a cycle later", "").replace("Adds.", "What adds.").replace("(self.a + 1)", "(\n self.a+1)")
    )
    assert meaning(same) == meaning(SOURCE) and same != SOURCE
    assert meaning(SOURCE.replace("+ 1", "+ 2")) != meaning(SOURCE)
    assert meaning(SOURCE.replace("self.a", "self.b")) != meaning(SOURCE)
    assert meaning(SOURCE.replace("Adder", "Sum")) != meaning(SOURCE)


def test_every_board_is_counted() -> None:
    boards = [load_board(name) for name in board_names()]
    missing = [
        board.name
        for board in boards
        if not any(
            e.is_of(board.accelerator, family=board.system.fabric, uram=board.budget.uram > 0) for e in counted()
        )
    ]
    assert not missing, f"not counted: {missing}; type: {AGAIN}"


def test_clocks_are_of_the_delays_as_they_are() -> None:
    old = [entry.config.name for entry in counted() if entry.delays != DELAYS[entry.family].digest]
    assert not old, f"timed before the delays changed: {old}; type: {AGAIN}"


def test_supported_clocks() -> None:
    board = load_board("zcu102")
    (entry,) = [entry for entry in counted() if entry.config == board.accelerator]
    found = supported_clocks(board.accelerator.replace(name="other"), family=board.system.fabric, uram=False)
    assert found == Clocks(
        entry.optimistic_mhz, entry.pessimistic_mhz, entry.hardware == hardware_digest(), entry.paths
    )
    assert found.pessimistic_mhz < found.optimistic_mhz
    unknown = supported_clocks(board.accelerator.replace(experts=32), family=board.system.fabric, uram=False)
    family = [entry for entry in counted() if entry.family == board.system.fabric]
    alike = [entry for entry in family if entry.config.rows * entry.config.lanes <= 64 * 64]
    assert 0 < len(alike) < len(family), "a larger array says nothing of a smaller one"
    assert (unknown.optimistic_mhz, unknown.counted) == (min(e.optimistic_mhz for e in alike), False)
    assert unknown.pessimistic_mhz == min(e.pessimistic_mhz for e in alike)
    larger = load_board("u280").accelerator.replace(experts=32)
    found_larger = supported_clocks(larger, family=board.system.fabric, uram=True)
    assert found_larger.pessimistic_mhz == min(e.pessimistic_mhz for e in family)
    assert supported_clocks(board.accelerator, family="zynq7000", uram=False).optimistic_mhz < found.optimistic_mhz


def test_counts_are_of_the_hardware_as_it_is() -> None:
    old = [entry.config.name for entry in counted() if entry.hardware != hardware_digest()]
    assert not old, f"counted before the hardware changed: {old}; type: {AGAIN}"
