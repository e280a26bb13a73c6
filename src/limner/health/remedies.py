"""What helps against each finding, in the order in which to try it, as settings of the run."""

from __future__ import annotations

from limner.findings import Remedy
from limner.health.history import History


def _number(value: float) -> str:
    return f"{value:.3g}"


def _rate(history: History) -> float:
    return float(history.setting("training.lr", 2e-4))


def _discriminator_rate(history: History) -> float:
    return float(history.setting("training.discriminator_lr") or _rate(history))


def _indices(history: History) -> range:
    return range(len(history.setting("discriminators") or [None]))


def slower_discriminator(history: History) -> Remedy:
    """A quarter of the discriminators' rate, of each that has its own."""
    rate = _discriminator_rate(history) / 4
    own = [
        f"discriminators.{index}.lr={_number(float(value) / 4)}"
        for index in _indices(history)
        if (value := history.setting(f"discriminators.{index}.lr")) is not None
    ]
    return Remedy(
        tuple(own) or (f"training.discriminator_lr={_number(rate)}",),
        "running",
        "a slower discriminator leaves the generator time to follow",
    )


def faster_discriminator(history: History) -> Remedy:
    """The discriminators at the generator's rate, or twice theirs if they are there already."""
    rate = max(_rate(history), 2 * _discriminator_rate(history))
    own = [
        f"discriminators.{index}.lr={_number(rate)}"
        for index in _indices(history)
        if history.setting(f"discriminators.{index}.lr") is not None
    ]
    return Remedy(
        tuple(own) or (f"training.discriminator_lr={_number(rate)}",),
        "running",
        "a discriminator that learns has something to tell the generator",
    )


def stronger_generator(history: History) -> Remedy:
    """Twice the filters."""
    width = int(history.setting("generator.width", 32))
    return Remedy(
        (f"generator.width={min(2 * width, 64) if width < 64 else width + width // 2}",),
        "restart",
        "a wider generator can draw what the discriminator looks for",
    )


def weaker_discriminator(history: History) -> Remedy:
    """Half the filters, and a layer less where there are several."""
    changes = []
    for index in _indices(history):
        width = history.setting(f"discriminators.{index}.width", 64)
        changes.append(f"discriminators.{index}.width={max(8, int(width) // 2)}")
    return Remedy(tuple(changes), "restart", "a narrower discriminator learns less by heart")


def stronger_discriminator(history: History) -> Remedy:
    """Twice the filters."""
    changes = []
    for index in _indices(history):
        width = history.setting(f"discriminators.{index}.width", 32)
        changes.append(f"discriminators.{index}.width={min(2 * int(width), 128)}")
    return Remedy(tuple(changes), "restart", "a stronger discriminator still finds what is wrong")


def more_generator_updates(history: History) -> Remedy:
    """One more update a step; or one of the discriminators' alone where they have several."""
    if int(history.setting("training.discriminator_updates", 1)) > 1:
        change = "training.discriminator_updates=1"
    else:
        updates = int(history.setting("training.generator_updates", 1))
        change = f"training.generator_updates={updates + 1}"
    return Remedy((change,), "running", "the generator is updated more often for each look at it")


def soft_labels(history: History) -> Remedy | None:
    """0.9 for real (Salimans et al. 2016), where the loss has labels and they are hard."""
    label = float(history.setting("objective.real_label", 1.0))
    if history.gan not in (None, "vanilla", "lsgan") or label < 1:
        return None
    return Remedy(
        ("objective.real_label=0.9",),
        "running",
        "soft labels keep the discriminator from certainty",
    )


def instance_noise(history: History) -> Remedy:
    """Noise on what discriminators see, a tenth of half the range."""
    known = float(history.setting("objective.instance_noise", 0.0))
    return Remedy(
        (f"objective.instance_noise={_number(max(0.1, 2 * known))}",),
        "running",
        "noise makes real and made pictures overlap, so that the gradient points somewhere",
    )


def penalty(history: History) -> Remedy | None:
    """R1 (Mescheder et al. 2018), where there is none."""
    if float(history.setting("objective.r1", 0.0)) or history.gan == "wgan-gp":
        return None
    return Remedy(
        ("objective.r1=1", "objective.r1_every=16"),
        "running",
        "a penalty on the discriminator's slope keeps its surface smooth",
    )


def augmentation(history: History) -> Remedy | None:
    """Differentiable augmentation of what discriminators see (Zhao et al. 2020)."""
    if history.setting("objective.augment"):
        return None
    return Remedy(
        ("objective.augment=[translation,colour]",),
        "running",
        "augmented, a small set is not learnt by heart; pictures themselves are not augmented",
    )


def lighter_reconstruction(history: History) -> Remedy | None:
    """The reconstruction's weights back to what the papers use, or to a quarter."""
    changes = []
    for term, usual in (("l1", 100.0), ("l2", 100.0), ("vgg", 10.0), ("feature_matching", 10.0)):
        weight = float(history.setting(f"objective.{term}", 0.0) or 0.0)
        if weight > 0:
            lower = usual if weight > 2 * usual else weight / 4
            changes.append(f"objective.{term}={_number(lower)}")
    if not changes:
        changes = ["objective.l1=100"]
    return Remedy(tuple(changes), "running", "the adversarial term is heard again")


