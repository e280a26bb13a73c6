"""`limner train` and `limner presets`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from limner.cli.options import (
    Count,
    Few,
    Finite,
    Json,
    Overrides,
    Seed,
    Weights,
    command_line,
    device_kind,
    print_json,
    read_size,
    say,
)

if TYPE_CHECKING:
    from limner.config import Config


def train(
    data: Path,
    *,
    out: Path | None = None,
    preset: str | None = None,
    config: Path | None = None,
    epochs: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=10**9))] | None = None,
    batch_size: Count | None = None,
    size: str | None = None,
    direction: Literal["AtoB", "BtoA"] | None = None,
    seed: Seed | None = None,
    lr: Finite | None = None,
    precision: str | None = None,
    overrides: Overrides = None,
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    allow: Annotated[list[str] | None, Parameter(negative=())] = None,
    allow_findings: Annotated[list[str] | None, Parameter(negative=())] = None,
    device: Annotated[str, Parameter(name=["--device", "--accelerator"])] = "auto",
    devices: Few | None = None,
    weights: Weights = None,
    first_aid: Literal["off", "observe", "suggest"] = "observe",
    json: Json = False,
) -> None:
    """Train a run on a folder of pairs.

    The run's folder holds config.yaml, log.jsonl, TensorBoard events, sample sheets, checkpoints
    and report.html. Ctrl-C writes a checkpoint; the same command with `--resume` goes on, and
    ends where an uninterrupted training would have ended.

    **Examples**

    - `limner train facades --out runs/facades --preset pix2pix --direction BtoA`
    - `limner train facades --preset pix2pix-small --epochs 40 --size 128 --set objective.l1=50`
    - `limner train facades --out runs/facades --resume`
    - `limner train cityscapes --out runs/fine --preset pix2pixhd --from runs/global`
    - `limner train dusk --from runs/day --epochs 50`
    - `limner train dusk --from runs/day --epochs 0`
    - `torchrun --nproc-per-node=2 -m limner train facades --out runs/two --preset pix2pix`

    Parameters
    ----------
    data
        Folder of pairs: side by side, two folders with equal names, or a CSV manifest.
    out
        The run's folder; without it runs/DATA-PRESET-1, or the next number that is free; with
        --resume the last that is not.
    preset
        Where the settings begin: `limner presets` lists them. A resumed run keeps its own.
    config
        A config.yaml where the settings begin instead of a preset.
    epochs, batch_size, seed, lr, precision
        Short for `--set training.epochs=N` and so on; `limner presets --keys` explains each.
    size
        SIDE or HEIGHTxWIDTH of the pictures that are trained on (`data.size`).
    direction
        AtoB or BtoA: which half or folder is the source (`data.direction`).
    start
        A run, Limner's own or imported, whose networks the training begins with; its settings,
        too, where no preset is given. What does not fit begins anew and is named. With --epochs 0
        nothing is trained, but norms' stored statistics are estimated anew on the new sources. A
        preset of pix2pixHD whole begins around a run of its global generator.
    resume
        Go on from the run's newest checkpoint; start where there is none yet.
    allow
        With --resume, a key that may differ from the run's, or `data`; may be repeated.
    allow_findings
        The name of a finding of `limner check` that does not stop the training; may be repeated.
    device
        cpu, cuda or auto.
    devices
        Processes on this machine; more than one is started by torchrun.
    first_aid
        observe says once what `limner diagnose` finds while training; suggest says the settings to
        try, too; off says nothing.
    """
    from limner.api import train as run_training
    from limner.config import parse_overrides, replace
    from limner.errors import ConfigError
    from limner.presets import DEFAULT
    from limner.reporting.run_page import write_report
    from limner.run import run_folder
    from limner.training import Interrupted
    from limner.training.carry_over import settings_from

    begun = config.resolve().parent if config else start.resolve() if start else None
    named = preset or (DEFAULT if begun is None else begun.name)
    out = out or run_folder(data, named, resume=resume)
    if resume and preset is None and config is None:
        config = out / "config.yaml"
        if not config.exists():
            raise ConfigError(f"{out} holds no run to resume: give --preset to start one")
    if start is not None and preset is None and config is None:
        chosen = settings_from(start)
    else:
        chosen = settings_of(preset=preset, config=config)
    flags = {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "data.size": _sides(size),
        "data.direction": direction,
        "seed": seed,
        "training.lr": lr,
        "training.precision": precision,
    }
    paths = {"data.root": str(data), "training.start_from": None if start is None else str(start)}
    changes = {key: value for key, value in {**flags, **paths}.items() if value is not None}
    overridden = parse_overrides(overrides or [])
    if epochs == 0 and start is not None:
        overridden.setdefault("training.statistics", "re-estimate")
    if twice := changes.keys() & overridden.keys():
        raise ConfigError(f"--set {min(twice)} and the command's own word for it: give one of them")
    chosen = replace(chosen, {**overridden, **changes})
    try:
        state = run_training(
            chosen,
            out=out,
            resume=resume,
            allow=tuple(allow or ()),
            allow_findings=tuple(allow_findings or ()),
            accelerator=device_kind(device),
            devices=devices,
            weights=weights,
            progress=True,
            command=command_line(),
            note=""
            if begun is not None or preset is not None or resume
            else f"no --preset was named: {DEFAULT}, `limner presets` lists others",
            first_aid=first_aid,
        )
    except Interrupted:
        if int(os.environ.get("RANK", "0")) == 0:  # torchrun's number of the process
            write_report(out)
        raise
    if not state.fabric.is_global_zero:
        return
    page = write_report(out)
    if json:
        print_json({"run": out, "step": state.step, "best": state.best, "report": page})
    else:
        say(f"trained {state.step} steps; see {page}")


def settings_of(
    *, preset: str | None, config: Path | None, overrides: list[str] | None = None
) -> Config:
    """Return the settings of a preset, pix2pix by itself, or of a file, with texts `key=value`.

    Raises:
        ConfigError: both are given, or what either holds or a text says is wrong.
    """
    from limner.config import parse_overrides, read_config, replace
    from limner.errors import ConfigError
    from limner.presets import DEFAULT
    from limner.presets import preset as named

    if preset is not None and config is not None:
        raise ConfigError(f"--preset {preset} and --config {config}: settings begin at one of them")
    chosen = read_config(config) if config else named(preset or DEFAULT)
    return replace(chosen, parse_overrides(overrides or []))


def _sides(text: str | None) -> list[int] | None:
    """Return [height, width] of SIDE or HEIGHTxWIDTH."""
    if text is None:
        return None
    sides = read_size(f"{text}x{text}" if text.isdecimal() else text, option="--size")
    return None if sides is None else list(sides)


def presets(
    name: str | None = None,
    *,
    keys: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """List the presets, one preset's settings, or every key with its meaning.

    **Examples**

    - `limner presets`
    - `limner presets pix2pix`
    - `limner presets --keys`

    Parameters
    ----------
    name
        Print this preset's description and settings.
    keys
        Print every key that --set takes, with its default and meaning.
    """
    from limner.config import documented_keys, to_yaml
    from limner.presets import PRESETS, about, preset

    if keys:
        known = [item for item in documented_keys() if item.meaning]
        if json:
            print_json([{"key": k.key, "default": k.default, "meaning": k.meaning} for k in known])
            return
        for item in known:
            say(item.key, f"    {item.meaning}")
    elif name is not None:
        config = preset(name)
        if json:
            print_json(config.model_dump(mode="json"))
        else:
            say(*about(name).split("\n"), "", *to_yaml(config).rstrip("\n").split("\n"))
    elif json:
        print_json({known: about(known).splitlines()[0] for known in PRESETS})
    else:
        for known in PRESETS:
            say(f"{known:<18}{about(known).splitlines()[0]}")
