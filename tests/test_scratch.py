"""Temporary folders go with their process, and what must not be lost is taken out of them first."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from moesaic.flow.folder import new_folder
from moesaic.scratch import scratch


def _killed(code: str) -> None:
    """Run Python code whose last act is to kill itself."""
    code = f"import os, signal\nfrom pathlib import Path\n{code}\n"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL


def test_goes_with_the_block(tmp_path: Path) -> None:
    with pytest.raises(ValueError), scratch(tmp_path) as folder:
        (folder / "file").write_text("")
        assert folder.parent == tmp_path
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    _killed(f"""
from moesaic.scratch import scratch
with scratch(Path({str(tmp_path)!r})) as folder:
    (folder / "file").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
""")
    (left,) = tmp_path.iterdir()
    for name in ("moesaic-work-", "moesaic-work-mine", "moesaic-work-ABCDEFGH", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "moesaic-work-a_file_0").write_text("")
    (tmp_path / "moesaic-work-a_link_0").symlink_to(tmp_path / "other")
    mine = {path for path in tmp_path.iterdir() if path != left}
    with scratch(tmp_path, prefix="another-"):
        assert left.exists()
    with scratch(tmp_path) as folder:
        assert set(tmp_path.iterdir()) == {*mine, folder}


def test_what_a_living_process_uses_stays(tmp_path: Path) -> None:
    with scratch(tmp_path) as mine, scratch(tmp_path) as other:
        code = (
            f"from pathlib import Path; from moesaic import scratch as s\nwith s.scratch(Path({str(tmp_path)!r})): pass"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        assert set(tmp_path.iterdir()) == {mine, other}


def test_a_result_that_was_about_to_be_replaced_survives_a_kill(tmp_path: Path) -> None:
    final = tmp_path / "result"
    final.mkdir()
    (final / "file").write_text("old")
    _killed(f"""
from moesaic.flow.folder import new_folder
with new_folder(Path({str(final)!r})) as folder:
    replace = Path.replace
    def die(path, target):
        if path == folder:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)
    Path.replace = die
""")
    assert not final.exists()
    with pytest.raises(ValueError), new_folder(final):
        assert (final / "file").read_text() == "old"
        raise ValueError
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert os.listdir(final) == ["file"]


class _Interruption:
    """A signal: it is seen where a function begins, or when one that was called has returned."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.left -= event in ("call", "c_return")
        if self.left == 0:
            self.left = -1
            raise KeyboardInterrupt


def test_an_interruption_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    above, earlier = tmp_path / "above", sys.getprofile()
    for moment in range(1, 10_000):
        signalled = _Interruption(moment)
        sys.setprofile(signalled)
        try:
            with new_folder(above / "result"):
                pass
        except (KeyboardInterrupt, OSError):  # `rmtree` closes twice what it was interrupted in closing
            pass
        finally:
            sys.setprofile(earlier)
        if signalled.left > 0:  # the block was done before
            break
        if above.exists():  # too late: the result was in its place
            assert os.listdir(above) == ["result"], moment
            shutil.rmtree(above)
    assert moment > 100
    assert os.listdir(above) == ["result"]
