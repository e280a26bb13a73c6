"""What the public functions do: they put the parts together.

`training` knows nothing of evaluation: what draws sheets and measures during a training
(`validation`) is handed to it here, for Python, the command line and the cells of experiments
alike.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from limner.checks import Advancing, CheckResult, SplitResult
from limner.config import Config, LabelSettings, replace, to_yaml
from limner.errors import (
    ConfigError,
    DataError,
    OutOfMemoryError,
    ShapeError,
    TrainingError,
    unknown_name,
)
from limner.files import read_events, sweep, write_text
from limner.findings import Finding
from limner.health.watching import FirstAid, Watcher
from limner.inference import default_cache_folder, open_pairs
from limner.networks.cpu_speed import kept_memory
from limner.objective import Objective, make_perceptual
from limner.presets import DEFAULT
from limner.presets import preset as named_preset
from limner.run import (
    HARMLESS,
    check_run,
    checkpoint_folder,
    misfit,
    newest,
    run_folder,
    writing,
)
from limner.training.carry_over import Transfer, begin_from, with_warmup
from limner.training.checkpoint import load_checkpoint
from limner.training.cuda import CudaGraphStep, numerics, why_not
from limner.training.datasets import TrainingData, keep_resident, open_training_data
from limner.training.events import Events, JsonLog, Progress, TensorBoardLog, forget_after
from limner.training.loop import Loop
from limner.training.machine import (
    differences,
    introduction,
    lost_processes,
    session_facts,
    slow_numbers,
    training_memory,
)
from limner.training.norm_statistics import Estimate, estimate_anew
from limner.training.observed import observed
from limner.training.state import State, build_state
from limner.validation import Samples, is_better, open_validation

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def check(
    data: Path,
    *,
    direction: str | None = None,
    size: tuple[int, int] | None = None,
    labels: LabelSettings | None = None,
    cache_folder: Path | None = None,
    processes: int | None = None,
    progress: Advancing | None = None,
) -> CheckResult:
    """Look at a data set before training: what is wrong with it, with evidence and cure.

    Args:
        data: the data folder, or a manifest; also one that `train` refuses.
        direction: AtoB or BtoA; None for what dataset.yaml says, else AtoB.
        size: height and width that will be trained at; None for the data's own.
        labels: how label maps are read, where the sources are some.
        cache_folder: where what was measured is kept; None for the user's cache folder.
        processes: how many measure; None for one a processor.
        progress: shows a bar, given what is done and how many there are.

    Raises:
        DataError: the data is in no known layout.
    """
    from limner.checks.checking import check_data

    return check_data(
        Path(data),
        direction=direction,
        size=size,
        labels=labels,
        memory=cache_folder or default_cache_folder(),
        processes=processes,
        progress=progress,
    )


def looked_at(config: Config, *, memory: Path | None, allowed: tuple[str, ...]) -> list[Finding]:
    """Look at the data of a training as far as that costs a second or two.

    Args:
        config: its settings, with what was derived.
        memory: where what was measured is kept; None for the user's cache folder.
        allowed: names of findings that pass.

    Raises:
        ConfigError: a name that is allowed is none. DataError: the training would fail.
    """
    from limner.checks.before_training import look, stop
    from limner.checks.checking import CHECKS

    known = sorted(name for names in CHECKS for name in names)
    for name in allowed:
        if name not in known:
            raise unknown_name("finding", name, known)
    findings = look(
        Path(config.data.root),
        direction=config.data.direction,
        size=None,
        labels=config.data.labels,
        splits={"train", config.validation.split},
        memory=memory or default_cache_folder(),
    )
    stop(findings, allowed=allowed, labels=config.data.labels)
    return [finding for finding in findings if finding.severity != "note"]


def split(
    data: Path,
    *,
    out: Path,
    by: str = "random",
    group_regex: str | None = None,
    group_column: str | None = None,
    shares: Sequence[float] = (8, 1, 1),
    folds: int | None = None,
    seed: int = 0,
    cache_folder: Path | None = None,
    processes: int | None = None,
    progress: Advancing | None = None,
) -> SplitResult:
    """Deal all pairs of a data set out to splits anew, and write a manifest of them.

    Args:
        cache_folder: where what was measured is kept; None for the user's cache folder.
        data, out, by, group_regex, group_column, shares, folds, seed, processes, progress: as
            `limner.checks.splitting.split_data` has them.

    Raises:
        ConfigError: the arguments contradict each other. DataError: there is too little to part.
    """
    from limner.checks.splitting import split_data

    return split_data(
        Path(data),
        out=Path(out),
        by=by,
        group_regex=group_regex,
        group_column=group_column,
        shares=shares,
        folds=folds,
        seed=seed,
        memory=cache_folder or default_cache_folder(),
        processes=processes,
        progress=progress,
    )


def train(
    config: Config | Path | str,
    *,
    out: Path | str | None = None,
    preset: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    size: int | tuple[int, int] | None = None,
    direction: Literal["AtoB", "BtoA"] | None = None,
    seed: int | None = None,
    lr: float | None = None,
    precision: str | None = None,
    resume: bool = False,
    allow: tuple[str, ...] = (),
    allow_findings: tuple[str, ...] = (),
    accelerator: str = "auto",
    devices: int | None = None,
    weights: Path | None = None,
    cache_folder: Path | None = None,
    progress: bool = False,
    command: str = "",
    note: str = "",
    first_aid: FirstAid = "observe",
) -> State:
    """Train a run to its end, or until a signal stops it.

    Args:
        config: settings with `data.root`, or the data itself, a folder of pairs or a manifest,
            for the settings of `preset`; what is left open is derived and written down.
        out: the run's folder; new, or an existing run with `resume`. Without it
            runs/DATA-PRESET-N, as `limner train` has it.
        preset: where the settings begin, where `config` is the data; None for pix2pix.
        epochs, batch_size, seed, lr, precision: in place of `training.epochs` and so on.
        size: (height, width), or the one side of squares (`data.size`).
        direction: which half or folder is the source (`data.direction`).
        resume: go on from the newest checkpoint; start where there is none yet.
        allow: dotted keys in which the settings may differ from the run's (and "data").
        allow_findings: names of findings that do not stop the training.
        accelerator, devices: as Lightning Fabric takes them; under torchrun its processes count.
        weights: file or folder of pretrained weights, for the perceptual loss and for metrics.
        cache_folder: where decoded images are kept; None for the user's cache folder.
        progress: show a progress bar on standard error.
        command: what the user typed, for the log.
        note: a line that is said before all others as the training begins.
        first_aid: whether the record is diagnosed meanwhile, and remedies are said.

    Returns:
        The final state.

    Raises:
        LimnerError: anything the user can cure; `Interrupted` after SIGINT or SIGTERM.
    """
    if not isinstance(config, Config):
        config = replace(named_preset(preset or DEFAULT), {"data.root": str(config)})
    elif preset is not None:
        raise ConfigError(f"preset={preset!r} beside settings: give the data, or settings alone")
    changes = {
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "data.size": size,
        "data.direction": direction,
        "seed": seed,
        "training.lr": lr,
        "training.precision": precision,
    }
    config = replace(config, {key: value for key, value in changes.items() if value is not None})
    if out is None:
        out = run_folder(Path(config.data.root), preset or DEFAULT, resume=resume)
    out = Path(out)
    fabric = build_fabric(config, accelerator, devices)
    with lost_processes(fabric.world_size, out):
        return _train(
            config,
            fabric,
            out=out,
            resume=resume,
            allow=allow,
            allow_findings=allow_findings,
            weights=weights,
            cache_folder=cache_folder,
            progress=progress,
            command=command,
            note=note,
            first_aid=first_aid,
        )


def _train(
    config: Config,
    fabric: Fabric,
    *,
    out: Path,
    resume: bool,
    allow: tuple[str, ...],
    allow_findings: tuple[str, ...],
    weights: Path | None,
    cache_folder: Path | None,
    progress: bool,
    command: str,
    note: str,
    first_aid: FirstAid,
) -> State:
    """Train in one of the processes that `fabric` joins; the rest is as `train` has it."""
    data = open_training_data(
        config, rank=fabric.global_rank, world_size=fabric.world_size, cache_folder=cache_folder
    )
    start = (
        None if data.config.training.start_from is None else Path(data.config.training.start_from)
    )
    if start is not None and newest(out) is None:
        checkpoint_folder(start)  # a run to start from that is none is refused before all else
    config = with_warmup(data.config, total_steps=data.total_steps, out=out)
    findings: list[Finding] = []
    if fabric.is_global_zero and not resume:
        findings = looked_at(config, memory=cache_folder, allowed=allow_findings)
    objective = build_objective(config, fabric, weights)
    validation = None
    if config.validation.every is not None and data.validation is not None:
        validation = open_validation(
            config, data.validation, weights=weights, objective=objective, device=fabric.device
        )
    transfer: Transfer | None = None
    estimate: Estimate | None = None
    decided: Any = None
    if fabric.is_global_zero:
        decided = check_run(out, config, resume=resume, allow=allow)
    checkpoint, changed = fabric.broadcast(decided)
    with training_memory(config, out):
        state = build_state(config, fabric)
        if checkpoint is None and start is not None:
            transfer = begin_from(state, start)
            if config.training.statistics == "re-estimate":
                estimate = estimated(state, data)
        elif checkpoint is not None:
            begun = changed.get("training.ema", (0.0, None))[0] is None
            try:
                load_checkpoint(state, checkpoint, begin_average=begun)
            except ShapeError as error:
                raise misfit(out, changed, error) from error
    state.frozen_until = round(config.training.fix_global * data.steps_per_epoch)
    if checkpoint is not None and not data.same_pairs(state.data) and "data" not in allow:
        raise ConfigError(
            f"the training pairs are not those that {out} was trained on "
            f"({state.data['pairs']} then, {data.fingerprint['pairs']} now, or other files): "
            "give the same data, or repeat with --allow data"
        )
    state.data = data.fingerprint
    notes: list[str] = []
    anew = [key for key in changed if key.startswith(BEST_DEPENDS_ON) and key not in HARMLESS]
    if anew and state.best is not None:
        state.best = None  # its figure is another one, or of other pictures
        notes.append(f"the best checkpoint is chosen anew, by another {anew[0]}")
    # All is checked: from here on the run is written to, by this training alone.
    with contextlib.ExitStack() as stack:
        if fabric.is_global_zero:
            stack.enter_context(writing(out, checkpoint=checkpoint))
            sweep(out)
            write_text(out / "config.yaml", to_yaml(config))
            forget_after(out, state.step)
        bar = Progress(total=data.total_steps, done=state.step) if progress else None
        listeners: list[Any] = [] if bar is None else [bar]
        if fabric.is_global_zero:
            listeners += [JsonLog(out), TensorBoardLog(out, first_step=state.step)]
        events = Events(listeners, silent=not fabric.is_global_zero)
        if fabric.is_global_zero and first_aid != "off":
            watcher = Watcher(
                config.model_dump(mode="json"),
                every=config.training.log_every,
                total=data.total_steps,
                emit=events.emit,
                suggest=first_aid == "suggest",
                before=read_events(out),
            )
            events.listeners.append(watcher)
        stack.callback(events.close)
        facts = session_facts(state, data, command)
        facts["introduction"] = [*filter(None, [note]), *introduction(facts, data, out)]
        if checkpoint is None:
            events.emit("start", **facts)
            if findings:
                from limner.checks.before_training import lines

                events.emit("check", findings=[finding.to_json() for finding in findings])
                for line in lines(findings):
                    events.emit("note", text=line)
            if transfer is not None:
                events.emit("transfer", step=0, run=str(start), **transfer.to_json())
            if estimate is not None:
                events.emit("statistics", step=0, **estimate.to_json())
                events.emit("note", text=estimate.sentence())
        else:
            _complete_log(events, state, out)
            for note in [*notes, *differences(read_events(out), facts)]:
                events.emit("note", text=note)
            machine = {key: facts[key] for key in ("device", "processes", "threads")}
            events.emit("resume", step=state.step, changed=changed, command=command, **machine)
        loop = Loop(
            state=state,
            data=data,
            out=out,
            events=events,
            objective=objective,
            samples=Samples(out, data.samples),
            validation=validation,
            is_better=is_better,
            bar=bar,
            health=functools.partial(observed, held_out=data.validation),
        )
        if config.training.cuda_graph:
            reason = why_not(config, fabric.device, processes=fabric.world_size)
            if reason is None:
                loop.update = CudaGraphStep()
            else:
                events.emit("note", text=f"training.cuda_graph is left out: {reason}")
        if config.training.resident and (reason := keep_resident(data, fabric.device)):
            events.emit("note", text=f"training.resident is left out: {reason}")
        if (reason := slow_numbers(config, fabric.device)) is not None:
            events.emit("note", text=reason)
        calm = numerics(deterministic=config.training.deterministic)
        try:
            with training_memory(config, out), kept_memory(), calm:
                loop.run()
        except (TrainingError, DataError, OutOfMemoryError) as error:
            events.emit("stopped", step=state.step, reason=str(error))
            raise
    return state


def _leave_group() -> None:
    """End the threads of the group of processes while the interpreter still stands.

    Fabric does so for NCCL alone. gloo's threads would run on while the process is taken down,
    beside peers that are gone already: what they raise then ends it, after all is done.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _complete_log(events: Events, state: State, out: Path) -> None:
    """Enter a checkpoint that was written just before a kill, and so is missing in the log."""
    known = (e for e in read_events(out) if e["event"] == "checkpoint")
    if all(event.get("step") != state.step for event in known):
        best = state.best is not None and state.best["step"] == state.step
        events.emit("checkpoint", step=state.step, best=best)


