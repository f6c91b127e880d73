"""A Dask scheduler and workers as processes of their own on the loopback, as a user starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from distributed import Client

HERE = Path(__file__).parent


class DaskProcesses:
    """Started for the tests of one module, and ended after them.

    Parameters
    ----------
    folder : Path
        For their logs and files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, ""
        few = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", env=few)
        self.workers = dict[str, subprocess.Popen[bytes]]()

    def _start(self, what: str, *arguments: str, env: Mapping[str, str] = {}) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dask",
                    what,
                    "--scheduler-file",
                    str(self.folder / "scheduler.json"),
                    *arguments,
                ],
                env={**os.environ, "PYTHONPATH": path, **env},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def worker(self, name: str, *arguments: str, env: Mapping[str, str] = {}) -> None:
        """Start a worker of that name with a cache of its own, unless it runs; wait until the scheduler knows it."""
        if name in self.workers and self.workers[name].poll() is None:
            return
        env = {"XDG_CACHE_HOME": str(self.folder / f"cache-{name}"), **env}
        self.workers[name] = self._start(
            "worker", "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", *arguments, env=env
        )
        with self.client() as client:
            self.address = client.scheduler.address
            while name not in self.names(client):
                assert self.workers[name].poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)

    def names(self, client: Client) -> dict[str, str]:
        """Addresses of the workers by their names."""
        known = client.scheduler_info(n_workers=-1)["workers"]
        return {worker["name"]: address for address, worker in known.items()}

    def client(self) -> Client:
        """A client of the scheduler."""
        return Client(scheduler_file=str(self.folder / "scheduler.json"), set_as_default=False, timeout=60)

    def kill(self, name: str) -> None:
        """End a worker as a power cut does."""
        self.workers.pop(name).kill()

    def close(self) -> None:
        """End them all."""
        for process in (*self.workers.values(), self.scheduler):
            process.kill()
            process.wait()
