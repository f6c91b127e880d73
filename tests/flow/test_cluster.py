"""Tasks on a real Dask scheduler and its workers: the same results, also when a worker is lost."""

from collections.abc import Iterator
from typing import Any

import pytest
from daskprocesses import DaskProcesses

from moesaic.flow.cluster.runner import DaskRunner
from moesaic.flow.program import Program, make_program
from moesaic.flow.request import make_request
from moesaic.flow.runner import open_runner
from moesaic.flow.scenes import score_scenes
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Job

QUIET = Stages(quiet=True)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    processes = DaskProcesses(tmp_path_factory.mktemp("dask"))
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture
def two(dask: DaskProcesses) -> DaskProcesses:
    """With two workers, a and b."""
    dask.worker("a")
    dask.worker("b")
    return dask


@pytest.fixture(scope="module")
def program() -> Program:
    return make_program(make_request(model="m3vit-micro", task="depth"), QUIET)[0]


class Killing:
    """A runner that kills a worker, in the midst of its task, as soon as the first result is there."""

    def __init__(self, runner: DaskRunner, dask: DaskProcesses) -> None:
        self.runner, self.dask, self.killed = runner, dask, list[str]()

    def run(self, job: Job[Any, Any, Any], stages: Stages) -> list[Any]:
        def kill(number: int, result: Any) -> None:
            client = self.runner.client
            if not self.killed and (busy := [address for address, tasks in client.processing().items() if tasks]):
                names = {address: name for name, address in self.dask.names(client).items()}
                self.killed.append(busy[0])
                self.dask.kill(names[busy[0]])

        return self.runner.run(job, stages, done=kill)


def test_a_worker_that_is_killed_changes_nothing(two: DaskProcesses, program: Program) -> None:
    wanted = score_scenes(program, range(6), QUIET, rtl=False)
    with open_runner(two.address, QUIET) as runner:
        assert isinstance(runner, DaskRunner)
        killing = Killing(runner, two)
        assert score_scenes(program, range(6), QUIET, rtl=False, runner=killing) == wanted
    assert len(killing.killed) == 1
