"""Statistics of batch norms, estimated anew on other data without any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from batch_norm_run import make_run
from random_pairs import write_pairs
from tiny import small

from limner.api import train
from limner.cli import main
from limner.config import Config, read_config, replace
from limner.errors import ConfigError
from limner.files import read_events
from limner.inference import Translator, open_pairs
from limner.run import checkpoint_folder, read_weights
from limner.training.norm_statistics import re_estimate, stored
from limner.training.state import build_generator


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with batch norm on pictures; beside it the data, and the same with dark sources."""
    return make_run(tmp_path_factory.mktemp("statistics"))


def numbers(run: Path) -> dict[str, torch.Tensor]:
    return read_weights(checkpoint_folder(run) / "generator.safetensors")[0]


def test_epochs_0_writes_a_run_with_the_new_data_s_statistics(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dark, out = str(run.parent / "dark"), tmp_path / "new"
    words = ["train", dark, "--from", str(run), "--epochs", "0", "--out", str(out), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 0
    (event,) = [event for event in read_events(out) if event["event"] == "statistics"]
    assert (event["split"], event["pairs"], event["pictures"]) == ("val", 4, 12)
    assert event["l1_after"] < 0.8 * event["l1_before"]
    before, after = numbers(run), numbers(out)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("running_" in name for name in changed)
    # What is said is what the new run then does: nothing was trained, nothing else is different.
    pairs = open_pairs(read_config(out / "config.yaml"), run.parent / "dark", "val")
    errors = []
    for folder in (run, out):
        translator = Translator.load(folder, backend="eager")
        made = [translator.translate_sample(pairs[k]) - pairs[k]["target"] for k in range(4)]
        errors.append(float(torch.stack(made).abs().mean()))
    assert errors == pytest.approx([event["l1_before"], event["l1_after"]], abs=1e-5)
    assert (out / "report.html").exists()


def test_it_repeats_to_the_last_bit(run: Path, tmp_path: Path) -> None:
    config = read_config(run / "config.yaml")
    pairs = open_pairs(config, run.parent / "dark", "train")
    states = []
    for _ in range(2):
        network = Translator.load(run, backend="eager").generator
        torch.rand(7)  # others draw, too
        re_estimate(network, config, pairs)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_first_norm_stores_the_moments_of_what_it_sees(tmp_path: Path) -> None:
    """Held against a direct computation over all pixels of all sources."""
    data = write_pairs(tmp_path / "data", train=5)
    config = small("generator.norm=batch", f"data.root={str(data)!r}", "data.mode=resize")
    network = build_generator(config)
    pairs = open_pairs(config, data, "train")
    re_estimate(network, config, pairs)
    name, norm = next(iter(stored(network).items()))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double()))
    translator = Translator(network, config)
    for index in range(5):
        translator.translate_sample(pairs[index])
    values = torch.cat(seen).movedim(1, 0).flatten(1)
    assert name == "downs.1.norm"
    torch.testing.assert_close(norm.running_mean.double(), values.mean(1), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(norm.running_var.double(), values.var(1), rtol=1e-5, atol=1e-9)


def refused(config: Config, out: Path, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        train(config, out=out, cache_folder=out.parent / "cache")
    assert not out.exists()


def test_where_nothing_is_stored_or_used_it_is_refused(run: Path, tmp_path: Path) -> None:
    asked = {"training.start_from": str(run), "training.statistics": "re-estimate"}
    config = replace(read_config(run / "config.yaml"), {**asked, "training.epochs": 0})
    refused(replace(config, {"generator.norm": "instance"}), tmp_path / "a", "no statistics")
    refused(replace(config, {"inference.statistics": "batch"}), tmp_path / "b", "running")
    with pytest.raises(ConfigError, match="--from"):
        replace(config, {"training.start_from": None, "training.statistics": "keep"})
