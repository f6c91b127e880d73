"""Tasks on a real Dask scheduler and its workers: the same results, also when a worker is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clustertasks import Built, die, fail, use, wait_unless_last
from daskprocesses import HERE, DaskProcesses

from moesaic.boards.board import load_board
from moesaic.errors import BAD_INPUT, FAILED, FailedRun, InputError, MoesaicError
from moesaic.flow.cluster.address import check_cluster
from moesaic.flow.cluster.connect import check_workers, connected
from moesaic.flow.cluster.identity import identity
from moesaic.flow.cluster.runner import DaskRunner
from moesaic.flow.evaluate import evaluate
from moesaic.flow.explore_space import configurations, default_space
from moesaic.flow.explore_work import Question, forecasts
from moesaic.flow.program import make_program
from moesaic.flow.request import make_request
from moesaic.flow.runner import open_runner
from moesaic.flow.scenes import score_scenes
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Job
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.config import network_of
from moesaic.names import ALL_TASKS

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
    """With two workers, a and b, each with a cache of its own."""
    dask.worker("a")
    dask.worker("b")
    return dask


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


class Told(Stages):
    """Stages that remember their warnings, and touch a file at each."""

    def __init__(self, touched: Path) -> None:
        super().__init__(quiet=True)
        self.touched, self.warnings = touched, list[str]()

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.touched.touch()


def test_scenes_are_the_same_when_a_worker_is_killed(two: DaskProcesses, tmp_path: Path) -> None:
    program = make_program(make_request(model="m3vit-micro", task="depth"), QUIET)[0]
    wanted = score_scenes(program, range(5), QUIET, rtl=False)
    with open_runner(two.address, QUIET) as runner:
        assert isinstance(runner, DaskRunner)
        killing = Killing(runner, two)
        told = Told(tmp_path / "told")
        assert score_scenes(program, range(5), told, rtl=False, runner=killing) == wanted
    (address,) = killing.killed
    assert told.warnings == [f"worker {address} was lost: its tasks run again"]


def test_evaluation_is_the_same(two: DaskProcesses) -> None:
    request = make_request(model="m3vit-micro", task=ALL_TASKS)
    wanted = evaluate(request, QUIET, scenes=20)[1]
    with open_runner(two.address, QUIET) as runner:
        assert evaluate(request, QUIET, scenes=20, runner=runner)[1] == wanted


def test_a_search_is_the_same_when_a_worker_is_killed(two: DaskProcesses, tmp_path: Path) -> None:
    model = network_of(MODELS["m3vit-micro"])
    question, board = Question(model, "semseg", 2, 100), load_board("pynq-z2")
    choices = list(configurations(default_space(board), board, model, Counter()))[:40]
    wanted = forecasts(question, choices, QUIET, workers=1)
    assert len(set(map(str, wanted))) > 5
    with open_runner(two.address, QUIET) as runner:
        assert isinstance(runner, DaskRunner)
        killing = Killing(runner, two)
        told = Told(tmp_path / "told")
        assert forecasts(question, choices, told, runner=killing) == wanted
    (address,) = killing.killed
    assert told.warnings == [f"worker {address} was lost: its tasks run again"]


def test_what_one_worker_has_built_the_other_takes(two: DaskProcesses, tmp_path: Path) -> None:
    made = tmp_path / "made"
    job = Job(name="use", title="", function=use, common=made, items=["x", "y"], needs=lambda item: Built(made))
    with open_runner(two.address, QUIET, shared_cache=str(tmp_path / "shared")) as runner:
        first, second = runner.run(job, QUIET)
    assert first[0] != second[0]  # two processes
    assert first[1] and second[1]  # have found it
    assert len(made.read_text().splitlines()) == 1
    assert list((tmp_path / "shared").rglob("key.tar"))


def test_a_worker_of_another_version_is_sent_away_or_refused(two: DaskProcesses, tmp_path: Path) -> None:
    told, go = Told(tmp_path / "go"), tmp_path / "go"
    # Two wait for the third worker; of the others, enough that it gets one wherever the scheduler puts them.
    job = Job(name="wait", title="", function=wait_unless_last, common=go, items=range(12))
    try:
        with open_runner(two.address, QUIET) as runner:
            two.worker("wrong", "--preload", "wrongversion")
            assert runner.run(job, told) == list(range(12))
        assert told.warnings[0].endswith("must have moesaic 0.1.0, as here, not moesaic 0.0.9: it is sent away")
        two.workers["wrong"].wait(60)
        two.worker("wrong", "--preload", "wrongversion")
        with two.client() as client:
            address = two.names(client)["wrong"]
        with pytest.raises(InputError) as found, open_runner(two.address, QUIET):
            pass
        assert str(found.value) == f"worker {address} must have moesaic 0.1.0, as here, not moesaic 0.0.9"
    finally:
        two.kill("wrong")


@pytest.mark.parametrize(
    ("item", "status", "text"),
    [
        ("input", BAD_INPUT, "rows must be 8, not 9\nand more"),
        ("run", FAILED, "Verilator ended with status 1:\nits log"),
    ],
)
def test_errors_are_those_of_the_tasks(two: DaskProcesses, item: str, status: int, text: str) -> None:
    with open_runner(two.address, QUIET) as runner, pytest.raises(MoesaicError) as found:
        runner.run(Job(name="fail", title="", function=fail, common=None, items=[item]), QUIET)
    assert found.value.exit_status == status
    assert str(found.value).startswith(f"{text}\non worker tcp://127.0.0.1:")


def test_a_task_that_ends_its_workers_is_given_up(two: DaskProcesses) -> None:
    with open_runner(two.address, QUIET) as runner, pytest.raises(FailedRun, match="die 1 must not end its worker"):
        runner.run(Job(name="die", title="", function=die, common=None, items=[0]), QUIET)


def test_a_scheduler_that_leaves_is_one_line(tmp_path: Path) -> None:
    processes = DaskProcesses(tmp_path)
    try:
        with processes.client() as client, pytest.raises(FailedRun, match="scheduler must stay until all is done"):

            def items() -> Iterator[int]:
                yield 0
                processes.scheduler.kill()

            DaskRunner(client).run(Job(name="lost", title="", function=die, common=None, items=items()), QUIET)
    finally:
        processes.close()


def test_ctrl_c_ends_the_workers_that_were_started(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from clustertasks import stay
from moesaic.flow.runner import open_runner
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Job
try:
    with open_runner("local:2", Stages(quiet=True)) as runner:
        runner.run(Job(name="stay", title="", function=stay, common=Path({str(tmp_path)!r}), items=range(2)),
                   Stages(quiet=True))
except KeyboardInterrupt:
    sys.exit(130)
"""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    end = time.monotonic() + 300
    while len(workers := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    printed, _ = process.communicate(timeout=120)
    assert (process.returncode, printed) == (130, "")
    for pid in workers:
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("local", "cluster must be local:N or tcp://HOST:PORT of a Dask scheduler, not 'local'"),
        ("local:0", "cluster must have from 1 to 256 workers on this machine, not 0"),
        ("local:1000", "cluster must have from 1 to 256 workers on this machine, not 1000"),
        ("tcp://node1", "cluster must be local:N or tcp://HOST:PORT of a Dask scheduler, not 'tcp://node1'"),
        ("http://node1:80", "cluster must be local:N or tcp://HOST:PORT of a Dask scheduler, not 'http://node1:80'"),
    ],
)
def test_addresses_that_are_none(cluster: str, message: str) -> None:
    with pytest.raises(InputError) as found:
        check_cluster(cluster)
    assert str(found.value) == message


