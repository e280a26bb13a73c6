"""Where the trainings of an experiment run side by side: on this machine, or on a dask cluster.

A task is a process of its own in both (`run_process`): it can be asked for a checkpoint by a
signal, has its own environment and log, and ends with whoever started it. What differs is who
waits for it: a thread here (`LocalWorkers`), a thread of a dask worker there (`ClusterWorkers`).
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from limner import __version__
from limner.errors import ConfigError, LimnerError

POLL = 0.2
"""Seconds between looks at what runs."""
ANSWER = 10.0
"""Seconds that a scheduler may take to answer."""
ONE_THREAD: dict[str, str] = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""The environment of a training on the CPU: no figure depends on how many run beside it."""


@dataclass(frozen=True)
class Task:
    """What one process is to do (`cell.main`), and where its words go."""

    name: str
    spec: dict[str, Any]
    log: Path


@dataclass(frozen=True)
class Begun:
    """A process of a task has begun; a task whose worker died begins again."""

    name: str
    host: str
    pid: int


class Stop(enum.Enum):
    """What a task is asked for: nothing, to end with a checkpoint, or to end at once."""

    NO = ""
    SOON = "soon"
    NOW = "now"


class Outcome(Protocol):
    """A task that was handed in; both engines' futures are such."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def result(self) -> str:
        """Return what went wrong, in one sentence; "" for success."""
        ...


class Workers(Protocol):
    """Places in which tasks run, in the order in which they are handed in.

    `at_once` is how many run side by side; `begun` tells of each process that begins.
    """

    at_once: int
    begun: SimpleQueue[Begun]

    def submit(self, task: Task) -> Outcome:
        """Hand in a task."""
        ...

    def stop(self, how: Stop) -> None:
        """Ask all tasks to end; those that wait do not begin."""
        ...

    def close(self) -> None:
        """End all that still runs, and let the places go."""
        ...


class LocalWorkers:
    """As many processes at once as there are `places`, each with the environment of its place."""

    def __init__(self, places: Sequence[Mapping[str, str]]) -> None:
        self.at_once = len(places)
        self.begun: SimpleQueue[Begun] = SimpleQueue()
        self._how = Stop.NO
        self._threads = ThreadPoolExecutor(len(places), thread_name_prefix="cell")
        self._free: SimpleQueue[Mapping[str, str]] = SimpleQueue()
        for place in places:
            self._free.put(place)

    def submit(self, task: Task) -> Outcome:
        """Hand in a task; it begins as soon as a place is free."""
        return self._threads.submit(self._run, task)

    def _run(self, task: Task) -> str:
        place = self._free.get()
        try:
            return run_process(task, place, begun=self.begun.put, stop=lambda: self._how)
        finally:
            self._free.put(place)

    def stop(self, how: Stop) -> None:
        """Ask all tasks to end."""
        self._how = how

    def close(self) -> None:
        """End all that still runs."""
        self._how = Stop.NOW
        self._threads.shutdown(cancel_futures=True)


def local_workers(device: str, jobs: int | None) -> LocalWorkers:
    """Return places on this machine: one a core, or one a CUDA device, if `jobs` is None.

    More jobs than CUDA devices take turns at the devices.

    Raises:
        ConfigError: `jobs` is below 1, or there is no device.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs {jobs}: give how many trainings at once, from 1")
    if device == "cpu":
        return LocalWorkers([ONE_THREAD] * (jobs or _cores()))
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
    if not devices:
        raise ConfigError("--device cuda: no CUDA device is to be seen: say --device cpu")
    count = jobs or len(devices)
    return LocalWorkers([{"CUDA_VISIBLE_DEVICES": devices[k % len(devices)]} for k in range(count)])


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ClusterWorkers:
    """The workers of a dask scheduler: one task for each of their threads.

    A task whose worker dies is begun again on another one, or on the one that takes its place, and
    goes on from its checkpoint. If the client dies, or the scheduler, all its tasks end.

    Args:
        address: the scheduler's (`tcp://HOST:8786`), or the file that its `--scheduler-file` wrote.
        device: cpu or cuda; on a CUDA cluster each worker has a device of its own.
        shared: files and folders that every worker has to see at the same place.

    Raises:
        ConfigError: the extra is not installed, no scheduler answers, it has no worker, or a worker
            has another version of Limner or does not see what is shared.
    """

    def __init__(self, address: str, *, device: str, shared: Sequence[Path]) -> None:
        try:
            import distributed
        except ImportError:
            raise ConfigError(
                "--cluster needs dask.distributed: pip install 'limner[cluster]', here and where "
                "the workers are"
            ) from None
        file = address.endswith(".json")
        if file and not Path(address).is_file():
            raise ConfigError(
                f"--cluster {address}: there is no such file: name the one that "
                "`dask scheduler --scheduler-file` wrote"
            )
        place: dict[str, Any] = {"scheduler_file" if file else "address": address}
        try:
            # Its methods return plain values here; their types allow for the asynchronous client.
            self._client: Any = distributed.Client(**place, timeout=ANSWER, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"--cluster {address}: no scheduler answers there ({reason}): start one with "
                "`dask scheduler`, or correct the address"
            ) from None
        self.begun: SimpleQueue[Begun] = SimpleQueue()
        try:
            self._check(address, shared)
        except BaseException:
            self._client.close()
            raise
        self.at_once = sum(self._client.nthreads().values())
        self._environment = ONE_THREAD if device == "cpu" else {}
        self._name = f"limner-{uuid.uuid4().hex}"
        self._stop = distributed.Event(self._name, client=self._client)
        self._client.subscribe_topic(self._name, lambda event: self.begun.put(Begun(*event[1])))
        self._futures: list[Any] = []

    def _check(self, address: str, shared: Sequence[Path]) -> None:
        if not self._client.nthreads():
            how = f"--scheduler-file {address}" if address.endswith(".json") else address
            raise ConfigError(
                f"--cluster {address} has no workers: start some, `dask worker {how}`"
            )
        paths = [str(path.absolute()) for path in shared]
        for worker, (version, lost) in self._client.run(_look, paths).items():
            if version != __version__:
                raise ConfigError(
                    f"worker {worker} has limner {version}, and this is {__version__}: install the "
                    "same there"
                )
            if lost:
                raise ConfigError(
                    f"worker {worker} does not see {lost[0]}: use a file system that all machines "
                    "share, at the same place"
                )

    def submit(self, task: Task) -> Outcome:
        """Hand in a task."""
        future = self._client.submit(
            _on_worker,
            task,
            self._environment,
            self._name,
            key=f"{task.name} {self._name}",
            pure=False,
            priority=-len(self._futures),
        )
        self._futures.append(future)
        return _ClusterOutcome(future)

    def stop(self, how: Stop) -> None:
        """Ask all tasks to end."""
        if how is Stop.NOW:
            self._client.cancel(self._futures)
        else:
            self._stop.set()

    def close(self) -> None:
        """Leave the cluster; tasks that still run end with a checkpoint."""
        self._client.cancel(self._futures)
        self._client.close()


