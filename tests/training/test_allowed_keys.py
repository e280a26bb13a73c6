"""Every key that `--resume --allow` takes changes what follows, or is refused with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from overriding import with_overrides
from random_pairs import write_pairs
from test_checkpoint import equal
from tiny import batch, label_batch, objective_of, small, tiny

from limner import api
from limner.api import train
from limner.config import Config, documented_keys, read_config, resolved, to_yaml
from limner.errors import ConfigError, LimnerError, ShapeError
from limner.files import read_events, write_text
from limner.run import HARMLESS, check_run, misfit, newest
from limner.training.checkpoint import load_checkpoint, save_checkpoint
from limner.training.datasets import open_training_data
from limner.training.discriminator_weights import begin_epoch
from limner.training.state import build_state, set_learning_rates
from limner.training.step import training_step

# Deep enough to have dropout.
UNET = ("data.size=64", "data.load_size=66", "generator.depth=6")
RESNET = ("generator={name: resnet, width: 4, blocks: 1}",)
TWO = ("discriminators=[{name: patch, layers: 1, width: 4}, {name: patch, layers: 2, width: 4}]",)
WEIGHED = (*TWO, "objective.weights=[0.7, 0.3]")
ENDING = (*WEIGHED, "objective.weighting=linear", "objective.weights_end=[0.5, 0.5]")
ADAPTIVE = (*WEIGHED, "objective.weighting=adaptive")
MULTISCALE = ("discriminators=[{name: multiscale, layers: 1, width: 4, scales: 2}]",)
MATCHING = (*MULTISCALE, "objective.feature_matching=10")
R1 = ("objective.r1=1",)
PENALTY = ("objective.gan=wgan-gp",)
ENDS = ("training.epochs=2", "training.schedule=constant", "training.decay_start=0.1")

# Key: what the run has beside the tiny settings (the name of a preset of label maps, or overrides
# of the one of pictures), and the new value.
STEP: dict[str, tuple[Any, str]] = {
    "seed": (UNET, "1"),
    "generator.name": (UNET, "resnet"),
    "generator.init": (UNET, "xavier"),
    "generator.init_gain": (UNET, "0.1"),
    "generator.width": (UNET, "6"),
    "generator.depth": (UNET, "5"),
    "generator.norm": (UNET, "none"),
    "generator.bias": (UNET, "false"),
    "generator.dropout": (UNET, "0.2"),
    "generator.dropout_kind": (UNET, "channel"),
    "generator.dropout_innermost": (UNET, "true"),
    "generator.skips": (UNET, "add"),
    "generator.rectify_last_skip": (UNET, "false"),
    "generator.blocks": (RESNET, "2"),
    "generator.padding": (RESNET, "zero"),
    "generator.block_padding": (RESNET, "zero"),
    "generator.downs": ("pix2pixhd-global", "1"),
    "generator.enhancers": ("pix2pixhd", "2"),
    "generator.local_blocks": ("pix2pixhd", "2"),
    "generator.upsampling": (("spade", "data.size=[64, 64]", "data.load_size=[64, 64]"), "more"),
    "generator.spectral": ("spade", "false"),
    "generator.hidden": ("spade", "6"),
    "generator.kernel": ("spade", "1"),
    "generator.latent": ("spade", "5"),
    "generator.size": ("spade-vae", "[64, 64]"),
    "discriminators.N.name": ((), "pixel"),
    "discriminators.N.init": ((), "xavier"),
    "discriminators.N.init_gain": ((), "0.1"),
    "discriminators.N.conditional": ((), "false"),
    "discriminators.N.lr": ((), "1e-3"),
    "discriminators.N.optimizer": ((), "radam"),
    "discriminators.N.width": ((), "6"),
    "discriminators.N.layers": ((), "2"),
    "discriminators.N.field": ((), "34"),
    "discriminators.N.kernel": ((), "2"),
    "discriminators.N.last_stride": ((), "2"),
    "discriminators.N.scale": ((), "2"),
    "discriminators.N.norm": ((), "none"),
    "discriminators.N.bias": ((), "false"),
    "discriminators.N.scales": (MULTISCALE, "1"),
    "discriminators.N.spectral": (MULTISCALE, "true"),
    "encoder.name": ("pix2pixhd-features", "spade-encoder"),
    "encoder.init": ("spade-vae", "normal"),
    "encoder.init_gain": ("spade-vae", "0.1"),
    "encoder.width": ("spade-vae", "6"),
    "encoder.layers": ("spade-vae", "3"),
    "encoder.latent": ("spade-vae", "6"),
    "encoder.norm": ("spade-vae", "batch"),
    "encoder.spectral": ("spade-vae", "false"),
    "encoder.features": ("pix2pixhd-features", "3"),
    "encoder.downs": ("pix2pixhd-features", "2"),
    "encoder.bias": ("pix2pixhd-features", "false"),
    "objective.gan": ((), "lsgan"),
    "objective.gan_weight": ((), "0.5"),
    "objective.weighting": (WEIGHED, "dynamic-1"),
    "objective.weights": (WEIGHED, "[0.2, 0.8]"),
    "objective.weights_end": (ENDING, "[0.1, 0.9]"),
    "objective.adaptive_sharpness": (ADAPTIVE, "5"),
    "objective.adaptive_floor": (ADAPTIVE, "0.5"),
    "objective.l1": ((), "10"),
    "objective.l2": ((), "10"),
    "objective.discriminator_scale": ((), "1"),
    "objective.gradient_penalty": (PENALTY, "1"),
    "objective.real_label": ((), "0.9"),
    "objective.instance_noise": ((), "0.5"),
    "objective.scales": (MULTISCALE, "sum"),
    "objective.feature_matching": (MATCHING, "1"),
    "objective.feature_layers": (MATCHING, "sum"),
    "objective.kl": ("spade-vae", "5"),
    "objective.r1": (R1, "10"),
    "objective.r1_every": (R1, "2"),
    "objective.augment": ((), "[colour]"),
    "training.discriminator_updates": ((), "2"),
    "training.generator_updates": ((), "2"),
    "training.update_order": ((), "together"),
    "training.fresh_fake": (UNET, "true"),
    "training.discriminator_warmup": ((), "9"),
    "training.freeze": ((), "[encoder]"),
    "training.freeze_discriminator": ((), "1"),
    "training.layer_decay": ((), "0.5"),
    "training.accumulate": (("generator.norm=batch",), "2"),
    "training.start_from": ("pix2pixhd", "elsewhere"),
    "training.fix_global": ("pix2pixhd", "0"),
    "training.optimizer": ((), "radam"),
    "training.lr": ((), "1e-3"),
    "training.discriminator_lr": ((), "1e-3"),
    "training.betas": ((), "[0.9, 0.99]"),
    "training.weight_decay": ((), "0.1"),
    "training.schedule": (ENDS, "cosine"),
    "training.decay_start": ((*ENDS, "training.schedule=linear"), "0.9"),
    "training.ema": ((), "0.1"),
    "training.precision": ((), "bf16-mixed"),
}
# The perceptual loss needs weights that are not there; its settings reach the objective.
TERMS = {
    "objective.vgg": "1",
    "objective.vgg_network": "vgg16",
    "objective.vgg_taps": "[relu1_1, relu2_1, relu3_1, relu4_1, relu4_2]",
    "objective.vgg_weights": "[1, 1, 1, 1, 1]",
    "objective.vgg_input": "imagenet",
}
# What the first batch after the resume shows.
READ: dict[str, str] = {
    "data.direction": "BtoA",
    "data.mode": "resize",
    "data.size": "[24, 24]",
    "data.load_size": "[40, 40]",
    "data.flip": "false",
    "data.channels": "[1, 3]",
    "data.convert": "true",
    "data.interpolation": "[bicubic, bicubic]",
    "data.range.source": "[10, 200]",
    "data.range.target": "[10, 200]",
    "data.range.source.percentiles": "[1, 99]",
    "data.range.target.percentiles": "[1, 99]",
    "data.scale.source": "log",
    "data.scale.target": "log",
    "data.nodata": "0",
    "data.mask": "otsu",
    "data.augment.quarter_turns": "true",
    "data.augment.rotation": "20",
    "data.augment.scale": "0.3",
    "data.augment.elastic": "5",
    "data.augment.intensity": "0.5",
    "training.batch_size": "2",
}
# What the loop does, writes or measures, seen in the run's log and files.
LOOP: dict[str, str] = {
    "training.epochs": "3",
    "training.steps": "6",
    "validation.every": "0.25",
    "validation.split": "test",
    "validation.images": "1",
    "validation.metrics": "[l1, ssim, psnr]",
    "validation.best": "ssim",
    "inference.statistics": "batch",
    "inference.dropout": "true",
}
# What config.yaml says of the data for those who translate, measure and report.
SAID = {"preset", "data.unit.source", "data.unit.target"}
# Of label maps; and of the segmentation score, which needs a segmenter.
ELSEWHERE = {
    item.key
    for item in documented_keys()
    if item.key.startswith(("data.labels", "validation.seg", "validation.class_map"))
}
# Drawn for half of the pairs; of pairs of two sizes; of channels that have ranges of their own.
ELSEWHERE |= {"data.augment.vertical_flip", "data.resize", "data.factor"}
ELSEWHERE |= {f"data.range.{side}.per_channel" for side in ("source", "target")}
CONSTANT = {"format"}
# Seen in test_label_presets, at the end of training.fix_global, and in test_numerics.
TIMED = {"training.reset_encoder", "training.deterministic"}
# Of trainings that go on from another run, in test_fine_tuning.
TIMED |= {"training.keep_optimizer", "training.l2_sp", "training.statistics"}


def leaves() -> set[str]:
    keys = [item.key for item in documented_keys()]
    return {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)} | {
        "data.range.source", "data.range.target"
    }  # fmt: skip


def test_every_key_is_looked_at() -> None:
    looked_at = {*STEP, *TERMS, *READ, *LOOP, *SAID, *ELSEWHERE, *CONSTANT, *TIMED, *HARMLESS}
    assert leaves() - looked_at == set()
    assert looked_at - {item.key for item in documented_keys()} == set()


def base_of(base: Any) -> Config:
    if isinstance(base, str):
        return tiny(base)
    if base and base[0] == "spade":
        return tiny(*base)
    return small("generator.norm=instance", *base)


def pairs_of(config: Config) -> dict[str, torch.Tensor]:
    if config.data.labels is None:
        return batch(2, size=config.data.size[0])
    taller = config.data.size[0] // 32
    return {key: value.repeat_interleave(taller, -2) for key, value in label_batch(2).items()}


def taken_up(config: Config, folder: Path) -> dict[str, Any]:
    """Return weights and figures of the step after a checkpoint, taken by these settings."""
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.training.precision)
    state = build_state(config, fabric)
    without = not (folder / "generator_ema.safetensors").exists()
    load_checkpoint(state, folder, begin_average=without)
    state.frozen_until = round(config.training.fix_global * 4)
    begin_epoch(state.discriminator_weights, 2, config=config, fabric=fabric)
    set_learning_rates(state, 2)
    scalars = training_step(state, pairs_of(config), objective_of(state))
    networks = {name: network.plain for name, network in state.networks.items()}
    if state.ema is not None:
        networks["ema"] = state.ema
    weights = {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    return {**weights, **scalars}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory):
    """Make runs stopped after two steps: of a base, its settings, folder and what comes next."""
    known: dict[Any, tuple[Config, Path, dict[str, Any]]] = {}

    def make(base: Any) -> tuple[Config, Path, dict[str, Any]]:
        if base not in known:
            config, run = base_of(base), tmp_path_factory.mktemp("run")
            state = build_state(config, Fabric(accelerator="cpu", devices=1))
            state.frozen_until = round(config.training.fix_global * 4)
            for _ in range(2):
                training_step(state, pairs_of(config), objective_of(state))
            folder = save_checkpoint(state, run)
            assert folder is not None
            write_text(run / "config.yaml", to_yaml(config))
            known[base] = config, run, taken_up(config, folder)
        return known[base]

    return make


# What another key's change asks for, too.
TOGETHER = {
    "encoder.latent": ["generator.latent=6"],
    "generator.latent": ["encoder={name: spade-encoder, layers: 2, width: 4, latent: 5}"],
}


@pytest.mark.parametrize("key", STEP)
def test_the_step_after_a_resume_has_an_allowed_key_or_it_is_refused_by_name(
    key: str, stopped
) -> None:
    base, value = STEP[key]
    config, run, unchanged = stopped(base)
    own = key.replace(".N.", ".0.")
    folder = newest(run)
    assert folder is not None
    now = config
    try:
        now = resolved(with_overrides(config, [f"{own}={value}", *TOGETHER.get(key, [])]))
        allow = (own.partition(".")[0], "generator", "encoder")
        _, changed = check_run(run, now, resume=True, allow=allow)
        after = taken_up(now, folder)
    except ShapeError as error:
        refusal: LimnerError | None = misfit(run, changed, error)
    except LimnerError as error:
        refusal = error
    else:
        refusal = None
        assert own in changed
        assert not equal(after, unchanged)
    if refusal is not None:
        assert isinstance(refusal, ConfigError)
        if now is config:  # the settings contradict each other
            assert own.partition(".")[0] in str(refusal)
        else:
            named = {own, *(change.partition("=")[0] for change in TOGETHER.get(key, []))}
            assert any(name in str(refusal) for name in named)
            assert "new run" in str(refusal)


@pytest.mark.parametrize("key", TERMS)
def test_the_perceptual_loss_has_what_is_allowed(
    key: str, fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(api, "make_perceptual", lambda **settings: given.append(settings))
    base = small("objective.vgg=2")
    terms = []
    for config in (base, with_overrides(base, [f"{key}={TERMS[key]}"])):
        terms.append(api.build_objective(config, fabric, None))
    unlike = ("dtype", "device", "context")
    plain = [{k: v for k, v in one.items() if k not in unlike} for one in given]
    assert len(plain) == 2
    assert (plain[0], terms[0]) != (plain[1], terms[1])


@pytest.mark.parametrize("key", READ)
def test_the_batch_after_a_resume_has_an_allowed_key(key: str, pairs: Path, tmp_path: Path) -> None:
    config = small(
        f"data.root={str(pairs)!r}", "data.range.source=[1, 255]", "data.range.target=[1, 255]"
    )
    batches = []
    given = key.replace(".percentiles", "")
    value = READ[key]
    if given != key:
        value = f"{{percentiles: {value}}}"
    more = ["data.convert=true"] if key == "data.channels" else []
    for overrides in ([], [f"{given}={value}", *more]):
        data = open_training_data(
            with_overrides(config, overrides), cache_folder=tmp_path / "cache"
        )
        batches.append(next(data.batches(5)))
    before, after = batches
    if key == "data.convert":  # these pairs need none
        assert data.train.convert
    else:
        assert not equal(before, after)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A run of four steps, of twelve, with dropout and batch norm, validated twice."""
    root = tmp_path_factory.mktemp("begun")
    data = write_pairs(root / "data", train=4, val=2, test=2)
    config = small(
        *UNET, f"data.root={str(data)!r}", "generator.norm=batch", "training.epochs=2",
        "validation.every=0.5", "validation.best=l1", "training.samples_every=0.5",
    )  # fmt: skip
    train(with_overrides(config, ["training.steps=4"]), out=root / "run", cache_folder=root / "c")
    return config, root / "run"


