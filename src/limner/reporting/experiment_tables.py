"""An experiment's results in words and tables, for the page and for Markdown alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limner.evaluation.metrics import METRICS
from limner.reporting.score_table import ARROWS, digits, figure
from limner.timing import BUSY

ALONG = (0.1, 0.3, 0.6, 1.0)
"""The parts of a training at which its losses stand in a table."""
PIXELS_ALONE = (
    "Without pretrained weights the pictures are compared pixel by pixel only, which favours blur: "
    "give --weights for fid, fd-vgg16 and lpips."
)
SECONDS = "seconds an epoch"
NOT_RUN = "not run"
DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Text:
    """A table of words: the heads, the rows, and what one must know to read them.

    A line break in a cell stands between a figure and its spread (`plain` takes it away). `best`
    holds the row and column of each figure that is better than all others.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    best: frozenset[tuple[int, int]] = frozenset()

    @property
    def plain(self) -> list[list[str]]:
        """The rows without line breaks."""
        return [[cell.replace("\n", " ") for cell in row] for row in self.rows]


def scores(results: Mapping[str, Any]) -> Text:
    """Return the main table: published figures beside those measured here."""
    rows, metrics, times = results["rows"], results["metrics"], results["times"] or {}
    timed = times.get("cells", {})
    printed = any(_others(row) for row in rows)
    slow = any(_seconds(row) for row in rows)
    heads = ["cell", *(["published"] if printed else [])]
    heads += [f"{metric} {ARROWS[METRICS[metric].better][0]}" for metric in metrics]
    heads += ["published s an epoch"] * slow
    heads += ["s an epoch here", "ratio"] * bool(timed) + ["parameters of G"]
    table = []
    for row in rows:
        cells = [row["label"], *([_others(row) or DASH] if printed else [])]
        cells += [measured(row, metric, len(results["seeds"])) for metric in metrics]
        cells += [_seconds(row) or DASH] * slow
        cells += [*_timed(timed.get(row["cell"]))] * bool(timed)
        count = (row["parameters"] or {}).get("generator")
        table.append((*cells, f"{count:,}" if count else DASH))
    first = 1 + printed
    best = frozenset(
        (_best(rows, metric), first + k)
        for k, metric in enumerate(metrics)
        if _best(rows, metric) is not None
    )
    return Text(tuple(heads), tuple(table), tuple(_notes(results)), best)  # type: ignore[arg-type]


def _others(row: Mapping[str, Any]) -> str:
    """Return the published figures of a row but its times, with what they are."""
    figures = [one for one in row["published"] if one["what"] != SECONDS]
    return ", ".join(f"{one['what']} {one['value']}" for one in figures)


