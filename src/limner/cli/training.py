"""`limner train` and `limner presets`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from limner.cli.options import Json, Overrides, Weights, command_line, print_json


def train(
    data: Path,
    *,
    out: Path,
    preset: str | None = None,
    overrides: Overrides = None,
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    allow: Annotated[list[str] | None, Parameter(negative=())] = None,
    accelerator: str = "auto",
    devices: int | None = None,
    weights: Weights = None,
    json: Json = False,
) -> None:
    """Train a run on a folder of pairs.

    The run's folder holds config.yaml, log.jsonl, TensorBoard events, sample sheets, checkpoints
    and report.html. Ctrl-C writes a checkpoint; the same command with `--resume` goes on, and
    ends where an uninterrupted training would have ended.

    **Examples**

    - `limner train facades --out runs/facades --preset pix2pix --set data.direction=BtoA`
    - `limner train facades --out runs/facades --resume`
    - `limner train cityscapes --out runs/fine --preset pix2pixhd --from runs/global`
    - `torchrun --nproc-per-node=2 -m limner train facades --out runs/two --preset pix2pix`

    Parameters
    ----------
    data
        Folder of pairs: side by side, two folders with equal names, or a CSV manifest.
    out
        The run's folder.
    preset
        Where the settings begin: `limner presets` lists them. A resumed run keeps its own.
    start
        A run of the global generator that pix2pixHD's enhancers begin around.
    resume
        Go on from the run's newest checkpoint; start where there is none yet.
    allow
        With --resume, a key that may differ from the run's, or `data`; may be repeated.
    accelerator
        cpu, cuda or auto.
    devices
        Processes on this machine; more than one is started by torchrun.
    """
    from limner.config import read_config, with_overrides
    from limner.errors import ConfigError
    from limner.evaluation.report import write_report
    from limner.presets import preset as named
    from limner.training import Interrupted
    from limner.training import train as run_training

    settings = out / "config.yaml"
    if resume and settings.exists() and preset is None:
        config = read_config(settings)
    elif preset is None and resume:
        raise ConfigError(f"{out} holds no run to resume: give --preset to start one")
    else:
        config = named(preset or "pix2pix")
    given = [] if start is None else [f"training.start_from={str(start)!r}"]
    config = with_overrides(config, [*(overrides or []), *given, f"data.root={str(data)!r}"])
    try:
        state = run_training(
            config,
            out=out,
            resume=resume,
            allow=tuple(allow or ()),
            accelerator=accelerator,
            devices=devices,
            weights=weights,
            progress=True,
            command=command_line(),
        )
    except Interrupted:
        write_report(out)
        raise
    if not state.fabric.is_global_zero:
        return
    page = write_report(out)
    if json:
        print_json({"run": out, "step": state.step, "best": state.best, "report": page})
    else:
        print(f"trained {state.step} steps; see {page}")


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
            print(f"{item.key}\n    {item.meaning}")
    elif name is not None:
        config = preset(name)
        if json:
            print_json(config.model_dump(mode="json"))
        else:
            print(f"{about(name)}\n\n{to_yaml(config)}", end="")
    elif json:
        print_json({known: about(known).splitlines()[0] for known in PRESETS})
    else:
        for known in PRESETS:
            print(f"{known:<18}{about(known).splitlines()[0]}")
