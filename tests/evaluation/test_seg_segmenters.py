"""Segmenters of four kinds that say the same, sizes that do not divide, and refusals."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import painted
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ConfigError, LimnerError, WeightsError
from limner.evaluation.segmentation.segmenters import (
    Segmenter,
    callable_segmenter,
    load_segmenter,
    padded_size,
    predict,
)


class ByColour(torch.nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, 0.1 * torch.ones_like(images[:, :1])], dim=1)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "by_colour.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(ByColour()).save(str(path))
    return path


def picture(ids: np.ndarray) -> Tensor:
    return torch.from_numpy(painted.paint(ids)).permute(2, 0, 1)


def recognised(segmenter: Segmenter, ids: np.ndarray) -> list[list[int]]:
    found, count = predict(segmenter, picture(ids), size=(ids.shape[0], ids.shape[1]), name="x")
    assert count == 4
    return found.tolist()


def test_all_kinds_recognise_the_same(script: Path, tmp_path: Path) -> None:
    ids = painted.blocks(0, classes=4)
    onnx = load_segmenter(painted.onnx_file(tmp_path / "by_colour.onnx"))
    assert onnx.about["kind"] == "ONNX"
    assert len(onnx.about["sha256"]) == 64
    for segmenter in (
        onnx,
        load_segmenter(script, trust_torchscript=True),
        callable_segmenter(painted.by_colour),
    ):
        assert recognised(segmenter, ids) == ids.tolist()


def test_torchscript_runs_only_when_it_is_trusted(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(torch.jit, "load", refuse)
    with pytest.raises(ConfigError, match=r"a program that runs.*--trust-torchscript"):
        load_segmenter(script)


def test_sizes_that_do_not_divide_are_padded_and_cut() -> None:
    seen: list[Tensor] = []

    def record(images: Tensor) -> Tensor:
        seen.append(images)
        return painted.by_colour(images)

    ids = np.random.RandomState(0).randint(0, 3, (13, 22)).astype(np.uint8)
    assert recognised(callable_segmenter(record), ids) == ids.tolist()
    (given,) = seen
    assert given.shape == (1, 3, 16, 24)
    shown = picture(ids).float() / 255
    assert torch.equal(given[0, :, :13, :22], shown)
    assert torch.equal(given[0, :, 15, :22], shown[:, 12])
    assert torch.equal(given[0, :, :13, 23], shown[:, :, 21])
    assert padded_size((16, 24), 8) == (16, 24)
    assert padded_size((1, 25), 32) == (32, 32)


def test_scores_are_resampled_before_the_largest_is_taken() -> None:
    ids = painted.blocks(3)
    image = picture(ids)

    def quarter(images: Tensor) -> Tensor:
        return F.avg_pool2d(painted.by_colour(images), 4)

    found, _ = predict(callable_segmenter(quarter), image, size=(50, 70), name="x")
    scores = F.avg_pool2d(painted.by_colour(image.float()[None] / 255), 4)
    full = F.interpolate(scores, size=(32, 48), mode="bilinear", align_corners=False)
    full = F.interpolate(full, size=(50, 70), mode="bilinear", align_corners=False)
    assert torch.equal(found, full.argmax(1)[0])
    # Resizing the labels that were recognised would give something else.
    nearest = F.interpolate(scores.argmax(1)[None].float(), size=(50, 70))[0, 0]
    assert not torch.equal(found, nearest.long())


def test_a_segmenter_of_one_size_says_how_to_get_there(tmp_path: Path) -> None:
    fixed = load_segmenter(painted.onnx_file(tmp_path / "fixed.onnx", size=(20, 30)))
    ids = painted.blocks(0)
    with pytest.raises(ConfigError, match=r"20x30.*x is 32x48: say --segmentation-size 20x30"):
        recognised(fixed, ids)
    assert recognised(fixed, ids[:20, :30]) == ids[:20, :30].tolist()


def test_what_is_no_segmenter_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name, content, error, sentence in (
        ("a.onnx", b"no", WeightsError, r"a\.onnx cannot be read as ONNX"),
        ("a.pt", b"no", WeightsError, r"a\.pt cannot be read as TorchScript"),
        ("a.txt", b"no", ConfigError, r"a\.txt is no segmenter: give an \.onnx file"),
        ("b.onnx", None, WeightsError, r"b\.onnx does not exist"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(error, match=sentence) as caught:
            load_segmenter(path, trust_torchscript=True)
        assert isinstance(caught.value, LimnerError)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="is no segmenter"):
        load_segmenter(tmp_path)
    with pytest.raises(WeightsError, match="does not exist"):
        load_segmenter(tmp_path / "nowhere")


def test_an_onnx_file_with_other_inputs_is_refused(tmp_path: Path) -> None:
    wide = painted.onnx_file(tmp_path / "half.onnx", elements=painted.HALF)
    with pytest.raises(WeightsError, match=r"tensor\(float16\): a segmenter takes float32"):
        load_segmenter(wide)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x[0], "gave \\(3, 32, 48\\)"),
        (lambda x: x.tolist(), "gave list"),
        (lambda x: x @ x, "failed on x \\(32x48\\)"),
    ],
)
def test_a_callable_that_gives_no_scores_is_named(function: object, sentence: str) -> None:
    assert callable(function)
    with pytest.raises(WeightsError, match=sentence):
        recognised(callable_segmenter(function, name="mine"), painted.blocks(0))


@pytest.mark.parametrize(
    ("package", "where"), [("onnxruntime", "x.onnx"), ("transformers", "somebody/something")]
)
def test_a_missing_extra_is_one_sentence(
    package: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    if where.endswith("onnx"):
        painted.onnx_file(tmp_path / where)
    with pytest.raises(ConfigError, match=rf"need {package}, which is not installed: pip install"):
        load_segmenter(where)


def test_a_hugging_face_folder_is_a_segmenter(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 8],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 1],
        mlp_ratios=[1, 1],
        decoder_hidden_size=8,
        num_labels=4,
    )
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    model.save_pretrained(tmp_path / "tiny")
    (tmp_path / "tiny" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}'
    )
    segmenter = load_segmenter(tmp_path / "tiny")
    image = picture(painted.blocks(0, height=32, width=64))
    found, count = predict(segmenter, image, size=(32, 64), name="x")
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    with torch.no_grad():
        logits = model(pixel_values=((image.float() / 255 - mean) / deviation)[None]).logits
    assert logits.shape == (1, 4, 8, 16)
    full = F.interpolate(logits, size=(32, 64), mode="bilinear", align_corners=False)
    assert count == 4
    assert torch.equal(found, full.argmax(1)[0])
    assert segmenter.about["architecture"] == "SegformerForSemanticSegmentation"


def test_memory_that_ran_out_is_not_taken_for_the_segmenters_fault() -> None:
    def too_much(images: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        recognised(callable_segmenter(too_much), np.zeros((8, 8), np.uint8))