def _seconds(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{o['value']}" for o in row["published"] if o["what"] == SECONDS)


def measured(row: Mapping[str, Any], metric: str, wanted: int) -> str:
    """Return a figure of a row: the mean over its seeds with the spread, or that it was not run."""
    if not row["seeds"]:
        return NOT_RUN
    summary = row["summary"][metric]
    places, text = digits(summary["mean"]), figure(summary["mean"])
    if summary["spread"] == "sd":
        text += f"\n± {summary['sd']:.{places}f}"
    elif summary["interval"]:
        low, high = (f"{bound:.{places}f}" for bound in summary["interval"])
        text += f"\n({low} to {high})" if summary["spread"] == "range" else f"\n[{low}, {high}]"
    return text if summary["seeds"] == wanted else f"{text}, {summary['seeds']} of {wanted} seeds"


def _timed(cell: Mapping[str, Any] | None) -> tuple[str, str]:
    if cell is None:
        return NOT_RUN, NOT_RUN
    epoch = cell["epoch_seconds"]
    places = digits(epoch["median"])
    spread = f"({epoch['low']:.{places}f} to {epoch['high']:.{places}f})"
    return f"{epoch['median']:.{places}f}\n{spread}", f"{cell['ratio']:.3f}"


def _best(rows: Sequence[Mapping[str, Any]], metric: str) -> int | None:
    """Return the row that is best by a metric; None where fewer than two can be compared."""
    means = {k: row["summary"][metric]["mean"] for k, row in enumerate(rows) if row["seeds"]}
    if len(means) < 2:
        return None
    sign = 1 if METRICS[metric].better == "lower" else -1
    first, second = sorted(means, key=lambda k: sign * means[k])[:2]
    return first if means[first] != means[second] else None


def _notes(results: Mapping[str, Any]) -> list[str]:
    """Return what one must know to read the main table."""
    rows, record = results["rows"], results["record"]
    notes = [record["note"]] if record["note"] else []
    kinds = {one["spread"] for row in rows for one in row["summary"].values()}
    if "one seed" in kinds:
        notes.append(
            "One seed, so that the spread over trainings is not known; in square brackets the 95 % "
            "bootstrap interval over the test images."
        )
    if "range" in kinds:
        notes.append("Two seeds: their mean, in round brackets the lower and the higher of them.")
    if "sd" in kinds:
        notes.append("Three or more seeds: mean ± standard deviation over trainings (n - 1).")
    if not record["as_published"]:
        task = record["task"] or "another task, or of one that this record does not name"
        notes.append(
            f"Published figures are left out: they are of {task}, and this is not known to be that."
        )
    if any(row["published"] for row in rows):
        about = sorted({o["note"] for row in rows for o in row["published"] if o["note"]})
        notes += [f"Published: {one}." for one in about]
        if record["scale"] != "paper" or "fid" not in results["metrics"]:
            notes.append(
                "Published figures were made by another metric, at another size or with another "
                "budget than those measured here: compare the order of the cells, not the figures."
            )
    if not any(METRICS[metric].weights for metric in results["metrics"]):
        notes.append(PIXELS_ALONE)
    notes += _missing(rows)
    return notes


def _missing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lost = [row["label"] for row in rows if not row["seeds"]]
    return [f"Not run yet: {', '.join(lost)}."] if lost else []


def along(results: Mapping[str, Any]) -> Text | None:
    """Return the table of losses along the way; None where no cell has any."""
    rows = [row for row in results["rows"] if not row["early"]]
    if not any(row["losses"] for row in rows):
        return None
    kinds = [k for k in ("generator", "discriminator") if any(k in r["losses"] for r in rows)]
    heads = ("cell", *(f"{kind} at {part:.0%}" for kind in kinds for part in ALONG))
    table = []
    for row in rows:
        cells = [row["label"]]
        for kind in kinds:
            values = row["losses"].get(kind, {})
            none = DASH if row["seeds"] else NOT_RUN
            losses = [values.get(f"{part:g}") for part in ALONG]
            cells += [none if loss is None else f"{loss:.4g}" for loss in losses]
        table.append(tuple(cells))
    note = (
        "Means over the last 5 % of the training before each part of it, and over the seeds: the "
        "generator's whole loss as it is trained on, and the mean of the discriminators'."
    )
    return Text(heads, tuple(table), (note,))


def timing(results: Mapping[str, Any]) -> str:
    """Return how epochs were timed, and whether others kept the machine busy."""
    times = results["times"]
    if times is None:
        return "Epochs were not timed yet."
    threads = "one thread" if times["threads"] == 1 else f"{times['threads']} threads"
    others = times["others"]
    text = (
        f"Epochs: median (and range) of {times['rounds']} rounds of {times['steps']} steps, the "
        f"cells by turns in one process, times the steps of an epoch; ratio to "
        f"{times['baseline']}, the median of the rounds' ratios. {times['machine']}, {threads}, "
        f"torch {times['torch']}. Other processes used {others['median']:.0%} of the machine "
        f"meanwhile (at most {others['most']:.0%})"
    )
    if others["median"] > BUSY:
        return f"{text}: it was busy, so the seconds are too long, and the ratios uncertain."
    return f"{text}."


def facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was run, as names and values."""
    record = results["record"]
    cells = list(record["cells"].values())
    trained = sum(len(row["seeds"]) for row in results["rows"] if not row["early"])
    steps = sorted({cell["steps"] for cell in cells})

    def each(value: Callable[[dict[str, Any]], object]) -> str:
        return " or ".join(dict.fromkeys(str(value(cell["config"])) for cell in cells))

    widths = [d.get("width") for cell in cells for d in cell["config"]["discriminators"]]
    others = ", discriminators " + " or ".join(map(str, dict.fromkeys(widths))) if widths else ""
    named = [
        ("Trainings done", f"{trained} of {len(cells) * len(record['seeds'])}"),
        ("Source", record["source"]),
        ("Scale", record["scale"]),
        ("Data", f"{record['data']}, {record['pairs']['pairs']} training pairs"),
        ("Direction", record["direction"]),
        ("Published", record["task"] if record["as_published"] else ""),
        ("Measured on", f"{record['split']}, {_images(results)}"),
        ("Pictures", each(lambda config: "{1} x {0}".format(*config["data"]["size"]))),
        ("Width", f"generator {each(lambda config: config['generator'].get('width'))}{others}"),
        (
            "Each training",
            f"{' or '.join(f'{one:,}' for one in steps)} steps of batch "
            f"{each(lambda config: config['training']['batch_size'])}, "
            f"rate {each(lambda config: format(config['training']['lr'], 'g'))}, "
            f"{each(lambda config: config['training']['precision'])}",
        ),
        ("Preset", record["preset"]),
        ("Settings", " ".join(record["overrides"])),
        ("Seeds", ", ".join(map(str, record["seeds"]))),
        ("Versions", ", ".join(f"{k} {v}" for k, v in results["versions"].items())),
    ]
    return [(name, value) for name, value in named if value]


def _images(results: Mapping[str, Any]) -> str:
    counts = {one["images"] for row in results["rows"] for one in row["seeds"].values()}
    return f"{counts.pop()} images" if len(counts) == 1 else "nothing measured yet"
