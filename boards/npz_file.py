"""Arrays out of .npz files of strangers: as large as the file says before any of it is made, and never a pickle.

Plain Python 3.10 with numpy: the host runtime on a board reads heads with it.
"""

import math
import stat
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.errors import InputError

__all__ = ["read_npz"]

Array = np.ndarray[Any, np.dtype[Any]]

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # as numpy writes
_ENDING = ".npy"
_WRONG = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,  # a password, methods that are not known
    RecursionError,
    MemoryError,  # of the parser of a header, as are the next
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """An array whose header and size agree."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"{member.filename}: version of the format must be 1.0 or 2.0, not {version}")
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size != member.file_size - file.tell():
            raise ValueError(f"{member.filename}: its header says {size} bytes of {dtype}, the archive otherwise")
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def read_npz(path: Path, *, most: int, what: str, error: type[InputError]) -> dict[str, Array]:
    """All arrays of a file that `numpy.savez` wrote, by name.

    Parameters
    ----------
    path : Path
    most : int, bytes
        Of all arrays together; of a larger file nothing is read.
    what : str
        For messages: what the file is.
    error : type of InputError
        Raised if it is no regular file, damaged, too large, or holds anything but arrays.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a regular file")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > most:
                raise ValueError(f"more than {most:,} bytes of arrays")
            if any(m.compress_type not in _METHODS or not m.filename.endswith(_ENDING) for m in members):
                raise ValueError("not arrays alone")
            return {member.filename[: -len(_ENDING)]: _array(archive, member) for member in members}
    except _WRONG as problem:
        text = str(problem).partition("\n")[0]
        raise error(f"{what} must be a readable .npz file, not {str(path)!r} ({type(problem).__name__}: {text})") from (
            problem
        )
