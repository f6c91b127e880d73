"""The fuzz of strangers' files in its long form: python tests/fuzz/long.py COUNT [SEED] [KIND ...]"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.run import fuzz
from fuzz.targets import TARGETS, Results
from typer.testing import CliRunner

from moesaic.cli import app


def main(count: int, seed: int, kinds: list[str]) -> None:
    """Fuzz every kind, and say how many files were accepted."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for kind in (*TARGETS, Results):
            if kinds and kind.name not in kinds:
                continue
            (place / kind.name).mkdir()
            if kind is Results:
                run = ["run", "--model", "m3vit-micro", "--task", "all", "--sim", "functional", "--quiet"]
                done = CliRunner().invoke(app, [*run, "--out", str(place / "run")])
                assert done.exit_code == 0, done.stderr
                target = Results(place / kind.name, place / "run")
            else:
                target = kind(place / kind.name)
            begun = time.monotonic()
            accepted = fuzz(target, count, seed)
            print(f"{kind.name}: {count} read, {accepted} accepted, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2, sys.argv[3:])