@dataclass(frozen=True)
class _ClusterOutcome:
    future: Any

    def done(self) -> bool:
        return self.future.done()

    def result(self) -> str:
        try:
            return self.future.result()
        except Exception as error:  # whatever the scheduler says of a task that it gave up
            return f"the cluster gave it up: {str(error).partition(chr(10))[0] or repr(error)}"


def _look(paths: Sequence[str]) -> tuple[str, list[str]]:
    """Return this worker's version of Limner, and which of the paths it does not see."""
    return __version__, [path for path in paths if not Path(path).exists()]


def _on_worker(task: Task, environment: Mapping[str, str], name: str) -> str:
    """Run a task on a dask worker; it ends early if the client asks for it, or is gone."""
    from distributed import Event, get_worker

    worker = get_worker()
    key = worker.get_current_task()
    event = Event(name)

    def begun(one: Begun) -> None:
        worker.log_event(name, (one.name, one.host, one.pid))

    def stop() -> Stop:
        running = worker.state.tasks.get(key)
        # The scheduler takes a task back when its client has gone or cancels it.
        if running is None or running.state != "executing":
            return Stop.SOON
        try:
            return Stop.SOON if event.is_set() else Stop.NO
        except OSError:  # the scheduler has gone, and this worker with it
            return Stop.SOON

    return run_process(task, environment, begun=begun, stop=stop)


