"""Measuring two sets: what is asked for, what it rests on, what is refused and how."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import drawn
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.errors import ConfigError, DataError, WeightsError
from limner.evaluation.features import VGG16Extractor
from limner.evaluation.features.extraction import extract
from limner.evaluation.measure import METRICS, measure
from limner.evaluation.metrics import OF_SETS, PAIRED, PairMetric, Scores, check_measurable
from limner.evaluation.metrics.distances import frechet
from limner.networks import pretrained as store

PIXELS = ["l1", "psnr", "ssim"]


def small(seed: int) -> Tensor:
    return drawn.image(seed, height=32, width=40)


@pytest.fixture(scope="module")
def real() -> list[Tensor]:
    return [small(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def fake(real: list[Tensor]) -> list[Tensor]:
    return [drawn.noisy(x, levels=10 + 10 * n) for n, x in enumerate(real)]


class Untouched:
    """Images of which none may be read."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Tensor:
        raise AssertionError(f"image {index} was read")


def test_what_metrics_need_is_known() -> None:
    for metric in METRICS.values():
        assert set(metric.weights) <= set(store.KNOWN)
    for metric in PAIRED.values():
        assert (metric.function is None) == (metric.network is not None) == bool(metric.weights)
    manifold = ["precision", "recall", "density", "coverage"]
    assert list(OF_SETS) == [
        *("fid", "fid-clean", "fid-inf", "kid", "fd-vgg16", "fd-vgg16-inf"),
        *(f"{name}{suffix}" for suffix in ("", "-vgg16") for name in manifold),
    ]
    assert [n for n, m in PAIRED.items() if m.better == "higher"] == [
        *("psnr", "ssim", "ms-ssim", "edge-f")
    ]


def test_paired_values_are_means_of_those_per_image(
    real: list[Tensor], fake: list[Tensor], weights_folder: Path
) -> None:
    metrics = [*PIXELS, "lpips", "lpips-alex", "lpips-vgg"]
    scores = measure(real, fake, metrics=metrics, weights=weights_folder, names=list("abcde"))
    assert list(scores.values) == metrics
    for name in metrics:
        each = scores.per_image[name]
        assert len(each) == 5
        assert scores.values[name] == pytest.approx(sum(each) / 5, rel=1e-12)
        assert scores.details[name]["images"] == 5
        # More noise is worse, so the order of images is that of the input.
        assert each == sorted(each, reverse=METRICS[name].better == "higher")
    assert scores.values["lpips"] == scores.values["lpips-alex"] != scores.values["lpips-vgg"]
    assert scores.names == tuple("abcde")


def test_scores_of_equal_sets_are_the_best_and_go_into_json(
    real: list[Tensor], weights_folder: Path
) -> None:
    scores = measure(real, real, metrics=[*PIXELS, "lpips", "fd-vgg16"], weights=weights_folder)
    assert scores.values == pytest.approx(
        {"l1": 0, "psnr": 100, "ssim": 1, "lpips": 0, "fd-vgg16": 0}, abs=1e-9
    )
    assert scores.details["psnr"] == {
        "images": 5,
        "cap_db": 100.0,
        "capped_images": 5,
        "interval": [100.0, 100.0],
        "interval_method": "bootstrap over images, 1000 resamples",
        "weights": [],
    }
    again = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert again["values"] == scores.values
    assert again["names"] == ["0", "1", "2", "3", "4"]


def test_fd_vgg16_is_the_distance_of_the_extractors_features(
    real: list[Tensor], fake: list[Tensor], weights_folder: Path
) -> None:
    scores = measure(real, fake[:3], metrics=["fd-vgg16"], weights=weights_folder)
    extractor = VGG16Extractor(store.load("vgg16", weights=weights_folder)).eval()
    a, b = (extract({"v": extractor}, images)["v"] for images in (real, fake[:3]))
    assert scores.values["fd-vgg16"] == pytest.approx(frechet(a, b), rel=1e-6)
    details = scores.details["fd-vgg16"]
    assert (details["images_real"], details["images_fake"], details["images"]) == (5, 3, 3)
    assert details["dimensions"] == 512
    assert "biased upwards" in details["note"]
    file = weights_folder / "vgg16_features.safetensors"
    assert details["weights"] == [
        {"name": "vgg16", "file": file.name, "sha256": store.sha256(file)}
    ]
    assert scores.names == ()


