"""Makes the helpers in this folder importable by the tests of every folder."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# A shell ignores Ctrl-C for what it starts in the background, and so would all that tests start to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: of two processes, neither then waits for the other's last one."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
