"""`limner import --encoder`: generators that are told a style come over whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_import_labels import words, written
from torch import Tensor

from limner.cli import main
from limner.config import read_config
from limner.data import decode, expand
from limner.errors import CheckpointError, ConfigError
from limner.inference import Translator, draw_codes, read_style, to_bytes
from limner.transfer import import_network
from limner.transfer.import_run import import_as_run

VAE: dict[str, Any] = {
    "ngf": 1, "label_nc": 4, "no_instance": True, "crop_size": 64, "use_vae": True, "z_dim": 256
}  # fmt: skip
FEATURES: dict[str, Any] = {
    "ngf": 2, "n_downsample_global": 2, "n_blocks_global": 1, "label_nc": 4, "instance_feat": True,
    "feat_num": 2,
}  # fmt: skip
ENCODER = {"nef": 2, "n_downsample_E": 3, "feat_num": 2}


def folder(root: Path, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Write a label map, its instances and a photo; return them as networks take them."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, (height // 8, width // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    instance = (np.indices(ids.shape).sum(0) // 20).astype(np.uint16)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for name, values in (("test_label", ids), ("test_inst", instance), ("photos", photo)):
        (root / name).mkdir()
        Image.fromarray(values).save(root / name / "a.png")
    style = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    labels, instances = (torch.from_numpy(v.astype(np.int64))[None] for v in (ids, instance))
    return labels, instances, style


def translated(run: Path, root: Path, *more: str) -> dict[str, Tensor]:
    out = root / f"out{len(list(root.iterdir()))}"
    arguments = ["translate", str(run), str(root / "test_label"), "--out", str(out)]
    assert main([*arguments, "--size", "original", *more]) == 0
    return {path.stem: decode(path) for path in sorted(out.iterdir())}


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal but for the last of 256 levels, which a difference of 1e-7 may tip."""
    return int((found.int() - to_bytes(expected).int()).abs().max()) <= 1


def test_spades_vae_comes_over_with_its_encoder(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "net_G.pth", "SPADE", "generator", VAE),
        written(tmp_path / "net_E.pth", "SPADE", "encoder", {"ngf": 1}),
    ]
    run, root = tmp_path / "run", tmp_path / "data"
    root.mkdir()
    ids, _, style = folder(root, 64, 64)
    options = [part for text in words(VAE) for part in ("--option", text)]
    assert main(["import", str(files[0]), "--from", "SPADE", "--out", str(run), "--encoder",
                 str(files[1]), *options]) == 0  # fmt: skip
    assert read_config(run / "config.yaml").objective.kl > 0  # to train on with
    generator = import_network(files[0], "SPADE", **VAE)
    encoder = import_network(files[1], "SPADE", "encoder", ngf=1)
    expanded = expand(ids, classes=4)
    with torch.no_grad():
        mean, _ = encoder(style)
        styled = generator(expanded, mean)[0]
        drawn = [generator(expanded, code[None])[0] for code in draw_codes(2, 256, seed=5)]
    assert not close(to_bytes(styled), drawn[0])
    found = translated(run, root, "--style", str(root / "photos" / "a.png"))
    assert close(found["a"], styled)
    found = translated(run, root, "--samples", "2", "--seed", "5")
    assert [close(found[f"a_{n + 1}"], drawn[n]) for n in (0, 1)] == [True, True]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_pix2pixhds_features_come_over_with_their_encoder(norm: str, tmp_path: Path) -> None:
    options, encoder_options = FEATURES | {"norm": norm}, ENCODER | {"norm": norm}
    file = written(tmp_path / "net_G.pth", "pix2pixHD", "generator", options)
    encoder_file = written(tmp_path / "net_E.pth", "pix2pixHD", "encoder", encoder_options)
    judge = written(tmp_path / "net_D.pth", "pix2pixHD", "discriminator", {"label_nc": 4, "ndf": 2})
    run, root = tmp_path / "run", tmp_path / "data"
    root.mkdir()
    ids, instance, style = folder(root, 32, 48)
    facts = import_as_run(
        file,
        project="pix2pixHD",
        out=run,
        options=["label_nc=4"],  # that there are features, and how many, the encoder tells
        discriminator=judge,
        encoder=encoder_file,
    )
    assert facts["encoder"]["network"] == "features"
    config = read_config(run / "config.yaml")
    assert config.input_channels == 4 + 1 + 2
    assert config.data.size == (512, 1024)
    with torch.no_grad():
        features = import_network(encoder_file, "pix2pixHD", "encoder", **encoder_options)(
            style, instance
        )
        expanded = expand(ids, instance, classes=4, edges=True)
        expected = import_network(file, "pix2pixHD", **options)(
            torch.cat([expanded, features], dim=1)
        )
    found = translated(run, root, "--style", str(root / "photos" / "a.png"))
    assert close(found["a"], expected[0])
    translator = Translator.load(run)
    picture = translator(ids, instance, style=style)
    torch.testing.assert_close(picture, expected, rtol=0, atol=1e-5)


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def refused(project: str, generator: Path, encoder: Path | None, *options: str) -> str:
        with pytest.raises((CheckpointError, ConfigError)) as caught:
            import_as_run(generator, project=project, out=out, options=options, encoder=encoder)
        assert not out.exists()
        return str(caught.value)

    encoder = written(tmp_path / "E.pth", "SPADE", "encoder", {"ngf": 1})
    short = written(tmp_path / "9.pth", "SPADE", "generator", VAE | {"z_dim": 9})
    said = refused("SPADE", short, encoder, *words(VAE))
    assert "is for a generator with z_dim 256" in said
    assert "has z_dim 9: give the encoder that was trained with it" in said
    plain = VAE | {"use_vae": False}
    bare = written(tmp_path / "bare.pth", "SPADE", "generator", plain)
    assert "has use_vae False" in refused("SPADE", bare, encoder, *words(plain))
    assert "holds a generator where an encoder was" in refused("SPADE", short, bare, *words(VAE))
    assert "junyanz has no encoders" in refused("junyanz", bare, encoder)

    file = written(tmp_path / "feat.pth", "pix2pixHD", "generator", FEATURES)
    said = refused("pix2pixHD", file, None, "label_nc=4", "instance_feat=true", "feat_num=2")
    assert said.endswith("give the encoder (*_net_E.pth) as --encoder")
    features = written(tmp_path / "F.pth", "pix2pixHD", "encoder", ENCODER | {"feat_num": 3})
    assert "label_nc=4 and 4 further channels do not make input_nc=7" in refused(
        "pix2pixHD", file, features, "label_nc=4"
    )
    labels = ("label_nc=4", "label_feat=true", "feat_num=2")
    assert "averaged over labels" in refused("pix2pixHD", file, None, *labels)


def test_a_style_is_shown_to_the_encoder_in_the_size_of_training(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "net_G.pth", "SPADE", "generator", VAE),
        written(tmp_path / "net_E.pth", "SPADE", "encoder", {"ngf": 1}),
    ]
    import_as_run(
        files[0], project="SPADE", out=tmp_path / "run", options=words(VAE), encoder=files[1]
    )
    config = read_config(tmp_path / "run" / "config.yaml")
    grey = np.indices((640, 640)).sum(0) % 2 * 255  # of pixels that only averaging makes grey
    Image.fromarray(grey.astype(np.uint8)).convert("RGB").save(tmp_path / "fine.png")
    style = read_style(config, tmp_path / "fine.png")
    assert style.shape == (1, 3, 64, 64)
    assert style.abs().max().item() < 0.1
