"""What a process started ends with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moesaic import leash
from moesaic.children import Children


def _gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process ends (or waits only to be counted) within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def _until(path: Path, lines: int) -> list[int]:
    """Numbers that processes write into a file."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = path.read_text() if path.exists() else ""
        if text.count("\n") == lines:
            return [int(line) for line in text.split()]
        time.sleep(0.02)
    raise TimeoutError(path)


def test_input_output_and_status(tmp_path: Path) -> None:
    done = Children().run(["sh", "-c", "cat; pwd; echo $NAME >&2; exit 3"], feed="é\n", cwd=tmp_path, env={"NAME": "ö"})
    assert (done.returncode, done.stdout) == (3, f"é\n{tmp_path}\nö\n")
    apart = Children().run(["sh", "-c", "echo out; echo err >&2"], stderr=subprocess.PIPE)
    assert (apart.stdout, apart.stderr) == ("out\n", "err\n")
    with (tmp_path / "log").open("wb") as log:
        Children().run(["echo", "log"], stdout=log)
    assert (tmp_path / "log").read_text() == "log\n"
    assert Children().run(["cat"]).stdout == ""  # without input


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGTERM])
def test_the_signal_that_ended_it_is_seen(number: signal.Signals) -> None:
    assert Children().run(["sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"]).returncode == -number


def test_a_missing_command_is_said() -> None:
    done = Children().run(["/nowhere/simulator"])
    assert (done.returncode, done.stdout) == (127, "/nowhere/simulator: No such file or directory\n")


def test_too_long_a_time_ends_all_of_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(subprocess.TimeoutExpired):
        Children().run(["sh", "-c", f"sleep 100 & echo $! >> {pids}; echo $$ >> {pids}; wait"], timeout_s=2)
    assert all(_gone(pid) for pid in _until(pids, 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_all_ends_with_the_process_that_wants_it(number: signal.Signals, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 100 & echo $! >> {pids}; echo $$ >> {pids}; wait"
    code = f"from moesaic.children import Children; Children().run(['sh', '-c', {script!r}])"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        running = _until(pids, 2)
        process.send_signal(number)
    assert all(_gone(pid) for pid in running)


def test_a_parent_that_is_dead_already_starts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, leash.__file__, "1", "touch", str(tmp_path / "file")]
    assert os.getpid() != 1
    assert subprocess.run(command, check=False).returncode == 1
    assert list(tmp_path.iterdir()) == []