def reconstruction(history: History) -> Remedy:
    """More weight on the reconstruction, which ties each picture to its own target."""
    weight = float(history.setting("objective.l1", 0.0) or 0.0)
    return Remedy(
        (f"objective.l1={_number(100.0 if weight < 50 else 2 * weight)}",),
        "running",
        "the distance to the target punishes a picture that does not follow its source",
    )


def conditional(history: History) -> Remedy | None:
    """Let every discriminator see the source."""
    blind = [
        k for k in _indices(history) if history.setting(f"discriminators.{k}.conditional") is False
    ]
    if not blind:
        return None
    return Remedy(
        tuple(f"discriminators.{k}.conditional=true" for k in blind),
        "restart",
        "a discriminator that sees the source notices a picture of another",
    )


def slower(history: History) -> Remedy:
    """A quarter of both rates, or the usual rate where that is lower."""
    rate = _rate(history)
    changes = [f"training.lr={_number(min(rate / 4, 2e-4) if rate > 8e-4 else rate / 4)}"]
    own = history.setting("training.discriminator_lr")
    if own is not None and float(own) > 2e-4:
        changes.append("training.discriminator_lr=0.0002")
    return Remedy(tuple(changes), "running", "smaller steps do not jump over what they look for")


def faster(history: History) -> Remedy:
    """The usual rate, or four times the present one."""
    rate = _rate(history)
    return Remedy(
        (f"training.lr={_number(max(2e-4, 4 * rate) if rate < 2e-4 else 4 * rate)}",),
        "running",
        "the weights hardly move",
    )


def longer(history: History) -> Remedy:
    """Half as many epochs again, or steps where these end the training."""
    steps = history.setting("training.steps")
    if steps is not None:
        change = f"training.steps={int(int(steps) * 1.5)}"
    else:
        change = f"training.epochs={int(int(history.setting('training.epochs', 200)) * 1.5)}"
    return Remedy((change,), "restart", "it was still getting better")


def stop_early(history: History) -> Remedy:
    """Keep the checkpoint that is best on held-out pairs."""
    every = history.setting("validation.every") or 1
    metrics = history.setting("validation.metrics") or ["l1", "ssim"]
    best = "lpips" if "lpips" in metrics else "l1"
    return Remedy(
        (f"validation.every={_number(float(every))}", f"validation.best={best}"),
        "running",
        "the best checkpoint by a held-out metric is kept",
    )


def data_augmentation(history: History) -> Remedy | None:
    """Flips and crops of the training pairs, where they are off."""
    if history.setting("data.flip") is False:
        return Remedy(("data.flip=true",), "restart", "mirrored pairs are pairs more")
    return None


def smaller_generator(history: History) -> Remedy:
    """Half the filters."""
    width = int(history.setting("generator.width", 64))
    return Remedy(
        (f"generator.width={max(8, width // 2)}",),
        "restart",
        "a smaller network learns less by heart",
    )


def lighter_perceptual(history: History) -> Remedy:
    """Half its weight."""
    weight = float(history.setting("objective.vgg", 10.0) or 10.0)
    return Remedy(
        (f"objective.vgg={_number(weight / 2)}",), "running", "the term is pursued less far"
    )


def instance_norm(history: History) -> Remedy:
    """A normalisation that is the same in training and afterwards."""
    return Remedy(
        ("generator.norm=instance",), "restart", "it has no stored statistics that could differ"
    )


def batch_statistics(history: History) -> Remedy:
    """Normalise pictures as training did."""
    return Remedy(
        ("inference.statistics=batch",), "running", "pictures are normalised as in training"
    )


def full_precision(history: History) -> Remedy | None:
    """float32 where it was less."""
    if history.setting("training.precision") != "bf16-mixed":
        return None
    return Remedy(("training.precision=32-true",), "restart", "small numbers keep their digits")


def fewer_generator_updates(history: History) -> Remedy | None:
    """One update a step where there are several."""
    if int(history.setting("training.generator_updates", 1)) < 2:
        return None
    return Remedy(("training.generator_updates=1",), "running", "the discriminator can follow")


REMEDIES = {
    "divergence": (slower, penalty, full_precision),
    "exploding-gradients": (slower, penalty, full_precision),
    "nothing-learned": (faster, slower),
    "discriminator-wins": (
        *(slower_discriminator, more_generator_updates, soft_labels, instance_noise, penalty),
        *(stronger_generator, weaker_discriminator),
    ),
    "generator-wins": (faster_discriminator, fewer_generator_updates, stronger_discriminator),
    "generator-stalled": (
        *(slower_discriminator, more_generator_updates, faster, stronger_generator),
        *(soft_labels, weaker_discriminator),
    ),
    "collapse": (reconstruction, slower_discriminator, conditional),
    "adversarial-drowned": (lighter_reconstruction,),
    "discriminator-memorises": (augmentation, instance_noise, soft_labels, weaker_discriminator),
    "overfit": (stop_early, data_augmentation, smaller_generator),
    "perceptual-overfit": (stop_early, lighter_perceptual, data_augmentation),
    "rate-too-high": (slower,),
    "norm-mismatch": (batch_statistics, instance_norm),
    "checkerboard": (reconstruction, slower_discriminator),
    "blob": (slower, instance_noise, penalty),
    "unfinished": (longer,),
}
"""By the finding's name, in the order in which to try them."""


def remedies(name: str, history: History) -> tuple[Remedy, ...]:
    """Return what helps against a finding in this run, what can be tried first coming first."""
    made = (make(history) for make in REMEDIES.get(name, ()))
    return tuple(remedy for remedy in made if remedy is not None)
