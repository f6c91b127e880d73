"""Runs a command in a process group that is killed when the process that wants it dies: `leash.py PARENT COMMAND...`.

A script of its own (`moesaic.children` runs it) that imports next to nothing, so that it starts in milliseconds.
"""

import ctypes
import os
import resource
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>: a signal for this process when its parent dies


def _kill_group(number: int, frame: FrameType | None) -> None:
    os.killpg(0, signal.SIGKILL)  # this process too


def main(parent: int, command: list[str]) -> int:
    """Exit status of the command; ends by the same signal if it did. 127 if there is no such command."""
    signal.signal(signal.SIGTERM, _kill_group)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call
        return 1
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # by Python, and by what it starts unless told otherwise
    try:
        child = os.posix_spawnp(command[0], command, os.environ, setsigdef=ignored)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's own core file is enough
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