def seen(config: Config, run: Path, tmp_path: Path, *, allow: tuple[str, ...]) -> tuple[Any, ...]:
    copy = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
    shutil.copytree(run, copy)
    train(
        config, out=copy, resume=True, allow=("training.steps", *allow), cache_folder=tmp_path / "c"
    )
    unseen = ("time", "seconds_per_step", "changed")
    events = [{k: v for k, v in e.items() if k not in unseen} for e in read_events(copy)]
    best = copy / "checkpoints" / "best.json"
    samples = [path.read_bytes() for path in sorted((copy / "samples").iterdir())]
    kept = [e for e in events if e["event"] not in ("start", "resume", "finished")]
    return kept, samples, best.read_text() if best.exists() else None


@pytest.fixture(scope="module")
def unchanged(
    begun: tuple[Config, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, ...]:
    """What a resume of that run to its end leaves, with the settings that it had."""
    return seen(*begun, tmp_path_factory.mktemp("unchanged"), allow=())


@pytest.mark.parametrize("key", LOOP)
def test_what_follows_a_resume_has_an_allowed_key(
    key: str, begun: tuple[Config, Path], unchanged: tuple[Any, ...], tmp_path: Path
) -> None:
    config, run = begun
    now = with_overrides(config, [f"{key}={LOOP[key]}"])
    assert seen(now, run, tmp_path, allow=(key,)) != unchanged


def test_the_best_is_chosen_anew_by_another_figure(
    begun: tuple[Config, Path], tmp_path: Path
) -> None:
    config, run = begun
    kept, _, best = seen(
        with_overrides(config, ["validation.best=ssim"]), run, tmp_path, allow=("validation.best",)
    )
    later = [e["ssim"] for e in kept if e["event"] == "validation" and e["step"] > 4]
    assert best is not None
    assert f'"value": {max(later)}' in best
    assert any("validation.best" in e["text"] for e in kept if e["event"] == "note")


@pytest.mark.parametrize("key", sorted(SAID))
def test_config_yaml_has_what_is_allowed(
    key: str, begun: tuple[Config, Path], tmp_path: Path
) -> None:
    config, run = begun
    shutil.copytree(run, tmp_path / "run")
    now = with_overrides(config, [f"{key}=other", "training.steps=4"])
    train(now, out=tmp_path / "run", resume=True, allow=(key,), cache_folder=tmp_path / "c")
    assert read_config(tmp_path / "run" / "config.yaml") == now.model_copy(
        update={"data": read_config(tmp_path / "run" / "config.yaml").data}
    )
    assert "other" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_run_keeps_the_number_of_its_discriminators(
    count: int, begun: tuple[Config, Path], fabric
) -> None:
    run = begun[1]
    one = "{name: patch, layers: 1, width: 4, norm: instance}"
    two = small(*TWO, *UNET)
    write_text(run.parent / "two" / "config.yaml", to_yaml(two))
    save_checkpoint(build_state(two, fabric), run.parent / "two")
    now = with_overrides(two, [f"discriminators=[{', '.join([one] * count)}]"])
    with pytest.raises(ConfigError, match=r"discriminators.*new run"):
        check_run(run.parent / "two", now, resume=True, allow=("discriminators",))


def test_an_average_may_begin_where_the_run_had_none(fabric, tmp_path: Path) -> None:
    state = build_state(small(), fabric)
    training_step(state, batch(1), objective_of(state))
    folder = save_checkpoint(state, tmp_path)
    assert folder is not None
    other = build_state(small("training.ema=0.9"), fabric)
    load_checkpoint(other, folder, begin_average=True)
    assert other.ema is not None
    for one, two in zip(
        other.ema.state_dict().values(), state.generator.plain.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
