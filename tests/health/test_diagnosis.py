"""Each illness is named from its own course of scalars, and health from a healthy one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from histories import HEALTHY, history

from limner.config import parse_overrides, replace
from limner.health.diagnosis import RULES, Diagnosis, diagnose_history
from limner.health.history import History, Series
from limner.health.thresholds import THRESHOLDS
from limner.presets import preset

CERTAIN = {
    "d/real": (0.6, 0.1, 0.05, 0.05, 0.05),
    "d/fake": (0.6, 0.1, 0.05, 0.05, 0.05),
    "d/accuracy": (0.6, 0.97, 0.99, 0.99, 0.99),
    "g/gan": (0.7, 3.0, 4.0, 4.5, 5.0),
}
GUESSING = {
    "d/real": (0.69, 0.69),
    "d/fake": (0.695, 0.695),
    "d/accuracy": (0.5, 0.5),
    "g/gan": (0.7, 0.69),
}
ILL: dict[str, dict] = {
    "divergence": {"g/l1": (0.4, 0.3, 0.3, 0.6, 0.7, 0.7)},
    "exploding-gradients": {"health/gradient/generator": (30, 40, 5e3, 5e4, 5e4)},
    "nothing-learned": {
        "g/l1": (0.355, 0.355),
        "val/g/l1": (0.355, 0.355),
        "health/following": (0.1, 0.1),
    },
    "discriminator-wins": CERTAIN,
    "generator-wins": GUESSING,
    "generator-stalled": {
        "g/l1": (0.33, 0.31, 0.31, 0.31, 0.31),
        "g/gan": (0.7, 1.5, 2.0, 2.5, 3.0),
        "d/real": (0.6, 0.3, 0.28, 0.26, 0.25),
        "d/fake": (0.6, 0.3, 0.28, 0.26, 0.25),
        "val/g/l1": (0.34, 0.33, 0.33, 0.33),
        "health/update/generator": (0.0003, 0.0003),
    },
    "collapse": {"health/following": (0.1, 0.02, 0.01, 0.01)},
    "adversarial-drowned": {"health/share/gan": (0.001, 0.001)},
    "discriminator-memorises": {
        "health/logit/real/0": (0.5, 3.0, 6.0, 6.0),
        "health/logit/fake/0": (-0.5, -3.0, -5.0, -5.0),
        "health/logit/held_out/0": (0.4, 0.0, -4.0, -4.5),
    },
    "overfit": {
        "g/l1": (0.4, 0.3, 0.2, 0.15, 0.1),
        "val/g/l1": (0.4, 0.34, 0.35, 0.38, 0.41),
    },
    "perceptual-overfit": {
        "g/vgg": (5.0, 4.0, 3.0, 2.5, 2.0),
        "val/g/vgg": (5.0, 4.5, 4.7, 5.0, 5.3),
    },
    "rate-too-high": {"health/update/generator": (0.5, 0.5, 0.5)},
    "norm-mismatch": {"health/l1_running": (0.4, 0.5, 0.5), "health/l1_batch": (0.38, 0.3, 0.28)},
    "checkerboard": {
        "health/checkerboard": (0.1, 0.15, 0.15),
        "health/checkerboard_decibels": (20.0, 20.0, 20.0),
    },
    "blob": {"health/blob": (5.0, 20.0, 30.0, 30.0)},
    "unfinished": {"g/l1": (0.5, 0.4, 0.3, 0.2, 0.1), "val/g/l1": (0.5, 0.4, 0.3, 0.2, 0.1)},
}


def names(diagnosis: Diagnosis) -> list[str]:
    return [finding.name for finding in diagnosis.findings]


def test_every_rule_has_an_illness_here() -> None:
    assert ILL.keys() == RULES.keys()


@pytest.mark.parametrize("steps", [400, 100_000])
@pytest.mark.parametrize("name", ILL)
def test_an_illness_is_named_with_its_usual_severity_and_its_span(name: str, steps: int) -> None:
    found = diagnose_history(history(ILL[name], steps=steps))
    assert name in names(found)
    finding = next(each for each in found.findings if each.name == name)
    assert finding.severity == RULES[name][0]
    evidence = finding.evidence
    assert 0 <= evidence["first_step"] <= evidence["last_step"] <= steps
    assert finding.remedies
    assert "healthy" not in names(found)


@pytest.mark.parametrize("name", sorted(set(ILL) - {"unfinished"}))
def test_it_is_named_before_half_of_the_training_where_it_is_there_from_the_start(
    name: str,
) -> None:
    course = {key: tuple(values) for key, values in ILL[name].items()}
    # The second half of a training goes on as the first one ended.
    longer = {
        key: tuple(np.interp(np.linspace(0, 1, 11), np.linspace(0, 1, len(v)), v)) + (v[-1],) * 10
        for key, v in course.items()
    }
    whole = history(longer, steps=1000)
    assert name in names(diagnose_history(whole.until(700)))


@pytest.mark.parametrize("points", [8, 20, 400])
@pytest.mark.parametrize("steps", [200, 1000, 200_000])
@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_health_stands_alone(points: int, steps: int, jitter: float) -> None:
    found = diagnose_history(history(steps=steps, points=points, jitter=jitter))
    assert names(found) in (["healthy"], ["unfinished"])
    assert all(finding.severity == "note" for finding in found.findings)


def test_being_right_often_is_no_victory() -> None:
    often = {"d/accuracy": (0.6, 0.9, 0.93, 0.9, 0.86), "d/accuracy_real": (0.6, 0.9, 0.9, 0.86)}
    assert not {"discriminator-wins", "generator-stalled"} & set(
        names(diagnose_history(history(often)))
    )


def test_what_has_passed_is_a_note() -> None:
    early = {key: (values[0], *values[2:4], *HEALTHY[key][-6:]) for key, values in CERTAIN.items()}
    found = diagnose_history(history(early))
    won = [finding for finding in found.findings if finding.name == "discriminator-wins"]
    assert all(finding.severity == "note" for finding in won)


@pytest.mark.parametrize(("gan", "certain", "guess"), [("lsgan", 0.01, 0.25), ("hinge", 0.05, 1.0)])
def test_levels_are_those_of_the_adversarial_loss(gan: str, certain: float, guess: float) -> None:
    def course(value: float) -> dict:
        return {"d/real": (guess, value, value), "d/fake": (guess, value, value)}

    won = history({**CERTAIN, **course(certain), "g/gan": (0.2, 1.0, 1.0)}, gan=gan)
    lost = history({**GUESSING, **course(guess), "g/gan": (guess, guess)}, gan=gan)
    assert "discriminator-wins" in names(diagnose_history(won))
    assert "generator-wins" in names(diagnose_history(lost))


def test_soft_labels_leave_a_loss_that_is_no_fault() -> None:
    least = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    course = {**CERTAIN, "d/real": (0.7, least + 0.03, least + 0.02, least + 0.02)}
    soft = history(course, settings={"objective": {"real_label": 0.9}})
    assert "discriminator-wins" in names(diagnose_history(soft))
    assert "discriminator-wins" not in names(diagnose_history(history(course)))


def test_a_record_of_losses_alone_says_what_it_cannot_show() -> None:
    plain = ("g/gan", "g/l1", "d/real", "d/fake")
    found = diagnose_history(history(only=plain))
    assert {"collapse", "checkerboard", "blob", "discriminator-memorises"} <= set(found.unknown)
    assert "discriminator-wins" not in found.unknown
    assert names(found) in (["healthy"], ["unfinished"])
    won = diagnose_history(history(CERTAIN, only=plain))
    assert "discriminator-wins" in names(won)


def test_too_short_a_record_is_not_called_healthy() -> None:
    found = diagnose_history(history(steps=20, points=2))
    assert names(found) == []
    assert "healthy" in found.unknown


def test_a_training_without_discriminators_has_no_winner() -> None:
    left = {name: None for name in HEALTHY if name.startswith("d/") or "logit" in name}
    left |= {"g/gan": None, "health/share/gan": None, "health/gradient/discriminator_0": None}
    alone = history(left, settings={"discriminators": [], "objective": {"gan_weight": 0}})
    found = diagnose_history(alone)
    assert not {"discriminator-wins", "generator-wins", "adversarial-drowned"} & set(names(found))


def test_one_of_two_discriminators_can_win() -> None:
    both = {"d/real": None, "d/fake": None, "d/accuracy": None, "d/accuracy_real": None}
    for number, course in enumerate((HEALTHY, CERTAIN)):
        both |= {f"d{number}/{term}": course[f"d/{term}"] for term in ("real", "fake", "accuracy")}
    found = diagnose_history(history({**both, "g/gan": CERTAIN["g/gan"]}))
    (won,) = [finding for finding in found.findings if finding.name == "discriminator-wins"]
    assert won.evidence["discriminator"] == "d1"


def test_what_is_not_finite_is_divergence_wherever_it_stands() -> None:
    record = history()
    values = record.scalars["d/fake"].values.copy()
    values[-3:] = math.nan
    scalars = {**record.scalars, "d/fake": Series(record.scalars["d/fake"].steps, values)}
    found = diagnose_history(History(scalars, record.steps, gan="vanilla"))
    assert found.findings[0].name == "divergence"
    assert found.findings[0].evidence["scalar"] == "d/fake"
    stopped = history(stopped="g/gan is nan at step 1000: training stopped", ended=False)
    assert diagnose_history(stopped).findings[0].name == "divergence"
    broken = history(stopped="train/7.png is damaged: give it anew", ended=False)
    assert "divergence" not in names(diagnose_history(broken))


@pytest.mark.parametrize("name", ILL)
def test_remedies_are_settings_that_can_be_made(name: str) -> None:
    changes = {"objective.vgg": 10.0, "inference.statistics": "running"}
    config = replace(preset("pix2pix"), changes)
    settings = config.model_dump(mode="json")
    found = diagnose_history(history(ILL[name], settings=settings))
    (finding,) = [each for each in found.findings if each.name == name]
    for remedy in finding.remedies or ():
        changes = parse_overrides(remedy.set)
        assert replace(config, changes) != config, remedy


def test_the_json_has_the_form_of_the_contract() -> None:
    told = diagnose_history(history(CERTAIN), run="runs/a").to_json()
    told = json.loads(json.dumps(told, allow_nan=False))
    assert told.keys() == {"run", "steps", "findings", "unknown"}
    for finding in told["findings"]:
        assert {"first_step", "last_step"} <= finding["evidence"].keys()
        for remedy in finding["remedies"]:
            assert remedy.keys() == {"set", "applies", "why"}
            assert remedy["applies"] in ("running", "restart")


def test_the_page_has_every_threshold_as_the_code_has_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "health.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.-]+)` \| ([\d.e-]+) \|", page, flags=re.MULTILINE))
    assert {name: float(value) for name, value in rows.items()} == {
        name: each.value for name, each in THRESHOLDS.items()
    }
    for name in (*RULES, "healthy"):
        assert f"| `{name}` |" in page


def test_small_beginnings_of_weights_are_no_high_rate() -> None:
    steep = {"health/update/generator": (0.04, 0.1, 0.1)}
    usual = {"training": {"lr": 1e-4}}
    fast = {"training": {"lr": 1e-2}}
    assert "rate-too-high" not in names(diagnose_history(history(steep, settings=usual)))
    assert "rate-too-high" in names(diagnose_history(history(steep, settings=fast)))
