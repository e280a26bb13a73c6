"""What a plan says: measured here, reckoned for GPUs, and advice that fits when it is followed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from random_pairs import write_pairs

from limner.cli import main
from limner.config import Config, parse_overrides, replace
from limner.errors import ConfigError
from limner.plan import GPUS, Plan, plan_training
from limner.presets import preset
from limner.training.datasets import open_training_data

TINY = {
    "data.size": 32,
    "data.load_size": 36,
    "generator.width": 4,
    "discriminators.0.width": 4,
    "discriminators.0.layers": 1,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data", train=8, val=2)


def planned(data: Path, changes: dict[str, object], **options: object) -> tuple[Config, Plan]:
    config = replace(preset("pix2pix"), {"data.root": str(data), **changes})
    opened = open_training_data(config, cache_folder=data.parent / "cache")
    return config, plan_training(config, opened, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_plan_for_this_machine_is_measured_by_training(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data.parent / "cache"))
    settings = [f"--set={key}={value}" for key, value in TINY.items()]
    words = ["plan", str(data), "--preset", "pix2pix", *settings, "--set=training.epochs=3"]
    assert main([*words, "--price", "3600", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["step"]["measured"] is True
    assert plan["fits"] is True
    assert plan["advice"] == []
    assert plan["training"]["steps"] == 24
    assert plan["training"]["seconds"] >= 24 * plan["step"]["seconds"]
    assert plan["training"]["cost"] == pytest.approx(plan["training"]["seconds"])
    assert sum(plan["memory"]["by"].values()) == plan["memory"]["peak_bytes"]
    # PyTorch alone takes over 100 MB, and this network next to nothing.
    assert 100e6 < plan["memory"]["peak_bytes"] < 2e9
    assert {path.name for path in data.parent.iterdir()} == {"data", "cache"}


def test_a_gpu_is_reckoned_and_said_to_be(data: Path) -> None:
    _, plan = planned(data, TINY, device="a100")
    assert not plan.to_json()["step"]["measured"]
    assert plan.device == GPUS["a100"].name
    assert plan.fits
    assert plan.limit_bytes == GPUS["a100"].memory
    assert any("reached" in text for text in plan.assumptions)
    large = {"data.size": 256, "data.load_size": 256}
    slower, faster = (planned(data, TINY | large, device=gpu)[1] for gpu in ("t4", "h100"))
    assert slower.seconds_per_step > faster.seconds_per_step


@pytest.mark.slow
def test_advice_has_the_figures_that_following_it_gives(data: Path) -> None:
    changes = TINY | {"training.batch_size": 4, "generator.width": 16}
    config, plan = planned(data, changes, device="l4", memory=1024)
    assert not plan.fits
    assert {"training.accumulate=4", "training.batch_size=1"} in [set(a.set) for a in plan.advice]
    assert all(advice.peak_bytes < plan.peak_bytes for advice in plan.advice)
    for advice in (plan.advice[0], plan.advice[-1]):
        followed = replace(config, parse_overrides(advice.set))
        opened = open_training_data(followed, cache_folder=data.parent / "cache")
        again = plan_training(followed, opened, device="l4")
        assert again.peak_bytes == advice.peak_bytes
        assert again.seconds_per_step == pytest.approx(advice.seconds)


def test_the_terminal_says_settings_as_a_shell_takes_them(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data.parent / "cache"))
    assert (
        main(["plan", str(data), "--preset", "pix2pix", "--device", "t4", "--memory", "1MiB"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    smaller = [line for line in lines if line.startswith("smaller")]
    words = shlex.split(smaller[0].split(":")[0])
    assert words[1::2] == ["--set"] * (len(words) // 2)
    assert replace(preset("pix2pix"), parse_overrides(words[2::2])) != preset("pix2pix")


def test_what_cannot_be_planned_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="h200"):
        planned(data, TINY, device="h200")
    with pytest.raises(ConfigError, match="bfloat16"):
        planned(data, TINY | {"training.precision": "bf16-mixed"}, device="t4")
    for words in (["--memory", "much"], ["--memory", "0GiB"], ["--price", "-1"]):
        assert main(["plan", str(data), "--preset", "pix2pix", *words]) == 2


def test_pictures_of_their_own_size_are_planned_at_the_largest(data: Path) -> None:
    write_pairs(data / "more", train=1, tiles=16)
    (data / "more" / "train" / "0.png").rename(data / "train" / "large.png")
    own = TINY | {"data.mode": "none", "generator.depth": 3}
    _, plan = planned(data, own, device="l4")
    size = {"data.size": 128, "data.load_size": 128, "generator.depth": 3}
    _, fixed = planned(data, TINY | size, device="l4")
    assert plan.counts.macs == fixed.counts.macs