def test_fid_and_kid_share_features_and_say_what_they_rest_on(
    real: list[Tensor], fake: list[Tensor], inception_file: Path
) -> None:
    told: list[tuple[int, int, str]] = []
    scores = measure(
        real[:4],
        fake[:4],
        metrics=["kid", "fid"],
        weights=inception_file,
        seed=7,
        batch_size=3,
        progress=lambda *news: told.append(news),
    )
    assert scores.values["fid"] > 0
    kid = scores.details["kid"]
    assert (kid["subsets"], kid["subset_size"], kid["seed"]) == (100, 2, 7)
    assert kid["std"] > 0
    assert scores.details["fid"]["preparation"] == "resized to 299x299 as pytorch-fid does"
    assert scores.details["fid"]["dimensions"] == 2048
    # Eight images through the network, not sixteen.
    assert [done for done, _, _ in told] == [4, 8]
    assert {total for _, total, _ in told} == {8}
    assert scores.details["run"]["sizes"] == {"real": {"40x32": 4}, "fake": {"40x32": 4}}
    assert scores.details["run"]["versions"]["torch"] == torch.__version__


def test_the_figures_do_not_depend_on_the_batch_size(
    real: list[Tensor], fake: list[Tensor], weights_folder: Path
) -> None:
    metrics = ["ssim", "psnr", "lpips", "fd-vgg16"]
    one, all_at_once = (
        measure(2 * real, 2 * fake, metrics=metrics, weights=weights_folder, batch_size=n).values
        for n in (1, 64)
    )
    assert one == all_at_once  # to the last digit
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        scores = measure(2 * real, 2 * fake, metrics=metrics, weights=weights_folder)
    finally:
        torch.set_num_threads(before)
    assert scores.values == one


