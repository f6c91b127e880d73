"""A Dask scheduler with workers that are like this machine: one that runs, or one on this machine for the while."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dask
from distributed import Client, LocalCluster, Security
from distributed.comm import connect

from moesaic.errors import InputError
from moesaic.flow.cluster.address import local_workers
from moesaic.flow.cluster.identity import Identity, identity, told
from moesaic.flow.stages import Stages

__all__ = ["ANSWER_S", "check_workers", "connected"]

ANSWER_S = 10.0  # within which a scheduler answers
_PACKAGES = ("moesaic", "numpy", "torch", "distributed")
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1 TB"}  # programs are large, and known to be


def _installed(packages: Mapping[str, str | None]) -> Identity:
    """Of a machine, as Dask tells it without running anything of ours."""
    python = ".".join((packages["python"] or "").split(".")[:2])
    versions = {name: packages.get(name) or "none" for name in _PACKAGES}
    return Identity(python=python, **versions)


def check_workers(found: Mapping[str, Identity], threads: Mapping[str, int]) -> None:
    """`InputError` that names the first worker that is unlike this machine, or has several threads."""
    for address, other in sorted(found.items()):
        if unlike := other.unlike(identity()):
            raise InputError(f"worker {address} must have {unlike}")
    for address, number in sorted(threads.items()):
        if number != 1:
            raise InputError(f"worker {address} must have one thread (dask worker --nthreads 1), not {number}")


def _check(client: Client) -> None:
    versions: Any = client.get_versions(packages=list(_PACKAGES))
    check_workers({name: _installed(info["packages"]) for name, info in versions["workers"].items() if info}, {})
    # Only now, with Python and this program known to be the same, may they run something.
    answers = client.run(told)
    check_workers({name: Identity(**answer) for name, answer in answers.items()}, client.nthreads())


def _wait_for_workers(client: Client, cluster: str, stages: Stages) -> None:
    if not client.nthreads():
        stages.say(f"           {cluster} has no worker yet: waiting for one (dask worker {cluster} --nthreads 1)")
    while not client.nthreads():
        time.sleep(0.5)


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dask reports lost connections and killed workers at length; what matters is said in a line."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


async def _ask(address: str, timeout_s: float) -> None:
    """A client would wait for ever for one that takes the connection and says nothing."""
    comm = await asyncio.wait_for(connect(address, **Security().get_connection_args("client")), timeout_s)
    comm.abort()


def _client(address: str, timeout_s: float) -> Client:
    try:
        asyncio.run(_ask(address, timeout_s))
        return Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise InputError(
            f"cluster must be a Dask scheduler that answers within {timeout_s:g} s (dask scheduler), not {address!r}"
        ) from error


@contextlib.contextmanager
def connected(cluster: str, stages: Stages, *, timeout_s: float = ANSWER_S) -> Iterator[Client]:
    """A client of a scheduler with at least one worker, all of them like this machine.

    Parameters
    ----------
    cluster : str
        `local:N`: workers are started, and ended with the block, however that ends. Else a scheduler's address.
    stages : Stages
    timeout_s : float, seconds
        For the scheduler to answer.

    Raises
    ------
    InputError
        If the scheduler does not answer, or a worker is of another version.
    """
    workers = local_workers(cluster)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet_logs())
        stack.enter_context(dask.config.set(_SETTINGS))
        with stages.stage("cluster", f"workers of {cluster}"):
            if workers is None:
                client = stack.enter_context(_client(cluster, timeout_s))
            else:
                local = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",  # any free port
                    silence_logs=logging.CRITICAL,
                    preload=["moesaic.flow.cluster.preload"],
                )
                client = stack.enter_context(_client(stack.enter_context(local).scheduler_address, timeout_s))
            _wait_for_workers(client, cluster, stages)
            _check(client)
        yield client
