"""Exported files compute what the run computes, say what they are, and appear whole or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from overriding import with_overrides

from limner.config import resolved, to_yaml
from limner.errors import CheckpointError, ConfigError, DataError, ExportError
from limner.export import FORMATS, export_run
from limner.files import write_text
from limner.inference import Translator
from limner.networks import pretrained as store
from limner.presets import preset
from limner.training.checkpoint import save_checkpoint
from limner.training.state import build_state

UNET = ("generator.width=4", "generator.depth=3", "generator.norm=batch")
DROPPING = ("data.size=64", "generator.width=4", "generator.depth=6", "inference.dropout=true")
LABELS = ("data.labels.classes=3", "data.labels.void=255", "data.labels.edges=true")
GENERATORS = {
    "unet": UNET,
    "unet of each picture's statistics": (*UNET, "inference.statistics=batch"),
    "unet, instance norm": (*UNET, "generator.norm=instance"),
    "unet, group norm, multiplied": (*UNET, "generator.norm=group", "generator.skips=multiply"),
    "resnet": ("generator.name=resnet", "generator.width=4", "generator.blocks=1"),
    "pix2pixhd": (
        "generator.name=pix2pixhd", "generator.width=4", "generator.blocks=1", "generator.downs=2",
    ),
    "enhancer": (
        "generator.name=pix2pixhd-local", "generator.width=4", "generator.blocks=1",
        "generator.downs=1", "generator.local_blocks=1",
    ),
    "spade": (*LABELS, "generator.name=spade", "generator.width=4", "generator.hidden=6"),
    "spade with codes": (
        *LABELS, "generator.name=spade", "generator.width=4", "generator.hidden=6",
        "generator.latent=5", "data.size=[64, 32]",
    ),
}  # fmt: skip


def needed(form: str) -> None:
    for name in FORMATS[form].needs:
        pytest.importorskip(name, reason=f"{name} is an extra: pip install 'limner[export]'")


def make_run(folder: Path, *settings: str) -> Path:
    base = ("data.size=64", "discriminators.0.layers=1", "training.ema=null")
    config = resolved(with_overrides(preset("pix2pix-small"), [*base, *settings]))
    state = build_state(config, Fabric(accelerator="cpu", devices=1))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in state.generator.plain.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    write_text(folder / "config.yaml", to_yaml(config))
    save_checkpoint(state, folder)
    return folder


# OpenVINO reads the same ONNX and compiles slowly: three kinds have all that it could get wrong.
THROUGH_ONNX = ("unet of each picture's statistics", "resnet", "spade with codes")
CASES = [
    (kind, form)
    for kind in GENERATORS
    for form in FORMATS
    if form != "openvino" or kind in THROUGH_ONNX
]


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_every_generator_is_the_same_elsewhere(kind: str, form: str, tmp_path: Path) -> None:
    needed(form)
    run = make_run(tmp_path / "run", *GENERATORS[kind])
    facts = export_run(run, form=form)
    assert facts["difference"] <= 1e-4
    files = FORMATS[form].files(Path(facts["file"]))
    assert sorted(p.name for p in (run / "export").iterdir()) == sorted(p.name for p in files)
    made = FORMATS[form].read(files)
    translator = Translator.load(run, backend="eager")
    about = FORMATS[form].about(files)
    # A size that the check of parity has not seen.
    side = 3 * about["multiple"]
    source = torch.rand(1, about["inputs"]["source"][1], side, side + about["multiple"])
    given = (source, torch.randn(1, 5)) if "code" in about["inputs"] else (source,)
    with torch.no_grad():
        network = translator.generator.eval()
        if about["statistics"] == "batch":
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.train()
        torch.testing.assert_close(made(*given), network(*given), atol=1e-4, rtol=0)
    weights = run / "checkpoints" / about["checkpoint"] / about["weights"]["file"]
    assert about["weights"]["sha256"] == store.sha256(weights)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("element", "onnx"), ("channel", "onnx"), ("channel", "torchscript"), ("element", "openvino")],
)
def test_dropout_lives_in_the_file(kind: str, form: str, tmp_path: Path) -> None:
    needed(form)
    run = make_run(tmp_path / "run", *DROPPING, f"generator.dropout_kind={kind}")
    facts = export_run(run, form=form)
    assert facts["dropout"]
    assert 0.5 <= facts["dropout_spread"] <= 2
    files = FORMATS[form].files(Path(facts["file"]))
    made = FORMATS[form].read(files)
    source = torch.rand(1, 3, 64, 64)
    assert float((made(source) - made(source)).abs().max()) > 1e-4
    assert FORMATS[form].about(files)["dropout"] is True

    still = export_run(run, form=form, dropout=False, overwrite=True)
    assert not still["dropout"]
    made = FORMATS[form].read(files)
    assert torch.equal(made(source), made(source))


def test_a_file_that_differs_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", *UNET)
    with pytest.raises(ExportError, match=r"differs from the run's generator by .* more than 0:"):
        export_run(run, form="torchscript", bound=0.0)
    assert not (run / "export").exists()
    out = tmp_path / "file.pt"
    export_run(run, form="torchscript", out=out)
    before = out.read_bytes()
    with pytest.raises(DataError, match=r"file\.pt exists: .* --overwrite"):
        export_run(run, form="torchscript", out=out)
    with pytest.raises(ExportError):
        export_run(run, form="torchscript", out=out, overwrite=True, bound=0.0)
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pt", "run"]


def test_dead_dropout_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", *DROPPING)
    monkeypatch.setattr("limner.inference.graphs.DrawnDropout.forward", lambda self, x: x)
    with pytest.raises(ExportError, match="dropout does not live in the exported file"):
        export_run(run, form="torchscript")
    assert not (run / "export").exists()


def test_a_fixed_size_is_fixed(tmp_path: Path) -> None:
    needed("onnx")
    run = make_run(tmp_path / "run", *UNET)
    facts = export_run(run, size=(32, 40))
    files = (Path(facts["file"]),)
    made = FORMATS["onnx"].read(files)
    assert made(torch.zeros(3, 3, 32, 40)).shape == (3, 3, 32, 40)
    with pytest.raises(Exception, match="invalid dimensions"):
        made(torch.zeros(1, 3, 40, 40))
    assert FORMATS["onnx"].about(files)["inputs"]["source"] == ["count", 3, 32, 40]
    with pytest.raises(ConfigError, match=r"--size 30x40: .* multiples of 8 .* give 32x40"):
        export_run(run, size=(30, 40), out=tmp_path / "b.onnx")


def test_the_file_names_its_classes(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", *UNET, *LABELS,
        "data.labels.names=[road, sky, wall]",
        "data.labels.colours=[[9, 8, 7], [1, 2, 3], [4, 5, 6]]",
    )  # fmt: skip
    facts = export_run(run, form="torchscript")
    about = FORMATS["torchscript"].about((Path(facts["file"]),))
    labels = about["labels"]
    assert labels["channels"] == ["class 0", "class 1", "class 2", "void", "edges of instances"]
    assert labels["names"] == ["road", "sky", "wall"]
    assert labels["colours"][2] == [4, 5, 6]
    assert about["inputs"]["source"][1] == len(labels["channels"]) == 5
    assert about["source"] == "labels"
    assert about["range"] == [-1, 1]


def test_onnx_holds_operators_only(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    needed("onnx")
    facts = export_run(make_run(tmp_path / "run", *UNET))
    model = onnx.load(facts["file"])
    assert {one.domain for one in model.opset_import} == {""}
    assert not model.functions
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert json.loads({p.key: p.value for p in model.metadata_props}["limner"])["multiple"] == 8


def test_wrong_use_is_one_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", *UNET)
    with pytest.raises(ConfigError, match=r"unknown format 'onix': did you mean 'onnx'"):
        export_run(run, form="onix")
    with pytest.raises(ConfigError, match=r"has to end in \.pt"):
        export_run(run, form="torchscript", out=tmp_path / "a.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no graph")
    needed("onnx")
    with pytest.raises(CheckpointError, match=r"damaged\.onnx cannot be read as ONNX"):
        FORMATS["onnx"].read((damaged,))


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"needs openvino, .* pip install 'limner\[export\]'"):
        export_run(tmp_path, form="openvino")


def test_numpy_users_get_the_same(tmp_path: Path) -> None:
    """What docs/export.md shows: onnxruntime alone, without limner or PyTorch."""
    onnxruntime = pytest.importorskip("onnxruntime")
    needed("onnx")
    run = make_run(tmp_path / "run", *UNET)
    session = onnxruntime.InferenceSession(export_run(run)["file"])
    source = np.random.default_rng(0).random((1, 3, 32, 48), dtype=np.float32) * 2 - 1
    (picture,) = session.run(["picture"], {"source": source})
    expected = Translator.load(run)(torch.from_numpy(source))
    torch.testing.assert_close(torch.from_numpy(picture), expected, atol=1e-5, rtol=0)
