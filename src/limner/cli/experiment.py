"""`limner experiment`: a table of a paper, or a grid of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from limner.cli.options import (
    Device,
    Few,
    Json,
    Metrics,
    Name,
    Overrides,
    Weights,
    command_line,
    device_kind,
    print_json,
    say,
    say_table,
)
from limner.errors import ConfigError


def experiment(
    name: str | None = None,
    data: Path | None = None,
    *,
    out: Path | None = None,
    scale: str | None = None,
    seeds: Few | None = None,
    jobs: Few | None = None,
    cluster: str | None = None,
    only: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)] = None,
    overrides: Overrides = None,
    metrics: Metrics = None,
    weights: Weights = None,
    split: Name = "test",
    device: Device = "auto",
    times: bool = True,
    only_times: Annotated[bool, Parameter(negative=())] = False,
    report_only: Annotated[bool, Parameter(negative=())] = False,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
    json: Json = False,
) -> None:
    """Train and measure every cell of a table, and write its report; without a name, list them.

    Each cell is an ordinary run in OUT/cells/CELL/seedN. After any interruption the same command
    goes on where each cell stood; cells that are done are not touched. OUT/report.html and
    OUT/report.md hold the published figures beside those measured here.

    **Examples**

    - `limner experiment`
    - `limner experiment losses facades --out losses --seeds 2 --weights weights`
    - `limner experiment skip-connections facades --out skips --scale paper --weights weights`
    - `limner experiment grid.yaml facades --out grid --cluster tcp://head:8786`
    - `limner experiment --out losses --report-only`

    Parameters
    ----------
    name
        A table by its name, or a grid as a YAML file.
    data
        The data set, as for `limner train`.
    out
        The experiment's folder; the table's name if not given.
    scale
        paper: as published; cpu: 128 x 128, half the width, a twentieth of the epochs. cpu if not
        given. A grid has no scale.
    seeds
        Trainings of each cell, with the seeds 0, 1 and so on; 1 if not given. More can be asked
        for later.
    jobs
        Trainings at once; one a core, or one a CUDA device, if not given.
    cluster
        Train on the workers of this dask scheduler (`tcp://HOST:8786`, or the file that it wrote
        with `--scheduler-file`) instead of on this machine.
    only
        Train these cells alone.
    split
        The split to measure on.
    times
        Measure how long an epoch of each cell takes, once all are trained.
    only_times
        Measure that alone, anew, of the cells that are trained.
    report_only
        Write the report of what is done, and train nothing.
    list_
        List the tables.
    """
    if list_ or (name is None and not (report_only or only_times)):
        _list(as_json=json)
        return
    from limner.config import parse_overrides
    from limner.experiments.planning import open_experiment
    from limner.experiments.results import write_report
    from limner.experiments.running import run_experiment, time_epochs

    folder = _folder(name, out)
    if report_only or only_times:
        if only_times:
            kind = device_kind(device)
            time_epochs(folder, data=data, device=kind, weights=weights, cluster=cluster)
        _show(write_report(folder), folder, as_json=json)
        return
    if name is None or data is None:
        raise ConfigError(f"limner experiment {name or 'NAME'} needs a data set: name DATA")
    if cluster is not None and jobs is not None:
        raise ConfigError("--jobs is for this machine, and --cluster has workers: leave one out")
    plan, note = open_experiment(
        name,
        data,
        scale=scale,
        changes=parse_overrides(overrides or []),
        seeds=seeds,
        metrics=[] if metrics is None else [one.strip() for one in metrics.split(",")],
        weights=weights,
        split=split,
    )
    if note:
        say(note, aside=True)
    results = run_experiment(
        plan,
        out=folder,
        only=only or [],
        jobs=jobs,
        cluster=cluster,
        device=device_kind(device),
        weights=weights,
        times=times,
        command=command_line(),
    )
    _show(results, folder, as_json=json)


def _folder(name: str | None, out: Path | None) -> Path:
    if out is None and name is None:
        raise ConfigError("say which experiment: name it, or give its folder as --out")
    return out or Path(Path(str(name)).stem)


def _show(results: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print the main table, aligned, and where the report is."""
    if as_json:
        print_json(results)
        return
    from limner.reporting.experiment_tables import scores

    table = scores(results)
    say_table([table.heads, *table.plain])
    say(f"see {folder / 'report.html'}")


def _list(*, as_json: bool) -> None:
    from limner.experiments.tables import TABLES

    if as_json:
        print_json(
            {
                name: {
                    "title": table.title,
                    "source": table.source,
                    "cells": [cell.name for cell in table.cells],
                }
                for name, table in TABLES.items()
            }
        )
        return
    width = max(map(len, TABLES)) + 2
    for name, table in TABLES.items():
        say(f"{name:<{width}}{table.title} ({len(table.cells)} cells)")
        say(f"{'':<{width}}{table.source}")
