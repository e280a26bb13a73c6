"""`limner export`, `limner bench` and `limner translate --backend`, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from overriding import with_overrides
from PIL import Image

from limner import timing
from limner.cli import main
from limner.config import resolved, to_yaml
from limner.files import write_text
from limner.inference import bench as benching
from limner.inference.backends import lacking
from limner.presets import preset
from limner.timing import Calls, TimedProcess
from limner.training.checkpoint import save_checkpoint
from limner.training.state import build_state


@pytest.fixture
def run(tmp_path: Path) -> Path:
    small = ["data.size=32", "generator.width=4", "generator.depth=3", "generator.norm=batch"]
    config = resolved(
        with_overrides(preset("pix2pix-small"), [*small, "discriminators.0.layers=1"])
    )
    folder = tmp_path / "run"
    write_text(folder / "config.yaml", to_yaml(config))
    save_checkpoint(build_state(config, Fabric(accelerator="cpu", devices=1)), folder)
    return folder


class Here(TimedProcess):
    """Calls in this process, where the test can change what they find."""

    def __init__(self, build: Callable[[], Calls]) -> None:
        self.make = build

    def build(self) -> float:
        self.calls = self.make()
        return 0.0

    def result(self, name: str) -> Any:
        return self.calls[name]()

    def seconds(self, name: str) -> float:
        return timing.lasting(self.calls[name], seconds=0.0)

    def __exit__(self, *error: object) -> None:
        pass


def test_export_says_what_it_wrote(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--format", "torchscript", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert Path(facts["file"]).is_file()
    assert facts["difference"] < facts["bound"] == 1e-4
    out = run.parent / "fixed.pt"
    words = ["export", str(run), "--format", "torchscript", "--out", str(out), "--size", "32x48"]
    assert main(words) == 0
    assert "fixed.pt (" in capsys.readouterr().out
    assert main(words) == 2
    assert "fixed.pt exists" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--bound", "0"]) == 1
    assert "nothing was written" in capsys.readouterr().err
    assert main(["export", str(run), "--size", "32"]) == 2
    assert "--size 32: give HEIGHTxWIDTH" in capsys.readouterr().err


def test_bench_compares_by_turns_and_notes_a_busy_machine(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "busy_fraction", lambda: 0.5)
    words = ["bench", str(run), "--backends", "folded,bf16", "--rounds", "2", "--batch", "2"]
    assert main([*words, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    rows = {row["backend"]: row for row in results["rows"]}
    lacks = lacking("bf16", torch.device("cpu")) is not None
    assert list(rows) == ["eager", "folded"] + ([] if lacks else ["bf16"])
    assert rows["eager"]["difference"] == rows["eager"]["levels"] == 0
    assert rows["eager"]["speedup"] == 1
    assert rows["folded"]["difference"] < 1e-5
    if lacks:
        assert results["notes"].pop().startswith("bf16: ")
    else:
        assert 1e-5 < rows["bf16"]["difference"] < 0.1
    assert all(row["latency"] > 0 and row["throughput"] > 0 for row in rows.values())
    assert results["size"] == [32, 32]
    assert results["notes"] == ["the machine was 50% busy with other work: ratios hold roughly"]
    monkeypatch.setattr(benching, "TimedProcess", Here)
    assert main([*words, "--size", "40x64"]) == 0
    printed = capsys.readouterr().out
    assert "40x64" in printed
    assert ("| bf16 |" in printed) != lacks
    assert main(["bench", str(run), "--backends", "fast"]) == 2
    assert "unknown back end 'fast'" in capsys.readouterr().err


def test_what_cannot_serve_is_noted_unless_it_was_asked_for(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "busy_fraction", lambda: 0.0)
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for module in ("backends", "cpu.packed_convolutions"):  # plain operations: any processor
        monkeypatch.setattr(f"limner.inference.{module}.has_onednn", lambda: False)
    monkeypatch.setattr(benching, "TimedProcess", Here)
    results = benching.bench(run, rounds=2, batch=1)
    assert [row["backend"] for row in results["rows"]] == ["eager", "folded", "f16", "bf16"]
    assert [note.split(":")[0] for note in results["notes"]] == [
        "onnxruntime",
        "openvino",
        "openvino-f16",
        "openvino-bf16",
    ]


def test_translate_takes_a_back_end(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = run.parent / "a.png"
    pixels = torch.randint(256, (32, 32, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.to(torch.uint8).numpy()).save(source)
    shown = {}
    for name in ("eager", "folded"):
        out = run.parent / name
        words = ["translate", str(run), str(source), "--out", str(out), "--backend", name]
        assert main(words) == 0
        with Image.open(out / "a.png") as picture:
            shown[name] = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).int()
    assert int((shown["eager"] - shown["folded"]).abs().max()) <= 1
    assert main(["translate", str(run), str(source), "--out", "x", "--backend", "none"]) == 2
    assert "unknown back end 'none'" in capsys.readouterr().err
