"""Checkpoints of other projects are trained further on other data with --from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from random_pairs import write_pairs

from limner.cli import main
from limner.files import read_events
from limner.run import checkpoint_folder, read_weights
from limner.transfer.import_run import import_as_run

GOLDEN = Path(__file__).resolve().parents[2] / "../shared/golden"
STEPS = 10
# What the golden generators were trained with that their files do not show.
OPTIONS: dict[str, list[str]] = {
    "junyanz_unet128_batch": ["dropout=true"],
    "junyanz_resnet6_instance": ["dropout=false"],
    "pix2pixhd_global": ["label_nc=5"],
    "spade_normal": ["label_nc=5", "crop_size=128", "aspect_ratio=2.0"],
}


def draw_labels(root: Path, *, classes: int) -> Path:
    """Label maps of blocks with an instance a block, and pictures of noise; 64 x 128."""
    rng = np.random.default_rng(0)
    for folder in ("train_label", "train_img", "train_inst"):
        (root / folder).mkdir(parents=True)
    for index in range(2):
        ids = rng.integers(0, classes, (4, 8), dtype=np.uint8)
        ids.flat[:classes] = range(classes)
        Image.fromarray(ids.repeat(16, 0).repeat(16, 1)).save(root / f"train_label/{index}.png")
        blocks = np.arange(32, dtype=np.uint8).reshape(4, 8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(blocks).save(root / f"train_inst/{index}.png")
        noise = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"train_img/{index}.png")
    (root / "dataset.yaml").write_text(json.dumps({"classes": [f"c{k}" for k in range(classes)]}))
    return root


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not beside this checkout")
@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_golden_checkpoint_is_fine_tuned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index: list[dict[str, Any]] = json.loads((GOLDEN / "index.json").read_text(encoding="utf-8"))
    (entry,) = [entry for entry in index if entry["name"] == name]
    run = tmp_path / "imported"
    import_as_run(GOLDEN / f"{name}.pth", project=entry["source"], out=run, options=OPTIONS[name])
    if entry["source"] == "junyanz":
        data = write_pairs(tmp_path / "data", tile=26, train=2)
        size = ["--size", "128"]
    else:  # one class more than the network knows
        data, size = draw_labels(tmp_path / "data", classes=6), ["--size", "64x128"]
    out = tmp_path / "tuned"
    few = ["--epochs", str(STEPS), "--set", f"training.steps={STEPS}", "--batch-size", "1"]
    narrow = ["--set", "discriminators.0.width=4", "--set", "objective.vgg=0"]
    words = ["train", str(data), "--from", str(run), "--out", str(out), *size, *few, *narrow]
    assert main([*words, "--set", "training.discriminator_warmup=2"]) == 0
    (event,) = [event for event in read_events(out) if event["event"] == "transfer"]
    assert "discriminator_0" in event["initialised"]
    assert not [n for n in event["initialised"] if n.startswith("generator.")]
    before, after = (
        read_weights(checkpoint_folder(each) / "generator.safetensors")[0] for each in (run, out)
    )
    assert event["loaded"] == len(before)
    moved = [n for n in before if before[n].shape == after[n].shape and "num_batches" not in n]
    assert any(not np.array_equal(before[n], after[n]) for n in moved)
    for key in event["remapped"]:
        key = key.removeprefix("generator.")
        assert after[key].shape[1] == before[key].shape[1] + 1
