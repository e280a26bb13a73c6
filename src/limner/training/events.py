"""What happens in a training, told to those who listen: the log, TensorBoard, the progress bar."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any, Protocol

from limner.files import AppendedFile, read_events, safe_name, write_text
from limner.terminal import Bars, duration


class Listener(Protocol):
    """Takes every event of a training as it happens."""

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        """Take one event; `fields` are plain values."""

    def close(self) -> None:
        """Finish what is being written."""


class Events:
    """Passes events on to the listeners; silent in all processes but the first."""

    def __init__(self, listeners: list[Listener], *, silent: bool = False) -> None:
        self.listeners = [] if silent else listeners

    def emit(self, event: str, **fields: Any) -> None:
        """Tell every listener of one event."""
        for listener in self.listeners:
            listener(event, fields)

    def close(self) -> None:
        """Close every listener."""
        for listener in self.listeners:
            listener.close()


class JsonLog:
    """RUN/log.jsonl: one event a line, each with `event` and `time` (seconds since 1970)."""

    def __init__(self, run: Path) -> None:
        self.file = AppendedFile(run / "log.jsonl")

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        """Append one line."""
        plain = {key: _json_safe(value) for key, value in fields.items()}
        self.file.add_line(json.dumps({"event": event, "time": round(time.time(), 3), **plain}))

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _json_safe(value: Any) -> Any:
    """JSON has no NaN and no infinity: say them as words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def forget_after(run: Path, step: int) -> None:
    """Remove from the log what happened after `step`: a resume will do it again."""
    kept = [event for event in read_events(run) if event.get("step", 0) <= step]
    write_text(run / "log.jsonl", "".join(json.dumps(event) + "\n" for event in kept))


class TensorBoardLog:
    """RUN/events.*: every scalar with a slash in its name, and the sample sheets.

    TensorBoard's own writer has a thread that ends in a traceback on a full disk; its records are
    appended here as any other.
    """

    def __init__(self, run: Path, *, first_step: int) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        messages: Any = event_pb2  # generated: no type checker sees into it
        self.run, self.event = run, messages.Event
        name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}"
        self.file = AppendedFile(run / safe_name(name))
        self.records = RecordWriter(self)
        self._record(file_version="brain.Event:2")
        if first_step:  # what was shown from here on is forgotten
            again = messages.SessionLog(status=messages.SessionLog.START)
            self._record(step=first_step + 1, file_version="brain.Event:2")
            self._record(step=first_step + 1, session_log=again)

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        """Write what has a place in TensorBoard."""
        from torch.utils.tensorboard import summary

        step = fields.get("step", 0)
        if event in ("train", "validation"):
            for key, value in fields.items():
                if key not in ("step", "epoch") and isinstance(value, int | float):
                    tag = key if "/" in key else f"{event}/{key}"
                    self._record(step=step, summary=summary.scalar(tag, value))
        elif event == "weights":
            for number, weight in enumerate(fields["weights"]):
                self._record(step=step, summary=summary.scalar(f"weights/{number}", weight))
        elif event == "samples":
            import numpy as np
            from PIL import Image

            with Image.open(self.run / fields["file"]) as sheet:
                pixels = np.array(sheet.convert("RGB"))
            self._record(step=step, summary=summary.image("samples", pixels, dataformats="HWC"))

    def _record(self, **fields: Any) -> None:
        self.records.write(self.event(wall_time=time.time(), **fields).SerializeToString())

    def write(self, record: bytes) -> None:
        """Take one record, framed, of TensorBoard's `RecordWriter`."""
        self.file.add(record)

    def close(self) -> None:
        """Close the event file."""
        self.file.close()


class Progress:
    """A bar on a terminal; elsewhere a line now and then."""

    seconds_between_lines = 30.0

    def __init__(self, *, total: int, done: int) -> None:
        from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bars = Bars(
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self.bar = self.bars.add("training", total=total, done=done)
        self.total, self.last_line = total, 0.0
        self.bars.start()

    def advance(self, step: int) -> None:
        """Move the bar to `step`."""
        self.bars.update(self.bar, done=step)

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        """Show the newest figures beside the bar, and what interrupts it above."""
        if event == "start":
            for line in fields.get("introduction", ()):
                self.bars.say(line)
        elif event == "train":
            shown = {key: fields[key] for key in _SHOWN if key in fields}
            words = "  ".join(f"{key} {value:.3f}" for key, value in shown.items())
            self.bars.update(self.bar, words=words)
            now = time.monotonic()
            if not self.bars.on_terminal and now - self.last_line > self.seconds_between_lines:
                self.last_line = now
                seconds = fields["seconds_per_step"]
                left = duration(seconds * (self.total - fields["step"]))
                self.bars.say(
                    f"step {fields['step']} of {self.total}, {seconds:.3f} s a step, about {left} "
                    f"left  {words}"
                )
        elif event == "validation":
            left_out = ("step", "epoch", "images")  # and the losses' terms, which are many
            metrics = {k: v for k, v in fields.items() if k not in left_out and "/" not in k}
            figures = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items())
            self.bars.say(f"step {fields['step']}: validation  {figures}")
        elif event == "transfer":
            self.bars.say(f"{fields['loaded']} tensors begin as those of {fields['run']}")
            for what, names in (
                ("with source channels carried over", list(fields["remapped"])),
                ("begin anew", fields["initialised"]),
            ):
                if names:
                    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                    self.bars.say(f"{len(names)} {what}: {', '.join(names[:5])}{more}")
        elif event in ("note", "finding"):
            self.bars.say(str(fields["text"]))

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bars.close()


_SHOWN = ("g/gan", "g/l1", "d/real", "d/fake")
