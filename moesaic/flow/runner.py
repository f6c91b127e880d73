"""Which runner tasks get: this process, or the workers of a cluster."""

import contextlib
from collections.abc import Iterator

from moesaic.errors import InputError
from moesaic.flow.cluster.address import check_cluster
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Runner

__all__ = ["open_runner"]


@contextlib.contextmanager
def open_runner(cluster: str | None, stages: Stages) -> Iterator[Runner]:
    """Where tasks run while the block does.

    Parameters
    ----------
    cluster : str or None
        `local:N` or the address of a Dask scheduler; None for this process.
    stages : Stages

    Raises
    ------
    InputError
        If Dask is not installed, the scheduler does not answer, or a worker is of another version.
    """
    if cluster is None:
        yield InProcess()
        return
    check_cluster(cluster)
    try:
        from moesaic.flow.cluster.connect import connected
        from moesaic.flow.cluster.runner import DaskRunner
    except ModuleNotFoundError as error:
        raise InputError(f"cluster needs Dask: pip install 'moesaic[cluster]' ({error})") from error
    with connected(cluster, stages) as client:
        yield DaskRunner(client)
