"""What must be the same on every machine, so that results are: this program, Python, and the libraries that compute."""

import functools
import importlib.util
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import moesaic
from moesaic.store import key_of

__all__ = ["Identity", "identity", "told"]

_PARTS = ("api", "boards", "commands", "compiler", "energy", "flow", "golden", "report", "sim")


@dataclass(frozen=True)
class Identity:
    """Versions and digests of one machine.

    Parameters
    ----------
    python, moesaic, numpy, torch, distributed : str
        Versions.
    hardware, program : str
        Digests of the sources: of `moesaic.hw`, and of all else; empty if not known.
    """

    python: str
    moesaic: str
    numpy: str
    torch: str
    distributed: str
    hardware: str = ""
    program: str = ""

    def unlike(self, other: "Identity") -> str:
        """What this one has in place of the other's, in words; empty if they are the same."""
        mine, wanted = asdict(self), asdict(other)
        names = [name for name in mine if mine[name] != wanted[name] and mine[name] and wanted[name]]

        def words(values: dict[str, str]) -> str:
            return ", ".join(f"{name} {values[name]}" for name in names)

        return f"{words(wanted)}, as here, not {words(mine)}" if names else ""


def _digest(*packages: str) -> str:
    """Of the sources of packages, which are not imported for it."""
    parts: list[str | bytes] = []
    for package in packages:
        spec = importlib.util.find_spec(f"moesaic.{package}")
        assert spec is not None and spec.submodule_search_locations, package
        folder = Path(spec.submodule_search_locations[0])
        for path in sorted(folder.rglob("*.py")):
            parts += [f"{package}/{path.relative_to(folder).as_posix()}", path.read_bytes()]
    return key_of(*parts)[:12]


@functools.cache
def identity() -> Identity:
    """This process's. What is edited after the first call does not count: nor is it what this process runs."""
    return Identity(
        python=".".join(platform.python_version_tuple()[:2]),
        moesaic=moesaic.__version__,
        numpy=metadata.version("numpy"),
        torch=metadata.version("torch"),
        distributed=metadata.version("distributed"),
        hardware=_digest("hw"),
        program=_digest(*_PARTS),
    )


def told() -> dict[str, str]:
    """The same for a machine whose `Identity` may have other fields."""
    return asdict(identity())
