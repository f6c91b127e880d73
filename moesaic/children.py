"""Commands that end when this process does, however that ends, with everything that they started."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import moesaic

__all__ = ["Children"]

_LEASH = Path(moesaic.__file__).with_name("leash.py")
Stream = int | IO[Any] | None


class Children:
    """Commands that run, perhaps at the same time in several threads, and can be ended together.

    Each is a process group of its own, which is killed when this process dies. The thread that runs one must live until
    it ends: the system takes the thread's end for the process's.
    """

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def stop(self) -> None:
        """End all that run, and at once what may yet be begun."""
        self.stopped = True
        for process in list(self.running):
            self._kill(process)

    @staticmethod
    def _kill(process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        feed: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: Stream = subprocess.PIPE,
        stderr: Stream = subprocess.STDOUT,
        timeout_s: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with `feed` as its input; what it prints is read as UTF-8, whatever the locale.

        Raises
        ------
        subprocess.TimeoutExpired
            After `timeout_s`; the command has then been killed.
        """
        with subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *(str(part) for part in command)],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        ) as process:
            self.running.add(process)
            try:
                if self.stopped:
                    self._kill(process)
                printed, errors = process.communicate(feed, timeout=timeout_s)
            except BaseException:
                self._kill(process)
                raise
            finally:
                self.running.discard(process)
        return subprocess.CompletedProcess(command, process.returncode, printed, errors)
