"""The presets of pix2pixHD and SPADE: their size, and that tiny ones of them train and resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from overriding import with_overrides
from test_checkpoint import equal
from test_resume import outcome
from tiny import TINY, label_batch, objective_of, tiny

from limner.api import train
from limner.config import resolved
from limner.errors import CheckpointError, ConfigError, DataError
from limner.files import write_text
from limner.inference import Translator, draw_codes, plan_translation
from limner.networks import count_parameters, make_discriminator, make_encoder, make_generator
from limner.presets import preset
from limner.training.events import read_events
from limner.training.state import build_state
from limner.training.step import training_step

NOT_NETWORK = {"init", "init_gain", "conditional", "lr", "optimizer"}

# With the 36 channels of Cityscapes in these papers' code: 35 labels and the edges.
SIZES = {
    "pix2pixhd-global": (182_546_755, 5_603_202, None),
    "pix2pixhd": (182_857_059, 8_404_803, None),
    "spade": (93_048_003, 5_601_410, None),
    "spade-vae": (109_557_955, 5_601_410, 10_463_424),
}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_full_presets_have_the_papers_sizes(name: str) -> None:
    config = resolved(
        with_overrides(preset(name), ["data.labels.classes=35", "data.labels.edges=true"])
    )
    with torch.device("meta"):
        generator = make_generator(
            **config.generator.model_dump(exclude=NOT_NETWORK),
            in_channels=config.input_channels,
            out_channels=3,
        )
        judge = make_discriminator(
            **config.discriminators[0].model_dump(exclude=NOT_NETWORK),
            in_channels=config.source_channels + 3,
        )
        encoder = None
        if config.encoder is not None:
            encoder = make_encoder(**config.encoder.model_dump(exclude=NOT_NETWORK), in_channels=3)
    found = (
        count_parameters(generator),
        count_parameters(judge),
        None if encoder is None else count_parameters(encoder),
    )
    assert found == SIZES[name]
    # Whole pictures of the preset's size, in shapes alone: everything fits together.
    height, width = config.data.size
    source = torch.zeros(1, config.source_channels, height, width, device="meta")
    style = () if encoder is None else encoder(source[:, :3])[:1]
    picture = generator(source, *style)
    assert picture.shape == (1, 3, height, width)
    scales = judge(torch.cat([source, picture], dim=1))
    assert [len(layers) for layers in scales] == [5] * (3 if name == "pix2pixhd" else 2)


@pytest.mark.parametrize("name", sorted(TINY))
def test_two_steps_teach_every_network(name: str, fabric) -> None:
    state = build_state(
        tiny(name, "training.fix_global=0") if name == "pix2pixhd" else tiny(name), fabric
    )
    before = {
        key: [parameter.clone() for parameter in player.plain.parameters()]
        for key, player in state.networks.items()
    }
    for seed in range(2):
        scalars = training_step(state, label_batch(2, seed=seed), objective_of(state))
    expected = {"g/gan", "g/feature_matching", "g/total", "d/real", "d/fake", "d/total"}
    assert expected <= set(scalars)
    assert ("g/kl" in scalars) == (name == "spade-vae")
    assert all(bool(torch.isfinite(value)) for value in scalars.values())
    assert ("encoder" in state.networks) == (name in ("spade-vae", "pix2pixhd-features"))
    for key, player in state.networks.items():
        pairs = zip(before[key], player.plain.parameters(), strict=True)
        moved = sum(not torch.equal(old, new) for old, new in pairs)
        # Biases before a norm have no gradient; weights have.
        assert moved > len(before[key]) / 2, key


@pytest.mark.parametrize("name", ["spade-vae", "pix2pixhd-features", "pix2pixhd"])
def test_four_steps_equal_two_a_resume_and_two(name: str, labelled: Path, tmp_path: Path) -> None:
    """With augmentation, r1 now and then, several updates, and the enhancer alone at first."""
    settings = [
        f"data.root={str(labelled)!r}",
        "training.epochs=2",  # of 3 steps
        "training.samples_every=null",
        "validation.every=1",
        "training.ema=0.5",
        "objective.augment=[colour, translation, cutout]",
        "objective.r1=1",
        "objective.r1_every=3",
        "training.discriminator_updates=2",
        "training.generator_updates=2",
        "training.update_order=discriminator-first",
    ]
    if name == "pix2pixhd":
        settings.append("training.fix_global=1")
    cache = tmp_path / "cache"
    for run, ends in (("whole", (4,)), ("parts", (2, 3, 4))):
        for end in ends:
            train(
                tiny(name, *settings, f"training.steps={end}"),
                out=tmp_path / run,
                resume=True,
                allow=("training.steps",),
                cache_folder=cache,
            )
    whole, scalars = outcome(tmp_path / "whole")
    parts, others = outcome(tmp_path / "parts")
    assert whole["step"] == 4
    assert equal(whole, parts)
    assert all(one in others for one in scalars)
    assert ("encoder.safetensors" in whole) == (name != "pix2pixhd")


def test_the_enhancer_learns_alone_at_first_then_all_do_afresh(fabric) -> None:
    state = build_state(tiny("pix2pixhd"), fabric)
    state.frozen_until = 2
    objective = objective_of(state)
    moved: list[dict[str, bool]] = []
    for seed in range(3):
        before = {key: value.clone() for key, value in state.generator.plain.named_parameters()}
        training_step(state, label_batch(2, seed=seed), objective)
        moved.append(
            {
                key.split(".")[0]: not torch.equal(value, before[key])
                for key, value in state.generator.plain.named_parameters()
                if key.endswith("conv.weight") or ".conv1." in key
            }
        )
    assert moved[0] == moved[1] == {"coarse": False, "enhancers": True, "last": True}
    assert moved[2] == {"coarse": True, "enhancers": True, "last": True}
    steps = {
        int(entry["step"]) for entry in state.generator.optimizer.state_dict()["state"].values()
    }
    assert steps == {1}


@pytest.mark.parametrize("reset", [True, False])
def test_an_encoders_optimizer_begins_anew_where_it_is_asked_to(reset: bool, fabric) -> None:
    features = "encoder={name: features, width: 4, downs: 1, features: 2}"
    config = tiny("pix2pixhd", features, f"training.reset_encoder={str(reset).lower()}")
    state = build_state(config, fabric)
    state.frozen_until = 2
    for seed in range(3):
        training_step(state, label_batch(2, seed=seed), objective_of(state))
    assert state.encoder is not None
    entries = state.encoder.optimizer.state_dict()["state"].values()
    assert {int(entry["step"]) for entry in entries} == {1 if reset else 3}


def test_a_feature_encoder_begins_as_pix2pixhds(fabric) -> None:
    """Weights from N(0, 0.02^2); biases as PyTorch draws them, of the bound 1 / sqrt(fan)."""
    features = "encoder={name: features, width: 16, downs: 2, features: 3}"
    encoder = build_state(tiny("pix2pixhd-global", features), fabric).encoder
    assert encoder is not None
    for name, value in encoder.plain.state_dict().items():
        if name.endswith("bias"):
            weight = encoder.plain.state_dict()[name.removesuffix("bias") + "weight"]
            bound = weight[0].numel() ** -0.5
            assert 0 < float(value.abs().max()) <= bound, name
        else:
            assert float(value.detach().std()) == pytest.approx(0.02, rel=0.2), name


def test_enhancers_begin_around_the_global_generator_of_a_run(
    labelled: Path, tmp_path: Path
) -> None:
    root = f"data.root={str(labelled)!r}"
    coarse, cache = tmp_path / "coarse", tmp_path / "cache"
    quiet = ("training.steps=2", "training.samples_every=null")
    width = "generator.width=4"
    made = train(tiny("pix2pixhd-global", root, width, *quiet), out=coarse, cache_folder=cache)
    config = tiny(
        "pix2pixhd", root, "generator.width=2", *quiet,
        f"training.start_from={str(coarse)!r}", "training.fix_global=9", "training.lr=1e-3",
    )  # fmt: skip
    fine = train(config, out=tmp_path / "fine", cache_folder=cache)
    inside = made.generator.plain.state_dict()
    for key, value in fine.generator.plain.state_dict().items():
        if key.startswith("coarse."):
            assert torch.equal(value, inside[key.removeprefix("coarse.")]), key
    # A resume needs that run no more.
    (coarse / "config.yaml").unlink()
    more = with_overrides(config, ["training.steps=3"])
    again = train(
        more, out=tmp_path / "fine", resume=True, allow=("training.steps",), cache_folder=cache
    )
    assert again.step == 3


def test_a_run_that_cannot_serve_is_refused_before_training(labelled: Path, tmp_path: Path) -> None:
    root = f"data.root={str(labelled)!r}"
    cache = tmp_path / "cache"
    for overrides, message in (
        ((), "is no folder"),
        (("generator.width=8",), r"start_from=.*do not fit into the global part"),
    ):
        other = tmp_path / "other"
        if overrides:
            one = tiny("pix2pixhd-global", root, *overrides, "training.steps=1")
            train(one, out=other, cache_folder=cache)
        config = tiny("pix2pixhd", root, f"training.start_from={str(other)!r}")
        with pytest.raises(CheckpointError, match=message):
            train(config, out=tmp_path / "run", cache_folder=cache)
        assert not (tmp_path / "run").exists()


def test_losses_of_held_out_pairs_are_logged_and_change_nothing(
    labelled: Path, tmp_path: Path
) -> None:
    settings = (f"data.root={str(labelled)!r}", "training.steps=3", "training.samples_every=null")
    cache = tmp_path / "cache"
    for run, every in (("with", 0.34), ("without", "null")):
        config = tiny("spade-vae", *settings, f"validation.every={every}", "objective.l1=1")
        train(config, out=tmp_path / run, cache_folder=cache)
    one, two = outcome(tmp_path / "with")[0], outcome(tmp_path / "without")[0]
    assert equal(one, two)
    events = read_events(tmp_path / "with")
    held = [event for event in events if event["event"] == "validation"]
    logged = next(event for event in events if event["event"] == "train")
    terms = {key for key in logged if key.startswith(("g/", "d/"))}
    assert len(held) == 3
    assert {key for key in held[0] if key.startswith("val/")} == {f"val/{t}" for t in terms}
    assert {"val/g/l1", "val/g/feature_matching", "val/g/kl", "val/d/accuracy"} <= set(held[0])


def test_a_style_is_taken_from_a_picture_or_drawn(labelled: Path, tmp_path: Path) -> None:
    config = tiny(
        "spade-vae", f"data.root={str(labelled)!r}", "training.steps=2", "training.lr=1e-2"
    )
    train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    translator = Translator.load(tmp_path / "run")
    pair = label_batch(2)
    source, instance, style = pair["source"], pair["instance"], pair["target"]
    plain = translator(source, instance)
    assert torch.equal(plain, translator(source, instance, code=draw_codes(1, 5, seed=0)))
    drawn = [translator(source, instance, code=code[None]) for code in draw_codes(3, 5, seed=0)]
    assert torch.equal(drawn[0], plain)
    assert not torch.equal(drawn[0], drawn[1])
    styled = translator(source, instance, style=style[:1])
    assert not torch.equal(styled, plain)
    alone = translator(source[1:], instance[1:], style=style[:1])
    torch.testing.assert_close(styled[1:], alone)
    assert torch.equal(draw_codes(2, 5, seed=3), draw_codes(4, 5, seed=3)[:2])


def test_features_are_those_of_the_picture_given(labelled: Path, tmp_path: Path) -> None:
    config = tiny(
        "pix2pixhd-features", f"data.root={str(labelled)!r}", "training.steps=2",
        "data.mode=resize", "training.lr=1e-2", "validation.every=1",
    )  # fmt: skip
    train(config, out=tmp_path / "run", cache_folder=tmp_path / "cache")
    translator = Translator.load(tmp_path / "run")
    pair = label_batch(1)
    source, instance, style = pair["source"], pair["instance"], pair["target"]
    picture = translator(source, instance, style=style)
    assert picture.shape == style.shape
    assert not torch.equal(picture, translator(source, instance, style=style * 0.1))
    # Any size of either comes back as the source's.
    odd = translator(source[:, :29, :37], instance[:, :29, :37], style=style)
    assert odd.shape == (1, 3, 29, 37)
    with pytest.raises(ConfigError, match="give one with --style"):
        translator(source, instance)
    with pytest.raises(DataError, match="instance map"):
        translator(source, None, style=style)


def test_what_a_run_cannot_be_told_is_one_sentence(fabric) -> None:
    config = tiny("spade-small")
    translator = Translator(build_state(config, fabric).generator.plain, config)
    pair = label_batch(1)
    with pytest.raises(ConfigError, match="--style needs a run with an encoder"):
        translator(pair["source"], pair["instance"], style=pair["target"])
    with pytest.raises(ConfigError, match="--samples needs a run whose generator takes"):
        translator(pair["source"], pair["instance"], code=torch.zeros(1, 5))


def test_samples_are_numbered_files(tmp_path: Path) -> None:
    write_text(tmp_path / "a.png", "")
    write_text(tmp_path / "b.png", "")
    plan = plan_translation([str(tmp_path)], out=tmp_path / "out", samples=10)
    names = [result.name for _, result in plan]
    assert names[:2] == ["a_01.png", "a_02.png"]
    assert names[9:11] == ["a_10.png", "b_01.png"]
    with pytest.raises(ConfigError, match="--samples 0: give 1 or more"):
        plan_translation([str(tmp_path)], out=tmp_path / "out", samples=0)
