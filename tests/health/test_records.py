"""Records are read wherever they stand: runs, logs of other projects, tables, TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import limner
from limner.errors import LimnerError
from limner.health.records import history_of_events, read_history

JUNYANZ = """================ Training Loss (Wed Nov 25 10:00:00 2026) ================
(epoch: 1, iters: 100, time: 0.123, data: 0.456) G_GAN: 1.200 G_L1: 30.125 D_real: 0.512 D_fake: 0.601
(epoch: 1, iters: 400, time: 0.123, data: 0.456) G_GAN: 1.300 G_L1: 28.000 D_real: 0.500 D_fake: 0.600
End of epoch 1 / 200 	 Time Taken: 20 sec
(epoch: 2, iters: 100, time: 0.123, data: 0.456) G_GAN: 2.100 G_L1: nan D_real: 0.400 D_fake: 1.5e-01
"""  # noqa: E501
HD = """================ Training Loss (Wed Nov 25 10:00:00 2026) ================
(epoch: 1, iters: 2900, time: 0.431) G_GAN: 0.859 G_GAN_Feat: 2.548 G_VGG: 2.765 D_real: 0.480 D_fake: 0.352
(epoch: 2, iters: 100, time: 0.431) G_GAN: 0.8 G_GAN_Feat: 2.5 G_VGG: 2.7 D_real: 0.4 D_fake: 0.3
(epoch: 2, iters: 200, time: 0.431) G_GAN: 0.8 G_GAN_Feat: 2.5 G_VGG: 2.7 D_real: 0.4 D_fake: 0.3
"""  # noqa: E501
SPADE = """================ Training Loss (Wed Nov 25 10:00:00 2026) ================
(epoch: 1, iters: 52, time: 0.259) KLD: 0.349 GAN: -0.082 GAN_Feat: 0.393 VGG: 0.254 D_Fake: 1.082 D_real: 1.008
(epoch: 1, iters: 104, time: 0.259) KLD: 0.3 GAN: 0.2 GAN_Feat: 0.3 VGG: 0.2 D_Fake: 1.0 D_real: 0.9
(epoch: 1, iters: 156, time: 0.259) KLD: 0.3 GAN: 0.2 GAN_Feat: 0.3 VGG: 0.2 D_Fake: 1.0 D_real: 0.9
"""  # noqa: E501
EVENTS = [
    {"event": "start", "time": 1.0},
    {"event": "train", "time": 2.0, "step": 50, "epoch": 0.5, "lr": 2e-4, "g/l1": 0.4},
    {"event": "train", "time": 3.0, "step": 100, "epoch": 1.0, "lr": 2e-4, "g/l1": "nan"},
    {"event": "validation", "time": 3.0, "step": 100, "epoch": 1.0, "l1": 0.3, "val/g/l1": 0.35},
]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_log_of_pix2pix_is_read_over_epochs(tmp_path: Path) -> None:
    record = read_history(written(tmp_path, "loss_log.txt", JUNYANZ))
    assert list(record.scalars["g/gan"].steps) == [100, 400, 500]
    assert list(record.scalars["g/gan"].values) == [1.2, 1.3, 2.1]
    assert np.isnan(record.scalars["g/l1"].values[2])
    assert record.scalars["d/fake"].values[2] == pytest.approx(0.15)
    assert (record.steps, record.gan, record.scales) == (500, "vanilla", 1)
    assert read_history(tmp_path).steps == 500  # its folder will do


def test_the_log_of_pix2pixhd_adds_two_scales(tmp_path: Path) -> None:
    record = read_history(written(tmp_path, "loss_log.txt", HD))
    assert list(record.scalars["d/real"].steps) == [2900, 3000, 3100]
    assert record.scalars["g/feature_matching"].values[0] == 2.548
    assert (record.gan, record.scales) == ("lsgan", 2)


def test_the_log_of_spade_is_a_hinge(tmp_path: Path) -> None:
    record = read_history(written(tmp_path, "loss_log.txt", SPADE))
    assert record.scalars["d/fake"].values[0] == 1.082
    assert record.scalars["g/gan"].values[0] == -0.082
    assert {"g/kl", "g/vgg", "g/feature_matching"} <= record.scalars.keys()
    assert (record.gan, record.scales) == ("hinge", 1)


def test_a_table_is_read_by_its_names(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "\ufeffstep, g/l1,other,d/real\n10,0.5,1,0.7\n5,0.6,2,\n")
    record = read_history(path)
    assert list(record.scalars["g/l1"].steps) == [5, 10]
    assert list(record.scalars["g/l1"].values) == [0.6, 0.5]
    assert list(record.scalars["d/real"].values) == [0.7]
    assert "other" not in record.scalars


def test_tensorboard_says_what_the_log_says(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path / "board"))
    for step in (10, 20, 30):
        writer.add_scalar("g/l1", 1 / step, step)
        writer.add_scalar("validation/l1", 2 / step, step)
    writer.close()
    record = read_history(tmp_path / "board")
    assert list(record.scalars["g/l1"].steps) == [10, 20, 30]
    assert record.scalars["g/l1"].values[1] == pytest.approx(0.05)
    assert record.scalars["l1"].values[0] == pytest.approx(0.2)


def test_a_run_is_alive_until_it_says_that_it_is_over(tmp_path: Path) -> None:
    def record(*more: dict):
        lines = [json.dumps(event) for event in (*EVENTS, *more)]
        written(tmp_path, "log.jsonl", "\n".join(lines) + '\n{"event": "tra')
        return read_history(tmp_path)

    alive = record()
    assert (alive.steps, alive.ended, alive.stopped) == (100, False, "")
    assert np.isnan(alive.scalars["g/l1"].values[1])
    assert alive.scalars["l1"].values[0] == 0.3
    over = record({"event": "finished", "time": 4.0, "step": 100})
    assert over.ended
    stopped = {"event": "stopped", "time": 4.0, "step": 120, "reason": "g/l1 is nan at step 120"}
    assert record(stopped).stopped == "g/l1 is nan at step 120"
    assert record(stopped, {"event": "resume", "time": 5.0, "step": 100}).stopped == ""


def test_settings_tell_the_loss_and_its_scales(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(event) for event in EVENTS)
    written(tmp_path, "log.jsonl", lines)
    written(
        tmp_path,
        "config.yaml",
        "objective: {gan: lsgan, scales: sum}\ndiscriminators: [{name: multiscale, scales: 3}]\n",
    )
    record = read_history(tmp_path)
    assert (record.gan, record.scales) == ("lsgan", 3)
    assert record.setting("discriminators.0.scales") == 3
    assert record.setting("discriminators.1.scales") is None


def test_an_old_run_is_diagnosed_with_what_it_has() -> None:
    for name in ("pix2pix", "pix2pixhd", "spade-vae"):
        run = Path(__file__).parents[1] / "data_files" / "format_1" / name / "run"
        found = limner.diagnose(run)
        assert found.steps == 4
        assert "collapse" in found.unknown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "nothing of the kind\n"),
        ("a.csv", "epoch,g/l1\n1,0.5\n"),
        ("a.csv", "step,g/l1\nten,0.5\n"),
        ("a.csv", "step,other\n10,0.5\n"),
        ("a.csv", ""),
        ("loss_log.txt", "(epoch: 1, iters: 100, time: 0.1, data: 0.1) D_A: 0.1 cycle_A: 2.0 \n"),
        ("log.jsonl", '{"event": "start", "time": 1.0}\n'),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(LimnerError) as caught:
        read_history(written(tmp_path, name, text))
    assert caught.value.exit_code == 2
    assert name in str(caught.value) or str(tmp_path) in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(LimnerError):
            read_history(path)
    written(tmp_path, "a.csv", "x").write_bytes(b"step\n\xff\xfe\x00")
    with pytest.raises(LimnerError):
        read_history(tmp_path / "a.csv")


def test_the_later_of_two_lines_of_a_step_counts() -> None:
    twice = [*EVENTS, {"event": "train", "time": 9.0, "step": 50, "g/l1": 0.2}]
    assert history_of_events(twice, {}).scalars["g/l1"].values[0] == 0.2


def written_log(path: Path, *, certain: bool) -> Path:
    """Write a log of pix2pix of single, noisy steps: balanced, or with a discriminator that won."""
    rng = np.random.default_rng(0)
    lines = []
    for epoch in range(1, 41):
        for iters in (100, 200, 300, 400):
            done = (epoch * 400 + iters) / 16000
            level = (0.02 if certain else 0.35) + (0.3 * max(0, 0.15 - done) / 0.15)
            real, fake = level * np.exp(rng.normal(0, 0.5, 2))
            gan = (5.0 if certain else 1.6) * np.exp(rng.normal(0, 0.3))
            l1 = (38 - 16 * done) * np.exp(rng.normal(0, 0.25))
            lines.append(
                f"(epoch: {epoch}, iters: {iters}, time: 0.1, data: 0.2) "
                f"G_GAN: {gan:.3f} G_L1: {l1:.3f} D_real: {real:.3f} D_fake: {fake:.3f} "
            )
        lines.append(f"End of epoch {epoch} / 200 \t Time Taken: 20 sec")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("certain", [False, True])
def test_a_foreign_log_shows_who_wins_and_no_alarm_else(tmp_path: Path, certain: bool) -> None:
    found = limner.diagnose(written_log(tmp_path / "loss_log.txt", certain=certain))
    alarms = [finding.name for finding in found.findings if finding.severity != "note"]
    assert alarms == (["discriminator-wins"] if certain else [])
    assert found.steps == 16_000
