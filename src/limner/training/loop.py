"""The loop: every remaining step, and what happens between them."""

from __future__ import annotations

import math
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.errors import LimnerError, TrainingError
from limner.objective import Objective
from limner.training.balance import begin_epoch
from limner.training.callbacks import Samples, Validation, is_better
from limner.training.checkpoint import save_checkpoint
from limner.training.datasets import TrainingData
from limner.training.events import Events, Progress
from limner.training.parts import FIELDS
from limner.training.state import State, average_buffers, set_learning_rates
from limner.training.step import Turns, gan_step, take_turns

# Several processes ask each other this often whether one of them was told to stop.
STEPS_BETWEEN_AGREEMENTS = 8


class Interrupted(LimnerError):  # noqa: N818 (no error: the user asked for it)
    """A signal stopped the training after a checkpoint was written."""

    def __init__(self, run: Path, signum: int, step: int) -> None:
        name = signal.Signals(signum).name
        super().__init__(
            f"stopped by {name} at step {step}; everything is kept in {run}: "
            "repeat the command with --resume to go on"
        )
        self.exit_code = 128 + signum


@dataclass
class Loop:
    """One pass through the remaining steps, with all that happens between them."""

    state: State
    data: TrainingData
    out: Path
    events: Events
    samples: Samples
    validation: Validation | None
    bar: Progress | None
    objective: Objective
    turns: Turns = take_turns

    def run(self) -> None:
        """Take every remaining step; end with a checkpoint."""
        state, data = self.state, self.data
        settings = state.config.training
        sums = Means(state.fabric.device)
        started = time.monotonic()
        count, busy, lr = 0, 0.0, 0.0
        for note in data.notes if state.step == 0 else ():
            self.events.emit("note", text=note)
        with _signals() as caught:
            batches = data.batches(state.step)
            while state.step < data.total_steps:
                begun = time.perf_counter()
                if count == 0 or state.step % data.steps_per_epoch == 0:
                    lr = self._begin()
                batch = next(batches)
                tensors = {key: value for key, value in batch.items() if key in FIELDS}
                tensors = state.fabric.to_device(tensors)
                scalars = gan_step(state, tensors, self.objective, turns=self.turns)
                sums.add(scalars)
                count += 1
                busy += time.perf_counter() - begun
                if self.bar is not None:
                    self.bar.advance(state.step)
                last = state.step == data.total_steps
                stop = 0 if last else self._agreed(caught)
                if state.step % settings.log_every == 0 or last or stop or self._due_any():
                    self._log(sums, count, busy, lr)
                    sums.clear()
                    count, busy = 0, 0.0
                self._between_steps(last=last, stopped=bool(stop))
                if stop:
                    name = signal.Signals(stop).name
                    self.events.emit("interrupted", step=state.step, signal=name)
                    raise Interrupted(self.out, stop, state.step)
        self.events.emit("finished", step=state.step, seconds=round(time.monotonic() - started, 3))

    def _begin(self) -> float:
        """Set the learning rates and the discriminators' weights of the present epoch.

        The weights' event bears the number of the first step that they act on, so that it stands
        in the log once, whether a resume begins before or after that step.
        """
        state, balance, objective = self.state, self.state.balance, self.state.config.objective
        done, within = divmod(state.step, self.data.steps_per_epoch)
        before = balance.weights
        if within == 0 or objective.weighting != "adaptive":
            begin_epoch(balance, done + 1, config=state.config, fabric=state.fabric)
        several = len(state.discriminators) > 1 or objective.weights is not None
        if several and (within == 0 or balance.weights != before):
            first = state.step + 1
            self.events.emit("weights", step=first, epoch=done + 1, weights=balance.shares)
        return set_learning_rates(state, done + 1)

    def _agreed(self, caught: list[int]) -> int:
        """Return the signal to stop for; several processes agree on it every few steps."""
        signum = caught[0] if caught else 0
        if self.state.fabric.world_size == 1:
            return signum
        if self.state.step % STEPS_BETWEEN_AGREEMENTS:
            return 0
        shared = self.state.fabric.all_reduce(torch.tensor(signum), reduce_op="max")
        return int(shared)  # pyright: ignore[reportArgumentType]

    def _due(self, every: float | None) -> bool:
        """Whether something done every so many epochs is due at this step."""
        if every is None:
            return False
        return self.state.step % max(1, round(every * self.data.steps_per_epoch)) == 0

    def _due_any(self) -> bool:
        config = self.state.config
        return self._due(config.training.checkpoint_every) or (
            self.validation is not None and self._due(config.validation.every)
        )

    def _log(self, sums: Means, count: int, busy: float, lr: float) -> None:
        """Write the mean of the scalars since the last line; stop at what is not finite."""
        means = sums.values()
        broken = [key for key, value in means.items() if not math.isfinite(value)]
        step = self.state.step
        if broken:
            raise TrainingError(
                f"{broken[0]} is {means[broken[0]]} at step {step}: training stopped, and the last "
                "good checkpoint stands; lower training.lr or use training.precision=32-true, "
                "then --resume with --allow for what you changed"
            )
        self.events.emit(
            "train",
            step=step,
            epoch=round(step / self.data.steps_per_epoch, 4),
            lr=lr,
            seconds_per_step=round(busy / count, 6),
            **{key: round(value, 6) for key, value in means.items()},
        )

    def _between_steps(self, *, last: bool, stopped: bool) -> None:
        """Draw samples, validate and write a checkpoint, whatever is due, in this order."""
        state, config = self.state, self.state.config
        epoch = round(state.step / self.data.steps_per_epoch, 4)
        validate = self.validation is not None and (self._due(config.validation.every) or last)
        sample = config.training.samples_every is not None and (
            self._due(config.training.samples_every) or last
        )
        improved = False
        if validate or sample:
            average_buffers(state)
            if state.fabric.is_global_zero:
                if sample:
                    path = self.samples(state)
                    name = str(path.relative_to(self.out))
                    self.events.emit("samples", step=state.step, file=name)
                if validate and self.validation is not None:
                    values = self.validation(state)
                    self.events.emit("validation", step=state.step, epoch=epoch, **values)
                    improved = self._judge(values)
            improved = bool(state.fabric.broadcast(improved))
        if improved or last or stopped or self._due(config.training.checkpoint_every):
            folder = save_checkpoint(state, self.out)
            if folder is not None:
                self.events.emit("checkpoint", step=state.step, best=improved)
            state.fabric.barrier()

    def _judge(self, values: dict[str, float]) -> bool:
        """Remember the present step if it is the best by the chosen metric."""
        metric = self.state.config.validation.best
        if metric is None:
            return False
        old = self.state.best["value"] if self.state.best else None
        better = is_better(metric, values[metric], old)
        if better:
            self.state.best = {"metric": metric, "value": values[metric], "step": self.state.step}
        return better


class Means:
    """Means of named scalars over the steps that had them (r1 may come every few steps)."""

    def __init__(self, device: torch.device) -> None:
        self.sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        self.counts: dict[str, int] = defaultdict(int)

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Take one step's scalars; they stay on their device until `values` is asked for."""
        for key, value in scalars.items():
            self.sums[key] = self.sums[key] + value
            self.counts[key] += 1

    def values(self) -> dict[str, float]:
        """Return the mean of each scalar."""
        return {key: float(value) / self.counts[key] for key, value in self.sums.items()}

    def clear(self) -> None:
        """Begin anew."""
        self.sums.clear()
        self.counts.clear()


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM; a second one of either ends the process at once."""
    caught: list[int] = []

    def take(signum: int, frame: object) -> None:
        caught.append(signum)
        signal.signal(signum, signal.SIG_DFL)

    before = {name: signal.signal(name, take) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
