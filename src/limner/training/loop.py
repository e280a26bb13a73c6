"""The loop: every remaining step, and what happens between them."""

from __future__ import annotations

import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limner.errors import DataError, LimnerError, TrainingError
from limner.objective import Objective
from limner.run import newest, step_of
from limner.training.checkpoint import save_checkpoint
from limner.training.datasets import TrainingData
from limner.training.discriminator_weights import begin_epoch
from limner.training.events import Events, Progress
from limner.training.observed import Health
from limner.training.parts import FIELDS
from limner.training.state import State, average_buffers, set_learning_rates
from limner.training.step import Update, training_step, update_in_turn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Several processes ask each other this often whether one of them was told to stop.
STEPS_BETWEEN_AGREEMENTS = 8
# With several processes a signal lets the present wait for data last so many seconds more.
GRACE = 10.0


class Interrupted(LimnerError):  # noqa: N818 (no error: the user asked for it)
    """A signal stopped the training after a checkpoint was written.

    Args:
        run: the folder.
        signum: the signal.
        step: that of the newest checkpoint.
        waiting: whether data were waited for that did not come.
    """

    def __init__(self, run: Path, signum: int, step: int, *, waiting: bool = False) -> None:
        name = signal.Signals(signum).name
        where = "while data were waited for; what was learnt until" if waiting else "at"
        kept = "is kept" if waiting else "; everything is kept"
        super().__init__(
            f"stopped by {name} {where} step {step}{' ' if waiting else ''}{kept} in {run}: "
            "repeat the command with --resume to go on"
        )
        self.exit_code = 128 + signum


