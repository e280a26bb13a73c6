"""A training is diagnosed while it goes on: each finding once, also over a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limner.health.watching import Watcher


class Log:
    """Takes what a watcher emits, as the training's events do, and hands it back to it."""

    def __init__(self, **settings: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.settings = {"every": 10, "total": 400, **settings}
        self.watcher = self.watching()

    def watching(self) -> Watcher:
        before = list(self.events)
        return Watcher(
            {"objective": {"gan": "vanilla"}}, emit=self.emit, before=before, **self.settings
        )

    def emit(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})
        self.watcher(event, fields)

    def train(self, first: int, last: int) -> None:
        for step in range(first, last, 10):
            values = {"d/real": 0.02, "d/fake": 0.02, "d/accuracy": 0.99, "g/gan": 5.0, "g/l1": 0.3}
            self.emit("train", step=step, **values)

    @property
    def findings(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "finding"]


def test_a_finding_is_said_once_and_early() -> None:
    log = Log()
    log.train(10, 410)
    (won,) = [each for each in log.findings if each["name"] == "discriminator-wins"]
    assert won["step"] <= 200
    assert json.loads(json.dumps(won))["evidence"]["last_step"] == won["step"]
    assert "--set" not in won["text"]


def test_a_resume_says_what_an_uninterrupted_training_says() -> None:
    whole, parted = Log(), Log()
    whole.train(10, 410)
    parted.train(10, 150)
    parted.watcher = parted.watching()
    parted.train(150, 410)
    assert parted.events == whole.events


def test_suggestions_are_ready_to_type() -> None:
    log = Log(suggest=True)
    log.train(10, 410)
    text = log.findings[0]["text"]
    assert "--allow training.discriminator_lr" in text
    assert "--set training.discriminator_lr=" in text


def test_a_training_says_its_findings_in_the_log_and_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from random_pairs import write_pairs

    from limner.cli import main

    data = write_pairs(tmp_path / "pairs", train=12, val=4, test=4)
    small = ("data.size=32", "data.load_size=36", "generator.width=4", "generator.depth=3",
             "discriminators.0.width=4", "discriminators.0.layers=1", "training.log_every=5",
             "training.health=5", "training.steps=100", "objective.l1=1e5",
             "training.samples_every=null")  # fmt: skip
    words = [word for setting in small for word in ("--set", setting)]
    run = tmp_path / "run"
    command = ["train", str(data), "--preset", "pix2pix-small", *words, "--device", "cpu"]
    assert main([*command, "--out", str(run)]) == 0
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    named = [event["name"] for event in events if event["event"] == "finding"]
    assert named.count("adversarial-drowned") == 1
    assert "adversarial-drowned" in capsys.readouterr().err
    assert "adversarial-drowned" in (run / "report.html").read_text()
    off = tmp_path / "off"
    assert main([*command, "--out", str(off), "--first-aid", "off"]) == 0
    assert '"finding"' not in (off / "log.jsonl").read_text()
