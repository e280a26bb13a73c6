"""What a run's log and configuration say about it in words: state, facts, events, commands."""

from __future__ import annotations

import dataclasses
import math
import shlex
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from limner.objective import Objective
from limner.terminal import duration

Event = dict[str, Any]
TIMES = "\N{MULTIPLICATION SIGN}"
SHOWN_ELSEWHERE = ("train", "validation", "samples", "checkpoint")


def state(events: Sequence[Event]) -> dict[str, str]:
    """Return how the run stands: a kind for its colour, a word, and the rest of the sentence."""
    turns = ("start", "resume", "finished", "interrupted", "stopped")
    last = next((e for e in reversed(events) if e["event"] in turns), {"event": ""})
    kind = last["event"]
    step = _step(events)
    at = f"at step {step:,}" if step else "before the first step was logged"
    if kind == "finished":
        return {"kind": "finished", "word": "Finished", "rest": f"{at}."}
    if kind == "interrupted":
        rest = f"by {last.get('signal', 'a signal')} {at}; it can be resumed."
        return {"kind": "interrupted", "word": "Interrupted", "rest": rest}
    if kind == "stopped":
        rest = f"{at}: {last.get('reason', 'no reason was logged')}"
        return {"kind": "stopped", "word": "Stopped", "rest": rest}
    if not events:
        return {"kind": "running", "word": "Not started", "rest": "yet: the log is empty."}
    rest = f"{at}: training goes on, or was cut off without a word."
    return {"kind": "running", "word": "Not finished", "rest": rest}


def facts(run: Path, config: dict[str, Any], events: Sequence[Event]) -> list[dict[str, str]]:
    """Return the named facts at the head of the report; what is not known is left out."""
    start = next((e for e in events if e["event"] == "start"), {})
    data = config.get("data") or {}
    named = [
        _fact("Preset", config.get("preset")),
        _fact("Data", start.get("data") or data.get("root"), _pairs(start.get("pairs"))),
        _fact("Pictures", *_pictures(data)),
        _fact("Trained", *_length(config, events)),
        _fact("Started", _when(events[0].get("time")) if events else None),
        _fact("Duration", *_duration(events)),
        _fact("Device", start.get("device"), _plural(start.get("threads"), "thread")),
        _fact("Networks", *_networks(config, start.get("parameters") or {})),
        _fact("Objective", *_objective(config)),
        _fact("Seed", config.get("seed")),
        _fact("Limner", start.get("version")),
        _fact("Run", run),
    ]
    return [fact for fact in named if fact["value"]]


def _fact(name: str, value: object, more: object = None) -> dict[str, str]:
    text = "" if value is None else str(value)
    return {"name": name, "value": text, "more": "" if more is None else str(more)}


def _step(events: Sequence[Event]) -> int:
    return max((int(e["step"]) for e in events if isinstance(e.get("step"), int)), default=0)


def _plural(count: object, noun: str) -> str | None:
    if not isinstance(count, int):
        return None
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _pairs(count: object) -> str | None:
    pairs = _plural(count, "pair")
    return f"{pairs} to train on" if pairs else None


def _pictures(data: dict[str, Any]) -> tuple[str | None, str | None]:
    size = data.get("size")
    if not size:
        return None, None
    height, width = size if isinstance(size, list | tuple) else (size, size)
    more = [f"{data[key]}" for key in ("mode", "direction") if data.get(key)]
    return f"{height} {TIMES} {width}", ", ".join(more)


def _length(config: dict[str, Any], events: Sequence[Event]) -> tuple[str | None, str | None]:
    step = _step(events)
    if not step:
        return None, None
    epochs = [e["epoch"] for e in events if isinstance(e.get("epoch"), int | float)]
    asked = (config.get("training") or {}).get("epochs")
    batch = (config.get("training") or {}).get("batch_size")
    of = f" of {asked}" if asked else ""
    parts = [f"{max(epochs):.4g}{of} epochs"] if epochs else []
    parts += [f"batches of {batch}"] if batch else []
    return f"{step:,} steps", ", ".join(parts)


