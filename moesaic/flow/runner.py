"""Which runner tasks get: this process, or the workers of a cluster."""

import contextlib
from collections.abc import Iterator

from moesaic.errors import InputError
from moesaic.flow.cluster.address import check_cluster
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Runner
from moesaic.shared_store import absolute, sharing

__all__ = ["open_runner"]


@contextlib.contextmanager
def open_runner(cluster: str | None, stages: Stages, *, shared_cache: str | None = None) -> Iterator[Runner]:
    """Where tasks run while the block does.

    Parameters
    ----------
    cluster : str or None
        `local:N` or the address of a Dask scheduler; None for this process.
    stages : Stages
    shared_cache : str or None
        Folder or URL where this process and the workers find what others have built, and put what they build.

    Raises
    ------
    InputError
        If Dask is not installed, the scheduler does not answer, a worker is of another version, or the cache cannot be
        read and written.
    """
    if cluster is not None:
        check_cluster(cluster)
    with sharing(shared_cache):
        if cluster is None:
            yield InProcess()
            return
        with _workers(cluster, stages, shared_cache) as runner:
            yield runner


@contextlib.contextmanager
def _workers(cluster: str, stages: Stages, shared_cache: str | None) -> Iterator[Runner]:
    try:
        from moesaic.flow.cluster.connect import connected
        from moesaic.flow.cluster.runner import DaskRunner
    except ModuleNotFoundError as error:
        raise InputError(f"cluster needs Dask: pip install 'moesaic[cluster]' ({error})") from error
    with connected(cluster, stages) as client:
        yield DaskRunner(client, shared_cache=None if shared_cache is None else absolute(shared_cache))
