"""Where slow results are kept: one folder for the whole program, on machines without a home too."""

import functools
import os
import stat
import tempfile
import warnings
from pathlib import Path

from moesaic.errors import InputError

__all__ = ["CacheWarning", "cache_root", "home", "settle_matplotlib"]


class CacheWarning(UserWarning):
    """What is slow will not be kept where it belongs."""


def home() -> Path | None:
    """The user's home folder; None if HOME is not set and the system does not know the user."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _wanted() -> Path | None:
    """``$XDG_CACHE_HOME/moesaic`` or ``~/.cache/moesaic``; None without either."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():  # the XDG specification: a relative path is ignored
        return base / "moesaic"
    place = home()
    return place / ".cache" / "moesaic" if place is not None and place.is_absolute() else None


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _private() -> Path:
    """A folder of this user alone beside other temporary files; what somebody else put there is not believed."""
    folder = Path(tempfile.gettempdir()) / f"moesaic-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise InputError(
            f"cache must be a folder that is this user's alone, not {str(folder)!r}; "
            "set XDG_CACHE_HOME to a folder that can be written to"
        )
    return folder


@functools.cache
def _place(wanted: Path | None) -> Path:
    return wanted if wanted is not None and _writable(wanted) else _private()


def cache_root() -> Path:
    """The folder of everything that is kept, which exists and can be written to.

    ``$XDG_CACHE_HOME/moesaic`` or ``~/.cache/moesaic``; where neither can be written to, ``moesaic-UID`` among the
    temporary files, and a `CacheWarning` says so once.

    Raises
    ------
    InputError
        If that one belongs to somebody else.
    OSError
        If there is no place for temporary files either.
    """
    wanted = _wanted()
    place = _place(wanted)
    if place != wanted:
        where = "there is no home folder" if wanted is None else f"{str(wanted)!r} cannot be written to"
        warnings.warn(
            f"{where}: what is slow is kept in {str(place)!r}; set XDG_CACHE_HOME to keep it elsewhere",
            CacheWarning,
            stacklevel=1,  # Python shows a warning of one line of code once
        )
    return place


def settle_matplotlib() -> None:
    """Let Matplotlib keep its list of fonts in the cache: it asks for a home folder of its own and warns without one.

    To be called before Matplotlib is imported. A user's own settings do not change the pictures of a report then.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(_place(_wanted()) / "matplotlib"))