def _duration(events: Sequence[Event]) -> tuple[str | None, str | None]:
    """Return the time spent, the pauses between a stop and a resume not counted, and the pace."""
    sessions: list[list[float]] = []
    for event in events:
        if event["event"] in ("start", "resume") or not sessions:
            sessions.append([])
        if isinstance(event.get("time"), int | float):
            sessions[-1].append(float(event["time"]))
    spent = sum(max(times) - min(times) for times in sessions if times)
    paces = [e["seconds_per_step"] for e in events if e["event"] == "train"
             and isinstance(e.get("seconds_per_step"), int | float)]  # fmt: skip
    if not spent and not paces:
        return None, None
    pace = f"{statistics.median(paces):.3g} s a step (median)" if paces else None
    return duration(spent), pace


def _networks(config: dict[str, Any], counts: dict[str, Any]) -> tuple[str | None, str | None]:
    generator = config.get("generator") or {}
    discriminators = config.get("discriminators") or []
    if not generator:
        return None, None
    names = [str(generator.get("name")), *(str(d.get("name")) for d in discriminators)]
    sizes = [counts.get("generator"), *(counts.get("discriminators") or [])]
    known = [f"{size:,}" for size in sizes if isinstance(size, int)]
    return " against ".join([names[0], ", ".join(names[1:])]) if names[1:] else names[0], (
        f"{' and '.join(known)} parameters" if known else None
    )


def _objective(config: dict[str, Any]) -> tuple[str | None, str | None]:
    """Name every term of the generator's loss with its weight, as the objective itself has them."""
    settings = config.get("objective") or {}
    known = {field.name for field in dataclasses.fields(Objective)}
    weights = Objective(**{k: v for k, v in settings.items() if k in known}).weights
    if not settings:
        return None, None
    words = {
        "gan": f"{settings.get('gan')} GAN",
        "l1": "L1",
        "l2": "L2",
        "vgg": str(settings.get("vgg_network", "vgg")).upper(),
        "kl": "KL",
    }
    alone = config.get("discriminators") == []
    terms = {k: v for k, v in weights.items() if not (alone and k in ("gan", "feature_matching"))}
    named = [f"{words.get(k, k.replace('_', ' '))} {TIMES} {v:g}" for k, v in terms.items()]
    return " + ".join(named), None


def _when(seconds: object) -> str | None:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def happenings(events: Sequence[Event]) -> list[dict[str, str]]:
    """Return what happened besides training as rows: time, step, text."""
    rows = []
    for event in events:
        if event["event"] in SHOWN_ELSEWHERE:
            continue
        step = event.get("step")
        rows.append(
            {
                "time": (_when(event.get("time")) or "").removesuffix(" UTC"),
                "step": f"{step:,}" if isinstance(step, int) else "",
                "text": _sentence(event),
            }
        )
    return rows


def _sentence(event: Event) -> str:
    """Return one event as words; of a kind not known here, its fields."""
    kind = event["event"]
    if kind == "start":
        return "started"
    if kind == "resume":
        changed = event.get("changed") or {}
        differences = "; ".join(f"{k} was {old} and is {new}" for k, (old, new) in changed.items())
        return f"resumed with {differences}" if differences else "resumed"
    if kind == "finished":
        return "finished"
    if kind == "interrupted":
        return f"interrupted by {event.get('signal', 'a signal')}"
    if kind == "stopped":
        return f"stopped: {event.get('reason', 'no reason was logged')}"
    if kind in ("note", "warning", "finding"):
        return str(event.get("text", ""))
    rest = {k: v for k, v in event.items() if k not in ("event", "time", "step")}
    return " ".join([kind, *(f"{key}={value}" for key, value in rest.items())])


def commands(run: Path, events: Sequence[Event], evaluations: Sequence[Event]) -> list[str]:
    """Return the commands that made this run and measured it, each once."""
    typed = [e.get("command") for e in events if e["event"] in ("start", "resume")]
    typed += [results.get("command") for results in evaluations]
    typed.append(f"limner report {shlex.quote(str(run))}")
    return list(dict.fromkeys(str(command) for command in typed if command))


def evaluate_command(run: Path, events: Sequence[Event], config: dict[str, Any]) -> str:
    """Return the command that measures this run on the data it was trained on."""
    start = next((e for e in events if e["event"] == "start"), {})
    data = str(start.get("data") or (config.get("data") or {}).get("root") or "DATA")
    return f"limner evaluate {shlex.quote(str(run))} {shlex.quote(data)} --split test"