def estimated(state: State, data: TrainingData) -> Estimate:
    """Estimate norms' statistics on the training sources, as pictures are made of them."""
    config, root = data.config, Path(data.config.data.root)
    learnt = open_pairs(config, root, "train", cache_folder=data.cache_folder, beside=[data.train])
    split = "train" if data.validation is None else config.validation.split
    return estimate_anew(state, learnt, data.validation or learnt, split=split)


def build_fabric(config: Config, accelerator: str, devices: int | None) -> Fabric:
    """Return a launched Fabric; torchrun's processes are found by the variables that it sets."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    elif devices is not None and devices > 1:
        raise ConfigError(
            f"--devices {devices} needs as many processes: "
            f"start with torchrun --nproc-per-node={devices} -m limner train ..."
        )
    # The step keeps batch statistics apart while it runs (each network sees several batches
    # before its gradients are taken) and averages them whenever they are used.
    strategy = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices or 1,
        num_nodes=max(1, world // (devices or 1)),
        strategy=strategy,
        precision=config.training.precision,
    )
    fabric.launch()
    if world > 1:
        atexit.register(_leave_group)
    return fabric


def build_objective(config: Config, fabric: Fabric, weights: Path | None) -> Objective:
    """Return the objective, its perceptual loss on the device, in the precision of the networks."""
    settings, perceptual = config.objective, None
    if settings.vgg:
        perceptual = make_perceptual(
            network=settings.vgg_network,
            taps=settings.vgg_taps,
            tap_weights=settings.vgg_weights,
            inputs=settings.vgg_input,
            weights=weights,
            device=fabric.device,
            dtype=torch.float64 if config.training.precision == "64-true" else torch.float32,
            context=fabric.autocast,
        )
    return Objective(**settings.terms, perceptual=perceptual)


BEST_DEPENDS_ON = ("data.", "validation.best", "validation.images", "validation.s", "inference.")
"""Settings in which figures of validation must agree to be compared, or the best begins anew."""
