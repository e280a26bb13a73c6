"""A run's folder: begun, refused, or taken up again where it stopped."""

from __future__ import annotations

from pathlib import Path

from limner.config import Config, differences, read_config, to_yaml
from limner.errors import CheckpointError, ConfigError
from limner.files import write_text
from limner.training.checkpoint import newest

# What changes no figure of a run, so that a resume may differ in it without being asked.
HARMLESS = {
    "data.root",
    "data.cache_gib",
    "data.type.source",  # a fact of the data, which runs of before did not record
    "data.type.target",
    "training.workers",
    "training.log_every",
    "training.checkpoint_every",
    "training.samples_every",
}


def open_run(
    run: Path, config: Config, *, resume: bool, allow: tuple[str, ...] = ()
) -> tuple[Path | None, dict[str, tuple[object, object]]]:
    """Make or take up a run's folder and write its config.yaml.

    Args:
        run: the folder.
        config: resolved settings.
        resume: whether a run that exists is to be taken up; one without a checkpoint yet starts.
        allow: dotted keys (or sections) that may differ from those of the run.

    Returns:
        The checkpoint to go on from, or nothing; and the differences that were allowed.

    Raises:
        ConfigError: settings differ; each is named with both values.
        CheckpointError: the folder holds a run and `resume` was not asked for.
    """
    path = run / "config.yaml"
    if run.exists() and not run.is_dir():
        raise CheckpointError(f"{run} is a file: give a folder as --out")
    if path.exists() and not resume:
        raise CheckpointError(
            f"{run} already holds a run: repeat with --resume to go on with it, "
            "or give another folder as --out"
        )
    if not path.exists() and run.is_dir() and any(run.iterdir()):
        raise CheckpointError(f"{run} holds other files: give a new or empty folder as --out")
    changed: dict[str, tuple[object, object]] = {}
    checkpoint = newest(run) if path.exists() else None
    if checkpoint is not None:
        changed = differences(read_config(path), config)
        refused = {key: pair for key, pair in changed.items() if not _allowed(key, allow)}
        if refused.get("data.direction", ("", ""))[0] is None:
            del refused["data.direction"]  # an imported run left it to the data
        if refused:
            named = "; ".join(
                f"{key} was {old} and is {new}" for key, (old, new) in refused.items()
            )
            flags = " ".join(f"--allow {key}" for key in refused)
            raise ConfigError(
                f"{run} cannot be resumed with other settings: {named}; "
                f"leave them as they were, or repeat with {flags}"
            )
    write_text(path, to_yaml(config))
    return checkpoint, changed


def _allowed(key: str, allow: tuple[str, ...]) -> bool:
    return key in HARMLESS or any(key == name or key.startswith(f"{name}.") for name in allow)
