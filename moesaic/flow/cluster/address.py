"""Where tasks shall run, as it is written on the command line."""

import re

from moesaic.errors import InputError

__all__ = ["MOST_WORKERS", "check_cluster", "local_workers"]

MOST_WORKERS = 256  # processes of one machine
_LOCAL = re.compile(r"local:([0-9]{1,9})")
_SCHEDULER = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[\w.-]+):[0-9]{1,5}")


def local_workers(cluster: str) -> int | None:
    """N of `local:N`; None for the address of a scheduler."""
    found = _LOCAL.fullmatch(cluster)
    return None if found is None else int(found[1])


def check_cluster(cluster: str) -> None:
    """`InputError` if it is neither `local:N` nor the address of a scheduler."""
    workers = local_workers(cluster)
    if workers is None and _SCHEDULER.fullmatch(cluster) is None:
        raise InputError(f"cluster must be local:N or tcp://HOST:PORT of a Dask scheduler, not {cluster!r}")
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise InputError(f"cluster must have from 1 to {MOST_WORKERS} workers on this machine, not {workers}")
