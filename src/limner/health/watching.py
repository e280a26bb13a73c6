"""A training is diagnosed while it goes on: each finding is said once, when it is first seen."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

from limner.errors import DataError
from limner.findings import Finding
from limner.health.diagnosis import diagnose_history
from limner.health.records import history_of_events

FirstAid: TypeAlias = Literal["off", "observe", "suggest"]
LOOKS = 20
"""A training is looked at so many times, at steps that do not depend on where it was resumed."""


class Watcher:
    """Listens to a training's events, and emits `finding` where one above a note is new.

    Args:
        settings: of the run, as config.yaml has them.
        every: steps between lines of the log.
        total: steps of the whole training.
        emit: tells an event to every listener of the training.
        suggest: whether what is said ends with the settings to try first.
        before: events of the log so far, where a training is resumed.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        every: int,
        total: int,
        emit: Callable[..., None],
        suggest: bool = False,
        before: Iterable[dict[str, Any]] = (),
    ) -> None:
        self.settings, self.emit, self.suggest = settings, emit, suggest
        self.every = every * max(1, total // (LOOKS * every))
        self.events: list[dict[str, Any]] = []
        self.said: set[tuple[str, str]] = set()
        for event in before:
            self._remember(event)

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        """Take an event; look at the record where it is time to."""
        self._remember({"event": event, **fields})
        if event == "train" and fields["step"] % self.every == 0:
            self._look()

    def _remember(self, event: dict[str, Any]) -> None:
        if event["event"] in ("train", "validation"):
            self.events.append(event)
        elif event["event"] == "finding":
            self.said.add((event["name"], event["severity"]))

    def _look(self) -> None:
        try:
            history = history_of_events(self.events, self.settings)
        except DataError:
            return
        for finding in diagnose_history(history).findings:
            if finding.severity == "note" or (finding.name, finding.severity) in self.said:
                continue
            self.emit(
                "finding",
                step=history.steps,
                text=self._words(finding),
                **finding.to_json(),
            )

    def _words(self, finding: Finding) -> str:
        if not self.suggest or not finding.remedies:
            return finding.line()
        first = finding.remedies[0]
        settings = " ".join(f"--set {shlex.quote(text)}" for text in first.set)
        how = (
            "stop, and go on with --resume --allow "
            + " --allow ".join(text.partition("=")[0] for text in first.set)
            if first.applies == "running"
            else "start anew with"
        )
        return f"{finding.line()}; {how} {settings}: {first.why}"

    def close(self) -> None:
        """Nothing is held open."""