@dataclass
class Loop:
    """The remaining steps of a training: train, log, validate, save, and again.

    What it draws and measures it is given: `samples` writes a sheet and returns its path,
    `validation` returns named figures, `is_better` compares two of a metric's, `health` looks at
    the two networks every `training.health` steps.
    """

    state: State
    data: TrainingData
    out: Path
    events: Events
    objective: Objective
    samples: Callable[[State], Path]
    validation: Callable[[State], dict[str, float]] | None
    is_better: Callable[[str, float, float | None], bool]
    bar: Progress | None = None
    update: Update = update_in_turn
    health: Health | None = None
    means: Means = field(init=False)
    lr: float = 0.0
    waited: float = 0.0  # when the wait for the present step's batch began
    saved: int | None = None  # the step of the newest checkpoint

    def run(self) -> None:
        """Take every remaining step; end with a checkpoint."""
        state, data = self.state, self.data
        self.means = Means(state.fabric.device)
        started = time.monotonic()
        checkpoint = newest(self.out)
        self.saved = None if checkpoint is None else step_of(checkpoint)
        for note in data.notes if state.step == 0 else ():
            self.events.emit("note", text=note)
        if state.step == 0 < data.total_steps and state.config.training.samples_every is not None:
            self._draw()  # a wrong direction is seen before it is learnt
        if data.total_steps == 0:
            improved = self._validate(last=True)
            self._save(now=True, best=improved)
        with _Signals(alone=state.fabric.world_size == 1) as signals:
            batches = data.batches(state.step)
            while state.step < data.total_steps:
                batch = self._next(batches, signals)
                if batch is not None:
                    self._train(batch)
                last = state.step == data.total_steps
                stop = 0 if last else self._agreed(signals.caught)
                self._log(now=last or bool(stop))
                improved = batch is not None and self._validate(last=last)
                self._save(now=improved or last or bool(stop), best=improved)
                if stop:
                    name = signal.Signals(stop).name
                    self.events.emit("interrupted", step=state.step, signal=name)
                    raise Interrupted(self.out, stop, state.step)
        self.events.emit("finished", step=state.step, seconds=round(time.monotonic() - started, 3))

    def _next(self, batches: Iterator[dict[str, Any]], signals: _Signals) -> dict[str, Any] | None:
        """Return the next batch, or None where a signal came before it.

        Raises:
            TrainingError: a worker ended, or hands nothing over. DataError: a file is damaged.
                What was learnt until then is kept.
        """
        self.waited = time.perf_counter()
        try:
            with signals.waiting():
                return next(batches)
        except _Waiting:
            if self.state.fabric.world_size == 1:
                return None
            # The others are within their step, so nothing can be agreed on any more.
            raise Interrupted(self.out, signals.caught[0], self.saved or 0, waiting=True) from None
        except (TrainingError, DataError) as error:
            kept = "the last checkpoint"
            if self.state.fabric.world_size == 1:  # else the others are within their step
                self._log(now=True)
                self._save(now=True, best=False)
                kept = f"step {self.state.step}"
            raise type(error)(f"{error}; --resume goes on from {kept} in {self.out}") from error

    def _train(self, given: dict[str, Any]) -> None:
        """Take one step; its time is that of the data, too."""
        state = self.state
        warm = state.step == (state.config.training.discriminator_warmup or 0)
        if not self.means.steps or state.step % self.data.steps_per_epoch == 0 or warm:
            self.lr = self._begin_epoch()
        batch = {key: value for key, value in given.items() if key in FIELDS}
        batch = state.fabric.to_device(batch)
        scalars = training_step(state, batch, self.objective, update=self.update)
        every = state.config.training.health
        if self.health is not None and every is not None and state.step % every == 0:
            scalars |= self.health(state, batch, self.objective)
        self.means.add(scalars, seconds=time.perf_counter() - self.waited)
        if self.bar is not None:
            self.bar.advance(state.step)

    def _begin_epoch(self) -> float:
        """Set the learning rates and the discriminators' weights of the present epoch.

        The weights' event bears the number of the first step that they act on, so that it stands
        in the log once, whether a resume begins before or after that step.
        """
        state, config = self.state, self.state.config
        weighting = state.discriminator_weights
        done, within = divmod(state.step, self.data.steps_per_epoch)
        before = weighting.weights
        if within == 0 or config.objective.weighting != "adaptive":
            begin_epoch(weighting, done + 1, config=config, fabric=state.fabric)
        several = len(state.discriminators) > 1 or config.objective.weights is not None
        if several and (within == 0 or weighting.weights != before):
            first = state.step + 1
            self.events.emit("weights", step=first, epoch=done + 1, weights=weighting.shares)
        return set_learning_rates(state, done + 1)

    def _log(self, *, now: bool) -> None:
        """Write the mean of the scalars since the last line; stop at what is not finite."""
        state, config = self.state, self.state.config
        if not self.means.steps or not (
            now
            or state.step % config.training.log_every == 0
            or self._due(config.training.checkpoint_every)
            or (self.validation is not None and self._due(config.validation.every))
        ):
            return
        means = self.means.values(state.fabric)
        broken = [key for key, value in means.items() if not math.isfinite(value)]
        if broken:
            raise TrainingError(
                f"{broken[0]} is {means[broken[0]]} at step {state.step}: training stopped, and "
                "the last good checkpoint stands; lower training.lr or use "
                "training.precision=32-true, then --resume with --allow for what you changed"
            )
        self.events.emit(
            "train",
            step=state.step,
            epoch=self._epoch,
            lr=self.lr,
            seconds_per_step=round(self.means.seconds / self.means.steps, 6),
            **{key: round(value, 6) for key, value in means.items()},
        )
        self.means = Means(state.fabric.device)

    def _validate(self, *, last: bool) -> bool:
        """Draw samples and measure, where due; return whether the best figure was beaten."""
        state, config = self.state, self.state.config
        validate = self.validation is not None and (self._due(config.validation.every) or last)
        sample = config.training.samples_every is not None and (
            self._due(config.training.samples_every) or last
        )
        if not (validate or sample):
            return False
        improved = False
        average_buffers(state)
        if sample:
            self._draw()
        if state.fabric.is_global_zero and validate and self.validation is not None:
            values = self.validation(state)
            self.events.emit("validation", step=state.step, epoch=self._epoch, **values)
            improved = self._remember_best(values)
        return bool(state.fabric.broadcast(improved))

    def _draw(self) -> None:
        """Write a sheet of the present step, in the first process."""
        if self.state.fabric.is_global_zero:
            name = str(self.samples(self.state).relative_to(self.out))
            self.events.emit("samples", step=self.state.step, file=name)

    def _remember_best(self, values: dict[str, float]) -> bool:
        """Remember the present step if it is the best by the chosen metric."""
        state, metric = self.state, self.state.config.validation.best
        if metric is None:
            return False
        better = self.is_better(metric, values[metric], state.best["value"] if state.best else None)
        if better:
            state.best = {"metric": metric, "value": values[metric], "step": state.step}
        return better

    def _save(self, *, now: bool, best: bool) -> None:
        """Write a checkpoint where it is due or asked for."""
        state = self.state
        if not (now or self._due(state.config.training.checkpoint_every)):
            return
        if self.saved == state.step:
            return
        if save_checkpoint(state, self.out) is not None:
            self.events.emit("checkpoint", step=state.step, best=best)
        self.saved = state.step
        state.fabric.barrier()

    @property
    def _epoch(self) -> float:
        return round(self.state.step / self.data.steps_per_epoch, 4)

    def _due(self, every: float | None) -> bool:
        """Whether something done every so many epochs is due at this step."""
        if every is None:
            return False
        return self.state.step % max(1, round(every * self.data.steps_per_epoch)) == 0

    def _agreed(self, caught: list[int]) -> int:
        """Return the signal to stop for; several processes agree on it every few steps."""
        signum = caught[0] if caught else 0
        if self.state.fabric.world_size == 1:
            return signum
        if self.state.step % STEPS_BETWEEN_AGREEMENTS:
            return 0
        shared = self.state.fabric.all_reduce(torch.tensor(signum), reduce_op="max")
        return int(shared)  # pyright: ignore[reportArgumentType]