@pytest.mark.parametrize("listens", [True, False])
def test_a_scheduler_that_does_not_answer(listens: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            server.listen()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError) as found, connected(address, QUIET, timeout_s=0.5):
            pass
    assert str(found.value) == (
        f"cluster must be a Dask scheduler that answers within 0.5 s (dask scheduler), not {address!r}"
    )


def test_without_dask_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("moesaic.flow.cluster.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"^cluster needs Dask: pip install 'moesaic\[cluster\]'"):
        with open_runner("local:2", QUIET):
            pass


def test_workers_must_be_like_this_machine() -> None:
    mine = identity()
    check_workers({"tcp://a:1": mine, "tcp://b:1": replace(mine, hardware="", program="")}, {"tcp://a:1": 1})
    for change in ({"python": "3.10"}, {"hardware": "0123"}, {"program": "0123"}, {"torch": "1.0"}):
        (field, value), *_ = change.items()
        with pytest.raises(InputError) as found:
            check_workers({"tcp://a:1": mine, "tcp://b:1": replace(mine, **change)}, {})
        wanted = f"worker tcp://b:1 must have {field} {getattr(mine, field)}, as here, not {field} {value}"
        assert str(found.value) == wanted
    with pytest.raises(InputError, match=r"worker tcp://b:1 must have one thread .* not 8"):
        check_workers({"tcp://b:1": mine}, {"tcp://b:1": 8})