def run_process(
    task: Task,
    environment: Mapping[str, str],
    *,
    begun: Callable[[Begun], object],
    stop: Callable[[], Stop],
) -> str:
    """Do a task in a process of its own, and return what went wrong; "" for success.

    Args:
        task: what to do.
        environment: what the process gets besides this one's.
        begun: called once it has begun.
        stop: asked again and again whether to end it. SOON is passed on as SIGTERM, on which a
            training writes a checkpoint and ends.
    """
    if stop() is not Stop.NO:
        return "it was stopped before it began"
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        # A session of its own: Ctrl-C on the terminal is the parent's to pass on.
        process = subprocess.Popen(
            [sys.executable, "-m", "limner.experiments.cell"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    pipe = process.stdin
    assert pipe is not None  # it was asked for
    try:
        begun(Begun(task.name, socket.gethostname(), process.pid))
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and its log says why
            pipe.write(json.dumps(task.spec).encode() + b"\n")
            pipe.flush()
        asked = Stop.NO
        while process.poll() is None:
            how = stop()
            if how is not asked:
                process.send_signal(signal.SIGTERM if how is Stop.SOON else signal.SIGKILL)
                asked = how
            time.sleep(POLL)
    finally:
        # On any other way out: a closed pipe ends a process at once, as its parent's death does.
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
        if process.poll() is None:
            process.kill()
        process.wait()
    return _trouble(process.returncode, task.log)


def _trouble(status: int, log: Path) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}; see {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("limner: ") if lines else "it said nothing"
    return f"{last} (in {log})"


# Seeing tasks through


class Stopped(LimnerError):  # noqa: N818 (no error: the user asked for it)
    """A signal ended the experiment after every training had written a checkpoint."""

    def __init__(self, out: Path, signum: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signum).name}; everything is kept in {out}: repeat the "
            "command to go on"
        )
        self.exit_code = 128 + signum


def see_through(
    tasks: Sequence[Task],
    workers: Workers,
    *,
    out: Path,
    started: Callable[[Begun], None],
    running: Callable[[str], None],
    ended: Callable[[str, str], None],
) -> None:
    """Hand in every task and wait for all of them.

    Args:
        tasks: in the order in which they begin.
        workers: where they run; closed by the caller.
        out: the experiment's folder, for the message when it is stopped.
        started, running, ended: called with a task's process when it begins; with its name every
            second while it lasts; and with its name at its end, and what went wrong or "".

    Raises:
        Stopped: after SIGINT or SIGTERM, when all tasks have ended. A second signal ends them at
            once.
    """
    begun: set[str] = set()
    looked = time.monotonic()
    with _signals() as caught:
        left = {task.name: workers.submit(task) for task in tasks}
        while left:
            time.sleep(POLL)
            if caught:
                workers.stop(Stop.SOON if len(caught) == 1 else Stop.NOW)
            over = [name for name, outcome in left.items() if outcome.done()]
            news = [workers.begun.get() for _ in range(workers.begun.qsize())]
            # A process that begins takes the place of one that has ended: that one is told first.
            for name in sorted(over, key=lambda name: name not in begun):
                for process in news:
                    if process.name == name and not caught:
                        started(process)
                trouble = left.pop(name).result()
                if not caught:
                    ended(name, trouble)
            for process in news:
                if process.name in left and not caught:
                    begun.add(process.name)
                    started(process)
            if not caught and time.monotonic() - looked >= 1:
                looked = time.monotonic()
                for name in begun & left.keys():
                    running(name)
        if caught:
            raise Stopped(out, caught[0])


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM while the block runs (where it is the main thread's)."""
    caught: list[int] = []

    def take(signum: int, frame: object) -> None:
        caught.append(signum)

    try:
        before = {name: signal.signal(name, take) for name in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield caught
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