class Means:
    """Means of named scalars over the steps that had them (r1 may come every few steps)."""

    def __init__(self, device: torch.device) -> None:
        self.sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        self.counts: dict[str, int] = defaultdict(int)
        self.steps, self.seconds = 0, 0.0

    def add(self, scalars: Mapping[str, Tensor], *, seconds: float = 0.0) -> None:
        """Take one step's scalars; they stay on their device until `values` is asked for."""
        for key, value in scalars.items():
            self.sums[key] = self.sums[key] + value
            self.counts[key] += 1
        self.steps += 1
        self.seconds += seconds

    def values(self, fabric: Fabric | None = None) -> dict[str, float]:
        """Return the mean of each scalar, over all processes; every process takes part."""
        means = {key: value / self.counts[key] for key, value in self.sums.items()}
        if fabric is not None and fabric.world_size > 1 and means:
            together: Any = fabric.all_reduce(torch.stack(list(means.values())), reduce_op="mean")
            means = dict(zip(means, together, strict=True))
        return {key: float(value) for key, value in means.items()}


class _Waiting(BaseException):
    """A signal that came while a batch was waited for."""


class _Signals:
    """Collects SIGINT and SIGTERM in `caught`; a second one of either ends the process at once.

    In the midst of a step a signal waits for its end. While a batch is waited for, which may take
    for ever, it ends the wait; where several processes must agree first (`alone` is false), only
    once the batch has not come for `GRACE` seconds more.
    """

    def __init__(self, *, alone: bool) -> None:
        self.caught: list[int] = []
        self.alone, self.breaks = alone, False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self.before[signum] = signal.signal(signum, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def _take(self, signum: int, frame: object) -> None:
        self.caught.append(signum)
        signal.signal(signum, signal.SIG_DFL)
        if self.breaks:
            self._end_the_wait()

    def _end_the_wait(self) -> None:
        if self.alone:
            raise _Waiting
        self.before.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, self._overdue))
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _overdue(self, signum: int, frame: object) -> None:
        if self.breaks:
            raise _Waiting

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal end the block by `_Waiting`, also one that came before it."""
        self.breaks = True
        try:
            if self.caught:
                self._end_the_wait()
            yield
        finally:
            self.breaks = False
            if self.caught and not self.alone:
                signal.setitimer(signal.ITIMER_REAL, 0)
