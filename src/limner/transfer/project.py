"""What must be known of a project to take over its networks, and the checks all options share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limner.errors import ConfigError, unknown_name

Options = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """What must be known of a project, as functions of a role and of options in its own words."""

    complete: Callable[[str, Options], Options]
    """Check the options given and add the project's defaults."""
    settings: Callable[[str, Options], tuple[str, Options]]
    """The name and keywords of our network for a complete set of options."""
    module_names: Callable[[str, Options], dict[str, str]]
    """Its name of every layer with weights, and ours."""
    leftovers: Callable[[str, Options], frozenset[str]]
    """What old files carry beside the weights, to be dropped."""
    detect: Callable[[dict[str, Tensor]], tuple[str, Options] | None]
    """The role and the options that a state dict shows."""
    run_settings: Callable[[Options, Options, Options | None], Options]
    """Dotted keys of a run around the generator of these options and of our keywords, and around
    the encoder of our keywords."""
    preset: str
    """The preset whose losses and training a run of it begins with."""
    encoder_preset: str = ""
    """The same for a run with an encoder."""
    asked_by_encoder: Callable[[Options], Options] | None = None
    """What an encoder of these options makes true of its generator; None where there are none."""
    leaves: dict[str, str] = field(default_factory=dict)
    """What it calls a tensor of a layer under spectral norm, and we."""


def filled(project: str, role: str, options: Options, defaults: dict[str, Options]) -> Options:
    """Return the options over the defaults of that role, refusing names it does not have.

    Values of defaults that are bools or whole numbers say what kind the options must be.

    Raises:
        ConfigError: an unknown role or option, or a value of the wrong kind.
    """
    if role not in defaults:
        raise unknown_name("role", role, defaults)
    known = defaults[role]
    for name, value in options.items():
        if name not in known:
            raise unknown_name(f"option of {project}'s {role}", name, known)
        if isinstance(known[name], bool):
            flag(name, value)
        elif isinstance(known[name], int):
            count(name, value, least=min(1, known[name]))
    return known | options


def flag(name: str, value: object) -> bool:
    """Return `value`, refusing what is neither true nor false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}: give true or false")
    return value


def count(name: str, value: object, *, least: int = 1) -> int:
    """Return `value`, refusing what is not a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} is {value!r}: give a whole number of at least {least}")
    return value


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is not among those known."""
    names = list(known)
    if value not in names:
        raise unknown_name(name, str(value), names)


def settle_channels(options: Options, total: str, *, labels: int, others: int) -> None:
    """Fill in the option `total`, the channels that a network sees, in place.

    `labels` is how many are the project's default classes and `others` how many are no classes.
    Where `total` is given and label_nc is not, label_nc stays None: unknown.

    Raises:
        ConfigError: total and label_nc contradict each other.
    """
    label_nc = options["label_nc"]
    if label_nc is not None:
        count("label_nc", label_nc, least=0)
    if options[total] is None:
        options["label_nc"] = labels if label_nc is None else label_nc
        # Without labels the source is a picture.
        options[total] = (options["label_nc"] or 3) + others
        return
    count(total, options[total])
    if label_nc and label_nc + others != options[total]:
        raise ConfigError(
            f"label_nc={label_nc} and {others} further channels do not make {total}="
            f"{options[total]}: check no_instance and the other options that add channels"
        )


def label_settings(
    options: Options, total: str, *, labels: int, others: int, edges: bool, void: bool
) -> Options | None:
    """Return what `data.labels` of a run must say; None where the source is a picture.

    Raises:
        ConfigError: the options do not say how many of the channels are classes.
    """
    classes = options["label_nc"]
    if classes is None and options[total] == labels + others:
        classes = labels
    if classes is None:
        raise ConfigError(
            f"{options[total]} channels could be any number of classes, with or without edges: "
            "give label_nc and no_instance as they were in training (label_nc=0 for pictures)"
        )
    if classes == 0:
        if edges:
            raise ConfigError("label_nc=0 with edges of instances is no source: give no_instance")
        return None
    return {"classes": classes, "void": 255 if void else None, "edges": edges, "coding": "ids"}
