"""The counts that come along are of the boards that come along, and of the hardware as it is."""

from moesaic.boards.board import board_names, load_board
from moesaic.boards.estimate import counted
from moesaic.boards.hardware import hardware_digest, meaning

AGAIN = "python -m moesaic.flow.counts micro8 pynq-z2 kv260 zcu104 zcu102 --out boards/counts.json"
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
    kept = [(entry.config, entry.family, entry.uram) for entry in counted()]
    missing = [b.name for b in boards if (b.accelerator, b.family, b.budget.uram > 0) not in kept]
    assert not missing, f"not counted: {missing}; type: {AGAIN}"


def test_counts_are_of_the_hardware_as_it_is() -> None:
    old = [entry.config.name for entry in counted() if entry.hardware != hardware_digest()]
    assert not old, f"counted before the hardware changed: {old}; type: {AGAIN}"