def test_images_of_several_sizes_are_measured(weights_folder: Path) -> None:
    real = [drawn.image(n, height=32 + 8 * (n // 2), width=40) for n in range(4)]
    fake = [drawn.blurred(x) for x in real]
    together = measure(real, fake, metrics=["ssim", "lpips"], weights=weights_folder)
    alone = [
        measure([a], [b], metrics=["ssim"]).values["ssim"] for a, b in zip(real, fake, strict=True)
    ]
    assert together.per_image["ssim"] == pytest.approx(alone, rel=1e-12)
    assert together.details["run"]["sizes"]["fake"] == {"40x32": 2, "40x40": 2}


def test_weights_are_sought_before_any_image_is_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match="AlexNet"):
        measure(Untouched(), Untouched(), metrics=["l1", "lpips"], weights=empty, download=False)
    wrong = tmp_path / "wrong.pth"
    torch.save({"a": torch.ones(1)}, wrong)
    with pytest.raises(WeightsError, match=r"wrong\.pth is not FID's Inception"):
        measure(Untouched(), Untouched(), metrics=["l1", "fid"], weights=wrong, download=False)


def test_wrong_requests_are_refused(real: list[Tensor]) -> None:
    with pytest.raises(ConfigError, match="unknown metric 'lpip': did you mean 'lpips'"):
        measure(real, real, metrics=["l1", "lpip"])
    with pytest.raises(ConfigError, match="no metric was asked for"):
        measure(real, real, metrics=[])
    with pytest.raises(DataError, match="5 real and 4 fake images: l1, ssim compare picture"):
        measure(real, real[:4], metrics=["l1", "fid", "ssim"])
    with pytest.raises(DataError, match="no images to compare by l1"):
        measure([], [], metrics=["l1"])
    with pytest.raises(
        DataError, match="1 fake image: fid compare distributions, so give at least 2"
    ):
        measure(real, real[:1], metrics=["fid"])
    with pytest.raises(DataError, match="4 names were given for 5 images"):
        measure(real, real, metrics=["l1"], names=list("abcd"))


def test_real_photographs_against_their_blurs(shared: Path) -> None:
    files = sorted((shared / "data" / "facades" / "test").glob("*.jpg"))[:4]
    photos = [
        torch.from_numpy(np.array(Image.open(file))[80:176, 80:176]).permute(2, 0, 1)
        for file in files
    ]
    scores = [
        measure(
            photos,
            [drawn.blurred(photo, times=times) for photo in photos],
            metrics=["ssim", "lpips", "fd-vgg16"],
            weights=shared / "weights",
            download=False,
        ).values
        for times in (1, 4)
    ]
    assert scores[0]["ssim"] > scores[1]["ssim"]
    assert 0 < scores[0]["lpips"] < scores[1]["lpips"] < 1
    assert 0 < scores[0]["fd-vgg16"] < scores[1]["fd-vgg16"]


@pytest.mark.parametrize("name", [name for name in PAIRED if name not in ("lpips-alex", "psnr")])
def test_the_table_says_from_which_size_on_a_metric_can_be_computed(
    name: str, weights_folder: Path
) -> None:
    least = METRICS[name].smallest
    for size in {least, max(1, least - 1)}:
        images = [drawn.image(5, height=200, width=200)[:, :size, :size].contiguous()] * 2
        if size < least:
            with pytest.raises(DataError, match=f"at least {least}x{least}"):
                measure(images, images, metrics=[name], weights=weights_folder, bootstrap=0)
        else:
            scores = measure(images, images, metrics=[name], weights=weights_folder, bootstrap=0)
            assert math.isfinite(scores.values[name])


@pytest.mark.parametrize("name", [name for name in OF_SETS if name.endswith("vgg16")])
def test_the_table_says_how_many_images_a_distance_needs(name: str, weights_folder: Path) -> None:
    metric, pictures = OF_SETS[name], [drawn.image(n, height=40, width=40) for n in range(8)]

    def of(count: int) -> float:
        two = pictures[:count], pictures[::-1][:count]
        return measure(
            *two, metrics=[name], weights=weights_folder, bootstrap=0, cache=False
        ).values[name]

    assert math.isfinite(of(metric.fewest))
    with pytest.raises(DataError):
        of(metric.fewest - 1)


@pytest.mark.parametrize(
    ("metric", "channels", "size", "images", "words"),
    [
        ("lpips", 4, 256, 10, "4 channels"),
        ("fid", 2, 256, 10, "2 channels"),
        ("ms-ssim", 3, 128, 10, "176"),
        ("coverage", 3, 256, 5, "at least 6 images"),
    ],
)
def test_what_cannot_be_measured_is_refused_beforehand(
    metric: str, channels: int, size: int, images: int, words: str
) -> None:
    check_measurable(["l1", "psnr"], channels=channels, size=(size, size), images=images)
    with pytest.raises(ConfigError, match=words) as caught:
        check_measurable(["l1", metric], channels=channels, size=(size, size), images=images)
    assert metric in str(caught.value)


def test_figures_that_are_no_numbers_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="l1 of b"):
        Scores({"l1": 0.5}, {"l1": [0.5, math.nan]}, {}, ("a", "b"))
    with pytest.raises(DataError, match="fid is inf"):
        Scores({"fid": math.inf}, {}, {})
    with pytest.raises(DataError, match="1 values for 2"):
        Scores({"l1": 0.5}, {"l1": [0.5]}, {}, ("a", "b"))


def test_scores_come_back_from_json_whole_or_not_at_all(real: list[Tensor]) -> None:
    scores = measure(real, real[::-1], metrics=["l1", "ssim"], names=list("abcde"))
    plain = json.loads(json.dumps(scores.to_json()))
    assert Scores.from_json(plain) == scores
    assert list(scores.only(["ssim"]).values) == ["ssim"]
    for key in plain.keys() - {"groups"}:  # which earlier results have not
        with pytest.raises(DataError):
            Scores.from_json({name: value for name, value in plain.items() if name != key})
    with pytest.raises(DataError):
        Scores.from_json(plain | {"values": {"l1": "0.5"}})


def test_weights_that_are_not_finite_are_refused(
    real: list[Tensor], weights_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(weights_folder, tmp_path / "weights")
    path = tmp_path / "weights" / "alexnet_features.safetensors"
    state = load_file(path)
    next(iter(state.values())).view(-1)[3] = math.nan
    save_file(state, path)
    with pytest.raises(WeightsError, match="alexnet_features"):
        measure(real, real, metrics=["lpips"], weights=tmp_path / "weights")


def test_a_new_metric_is_one_function_and_one_line(
    real: list[Tensor], fake: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def linf(a: Tensor, b: Tensor) -> Tensor:
        return (a.double() - b.double()).abs().amax(dim=(1, 2, 3))

    line = PairMetric("largest difference, in levels", "lower", function=linf)
    for table in (PAIRED, METRICS):
        monkeypatch.setitem(table, "linf", line)
    scores = measure(real, fake, metrics=["linf", "l1"], bootstrap=0)
    expected = [float((a.int() - b.int()).abs().max()) for a, b in zip(real, fake, strict=True)]
    assert scores.per_image["linf"] == expected
