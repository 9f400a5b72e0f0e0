"""It says what is wrong, in words, and nothing when nothing is."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from imagemint import images
from imagemint.config import Recipe, load_recipe, parse_setting
from imagemint.data.pack import Pack, Step, writing
from imagemint.errors import TrainingError
from imagemint.files import read_lines
from imagemint.fitting import train
from imagemint.runs import Finding, Run, open_run
from imagemint.training import loop
from imagemint.training.state import Gan, load_checkpoint, new_gan
from imagemint.training.step import generator_step
from imagemint.training.watch import Watch
from imagemint.training.watch.measure import LOGIT_EDGES, OUTPUTS, SAMPLES, Eyes, Logits, Look
from imagemint.training.watch.rules import RULES, Rule, findings
from tests.training.test_exact import contents

DENSE: dict[str, Any] = {
    "model": "dense",
    "options": {"hidden_g": [30], "hidden_d": [30]},
    "loss": "non-saturating",
    "penalty": None,
    "augment": "none",
    "ema_images": None,
    "batch_size": 128,
}


def logits(median: float = 0.0, spread: float = 1.0) -> Logits:
    """Of 128 images, a quarter each at median - spread, median, median, median + spread."""
    at = [median - spread, median, median, median + spread]
    counts = np.bincount(np.searchsorted(LOGIT_EDGES, at), minlength=len(LOGIT_EDGES) + 1) * 32
    return Logits(at[0], median, median, at[-1], counts.tolist())


HEALTHY = Look(0, 0.02, 0.95, 0.9, 0.9, 1.1, 0.0, 0.8, logits(0.5), logits(-0.5), 0.3, 0.3)
START = dataclasses.replace(HEALTHY, distance=1.5, diversity=0.03, within=0.03, classes=0.1, nearest=3.0)


def story(*changes: dict[str, Any], start: Look = START, every: int = 5000) -> list[Look]:
    """The look at the start, three healthy ones, and then one for each of the changes."""
    rest = [HEALTHY] * 3 + [dataclasses.replace(HEALTHY, **change) for change in changes]
    return [start, *(dataclasses.replace(look, images_seen=every * (k + 1)) for k, look in enumerate(rest))]


SICK: dict[str, list[dict[str, Any]]] = {
    "too much alike": [{"diversity": 0.1}] * 3,
    "alike within classes": [{"within": 0.1}] * 3,
    "one class": [{"classes": 0.1}] * 3,
    "logits beyond the sigmoid": [{"real": logits(20, 5)}] * 3,
    "a gap beyond the sigmoid": [{"real": logits(20, 5), "fake": logits(-20, 5)}] * 3,
    "no gradient": [{"grad_g": 1e-4, "distance": 0.5}] * 3,
    "D makes no mistake": [{"separation": 1.0, "distance": 0.6, "real": logits(3), "fake": logits(-3)}] * 3,
    "D guesses": [{"separation": 0.5, "distance": 0.6}] * 3,
    "nobody leads G back": [{"separation": 0.5, "distance": 0.15, "grad_g": 1e-4}] * 3,
    "copies": [{"copies": 0.9}] * 3,
    "as at the start": [{"distance": 1.5, "separation": 0.8}] * 3,
}


def changed(recipe: str | Recipe, changes: dict[str, Any]) -> Recipe:
    """A recipe of a GAN with some settings changed."""
    made = load_recipe(recipe, changes)
    assert isinstance(made, Recipe)
    return made


NAMES = dict(
    zip(
        SICK,
        [
            *["mode collapse"] * 3,
            *["saturation"] * 3,
            "discriminator overpowers",
            *["generator overpowers"] * 2,
            "copying",
            "nothing learnt",
        ],
        strict=True,
    )
)


@pytest.mark.parametrize("sickness", SICK)
def test_every_sickness_is_named_once_it_has_lasted(sickness: str, tiny: Recipe) -> None:
    changes = SICK[sickness]
    if sickness == "logits beyond the sigmoid":
        tiny = changed(tiny, {"loss": "non-saturating"})
    (found,) = findings(story(*changes), tiny)
    assert (found.name, found.began, found.images_seen) == (NAMES[sickness], 20_000, 30_000)
    assert "--set" in found.remedy or "mint from" in found.remedy
    assert findings(story(*changes[:2]), tiny) == []  # two looks are not three
    assert findings(story(*changes[:2], {}, *changes[:2]), tiny) == []  # nor are two and two
    assert findings(story(*changes, every=500), tiny) == []  # nor three within a few images
    assert findings(story(*changes, {}, {}), tiny) == [found]  # what was found is not taken back


CHOICES: list[dict[str, Any]] = [
    {},
    {"d_steps": 10, "g_steps": 10},
    {"optimizer_g.lr": 1e-6},
    {"optimizer_d.lr": 1e-6, "penalty": None, "loss": "minimax", "augment": "none"},
    {"optimizer_g.lr": 10, "optimizer_d.lr": 10, "model": "dense", "options": {"activation": "sigmoid"}},
    {"loss": "wasserstein", "d_steps": 5, "clip": 0.01, "penalty": None},
]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_remedy_is_a_recipe(rule: Rule, choices: dict[str, Any], tiny: Recipe) -> None:
    """Whatever the recipe and the looks, what is proposed is allowed, and is a change."""
    recipe = changed(tiny, choices)
    for changes in SICK.values():
        words = iter(shlex.split(rule.remedy(story(*changes), recipe)))
        settings = dict(parse_setting(next(words).rstrip(",")) for word in words if word == "--set")
        assert not settings or load_recipe(recipe, settings) != recipe


def test_every_rule_has_a_sickness() -> None:
    assert {rule.name for rule in RULES} == set(NAMES.values())


def test_silence_where_nothing_is_wrong(tiny: Recipe) -> None:
    assert findings(story(*[{}] * 20), tiny) == []


def test_nothing_is_judged_in_the_warm_up_and_while_d_trains_alone(tiny: Recipe) -> None:
    looks = [dataclasses.replace(START, images_seen=2000 * k) for k in range(20)]
    known = {pause: findings(looks, changed(tiny, {"pretrain_images": pause})) for pause in (0, 10_000, 50_000)}
    assert [{finding.began for finding in known[pause]} for pause in known] == [{10_000}, {20_000}, set()]


def test_the_size_of_logits_means_nothing_to_a_wasserstein_critic(tiny: Recipe) -> None:
    critic = changed(tiny, {"loss": "wasserstein"})
    assert findings(story(*[{"real": logits(900, 300), "fake": logits(-900)}] * 5), critic) == []


@pytest.mark.parametrize("name", ["sgan-consistent", "sgan-fm"])
def test_a_d_that_is_sure_of_its_labels_is_no_failure_where_g_matches_features(name: str, tiny: Recipe) -> None:
    """It is trained to be sure, and no gradient of G passes through its logits."""
    sure: dict[str, Any] = {"separation": 1.0, "distance": 0.6, "real": logits(20, 5), "fake": logits(-20, 5)}
    looks = story(*[sure] * 5)
    assert {finding.name for finding in findings(looks, tiny)} == {"saturation", "discriminator overpowers"}
    assert findings(looks, changed(name, {})) == []


def test_no_remedy_changes_a_d_that_names_images(tiny: Recipe) -> None:
    matching = changed("sgan-consistent", {})
    told = [finding for changes in SICK.values() for finding in findings(story(*changes), matching)]
    assert {finding.name for finding in told} >= {"mode collapse", "copying"}
    assert not any("--set" in finding.remedy for finding in told)
    single = changed(tiny, {"loss_g": "feature-matching"})  # its D has no name for an image
    assert not any("label" in finding.remedy for finding in findings(story(*SICK["too much alike"]), single))


def test_only_differences_of_relativistic_logits_mean_something(tiny: Recipe) -> None:
    assert findings(story(*[{"real": logits(30), "fake": logits(29)}] * 5), tiny) == []


def test_a_d_that_makes_no_mistake_is_no_failure_while_samples_get_better(tiny: Recipe) -> None:
    sure: dict[str, Any] = {"separation": 1.0, "real": logits(3), "fake": logits(-3)}
    for pace, expected in ((0.9, []), (1.0, ["discriminator overpowers"])):
        distances = [1.2 * pace**k for k in range(8)]
        looks = [
            dataclasses.replace(HEALTHY, images_seen=5000 * k, distance=distance, **sure)
            for k, distance in enumerate([1.5, *distances])
        ]
        assert [finding.name for finding in findings(looks, tiny)] == expected


def test_narrow_samples_are_no_collapse_while_they_get_better(tiny: Recipe) -> None:
    for pace, expected in ((0.9, []), (1.0, ["mode collapse"])):
        later = [
            dataclasses.replace(START, images_seen=5000 * k, distance=1.3 * pace**k, within=None, diversity=0.1)
            for k in range(1, 8)
        ]
        looks = [START, *later]
        assert [finding.name for finding in findings(looks, tiny)] == expected


@pytest.mark.parametrize("every", [2000, 20_000, 200_000])
def test_one_image_for_every_z_is_told_at_the_second_look_after_the_warm_up(every: int, tiny: Recipe) -> None:
    """Whatever the interval; but not of a G that has not moved, nor of one that was narrow for a moment."""
    one: dict[str, Any] = {"diversity": 0.02, "within": None, "distance": 0.9}
    looks = [dataclasses.replace(HEALTHY, images_seen=every * k, **(one if k else {})) for k in range(12)]
    first = dataclasses.replace(START, diversity=0.02)
    (found,) = (each for each in findings([first, *looks[1:]], tiny) if each.name == "mode collapse")
    assert found.images_seen == max(every, 10_000) and "one image" in found.evidence
    still = [dataclasses.replace(first, images_seen=every * k) for k in range(12)]
    assert "mode collapse" not in {each.name for each in findings(still, tiny)}
    moment = [dataclasses.replace(look, diversity=0.02 if k == 7 else 0.9) for k, look in enumerate(looks)]
    assert "mode collapse" not in {each.name for each in findings([START, *moment[1:]], tiny)}


def test_classes_that_get_nearer_hide_no_collapse_within_them(tiny: Recipe) -> None:
    """The energy distance of all samples falls when the classes are told apart, whatever becomes of the noise."""
    for pace, expected in ((0.9, ["mode collapse"]), (1.2, [])):
        looks = [
            dataclasses.replace(HEALTHY, images_seen=5000 * k, distance=1.3 * 0.8**k, within=0.1 * pace**k)
            for k in range(8)
        ]
        assert [finding.name for finding in findings(looks, tiny)] == expected


numbers = st.sampled_from([0.0, 1e-4, 0.1, 0.3, 0.5, 0.99, 1.5])
some_looks = st.builds(
    Look,
    st.just(0),
    numbers,
    numbers,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
    numbers,
    st.builds(logits, st.floats(-50, 50), numbers),
    st.builds(logits, st.floats(-50, 50), numbers),
    st.none() | numbers,
    st.none() | numbers,
)


@given(st.lists(st.tuples(some_looks, st.integers(1, 4)), max_size=8), st.integers(0, 32))
def test_later_looks_change_nothing_that_was_found(runs: list[tuple[Look, int]], cut: int) -> None:
    """So that a run which was killed and resumed, and one which was extended, find the same."""
    recipe = changed("demo", {})
    many = [look for look, times in runs for _ in range(times)]
    looks = [dataclasses.replace(look, images_seen=4000 * k) for k, look in enumerate(many)]
    early = [finding for finding in findings(looks, recipe) if finding.images_seen < 4000 * cut]
    assert findings(looks[:cut], recipe) == early


class Says(nn.Module):
    """A network that answers what it is told, whatever it is asked."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.answer(x, labels)


def watched(pack: Pack, recipe: Recipe, tmp_path: Path) -> tuple[Gan, Watch]:
    run = train(pack, load_recipe(recipe, {"images": 1, "ema_images": None, "precision": "fp32"}), tmp_path / "run")
    gan = new_gan(run.facts)
    (run.path / "watch.jsonl").unlink()
    return gan, Watch(pack, np.arange(len(pack)), gan, run)


def look_at(gan: Gan, watch: Watch) -> Look:
    gan.images_seen += 1
    watch.observe(gan)
    return watch.looks[-1]


def test_what_the_measures_say_of_known_samples(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    gan, watch = watched(digits, tiny, tmp_path)
    real = images.to_images(watch.eyes.real)

    gan.generator = Says(lambda z, labels: real)
    gan.discriminator = Says(lambda x, labels: torch.zeros(len(x)))
    same = look_at(gan, watch)
    assert abs(same.distance) < 0.02  # the first 128 of the reference are a fair sample of it
    assert same.diversity == pytest.approx(1, abs=0.05)
    assert (same.within, same.classes, same.copies) == (1, 1, 1)
    assert same.nearest == pytest.approx(0, abs=0.01)
    assert same.separation == 0.5

    one = real[:1].expand(SAMPLES, -1, -1, -1)
    gan.generator = Says(lambda z, labels: one)
    gan.discriminator = Says(lambda x, labels: (x - one).square().sum((1, 2, 3)) + 100)
    alike = look_at(gan, watch)
    assert alike.diversity == pytest.approx(0, abs=1e-3)
    assert alike.within == pytest.approx(0, abs=1e-3)
    assert alike.classes == pytest.approx(1 / 10, rel=0.05)
    assert alike.distance > 0.4
    assert alike.separation > 0.99
    assert alike.fake.counts == logits(100, 0).counts
    assert sum(alike.real.counts) == SAMPLES

    gan.generator = Says(lambda z, labels: -real)
    assert look_at(gan, watch).copies == 0


def test_logits_of_k_classes_and_generated_are_read_as_log_odds(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    gan, watch = watched(digits, tiny, tmp_path)
    gan.discriminator = Says(lambda x, labels: torch.tensor([1.0, 2.0, -3.0]).expand(len(x), -1))
    look = look_at(gan, watch)
    assert look.real.median == pytest.approx(math.log(math.exp(1) + math.exp(2)) + 3, rel=1e-5)


def test_looking_changes_nothing(digits: Pack, tmp_path: Path) -> None:
    """Batch normalisation and dropout in both networks: neither statistics nor random state may move."""
    net = {"hidden_g": [30], "hidden_d": [30], "batch_norm": True, "dropout": 0.5}
    recipe = load_recipe("demo", DENSE | {"options": net, "images": 768, "precision": "fp32"})
    often, never = (
        train(digits, load_recipe(recipe, {"watch_every": every}), tmp_path / f"{every}") for every in (128, 10**9)
    )
    assert often.checkpoint_hash == never.checkpoint_hash
    assert len((often.path / "watch.jsonl").read_text().splitlines()) == 7


@pytest.mark.parametrize("kept", [1, 2, 300])
def test_small_packs_of_one_class_are_watched(kept: int, digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    with writing(tmp_path / "p", classes=["only"], origin="real", history=[Step(command="x")]) as writer:
        writer.add(digits.pixels[:kept], np.zeros(kept, np.int64))
    run = train(tmp_path / "p", tiny, tmp_path / "run", images=64)
    looks = [Look.of(line) for line in read_lines(run.path / "watch.jsonl")]
    assert [look.images_seen for look in looks] == [0, 64]
    assert looks[-1].classes is None
    assert (looks[-1].diversity is None) == (kept == 1)


def test_a_network_that_fails_on_purpose_is_told_so(digits: Pack, tmp_path: Path) -> None:
    """A generator that stands still: D learns to tell everything apart, and samples stay what they were."""
    still = {"name": "adam", "lr": 1e-9}
    recipe = load_recipe("demo", DENSE | {"optimizer_g": still, "images": 21_000})
    found = {finding.name: finding for finding in train(digits, recipe, tmp_path / "run").findings()}
    assert {"discriminator overpowers", "nothing learnt"} == found.keys()
    assert found["nothing learnt"].remedy == "train anew with a faster G, --set optimizer_g.lr=0.001"


def poison(monkeypatch: pytest.MonkeyPatch, at: set[tuple[int, bool]]) -> None:
    """loss_g is NaN at these images seen, in a run that was (not) rolled back."""

    def poisoned(gan: Gan, *args: Any) -> dict[str, Tensor]:
        values = generator_step(gan, *args)
        return {"loss_g": torch.tensor(math.nan)} if (gan.images_seen, gan.slowed) in at else values

    monkeypatch.setattr(loop, "generator_step", poisoned)


def names(run: Run) -> list[tuple[str, int, int]]:
    return [(finding.name, finding.began, finding.images_seen) for finding in run.findings()]


def test_nan_is_a_finding(digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, {(256, False)})
    for resume in (False, True):  # the same again: nothing random has changed, and nothing is said twice
        with pytest.raises(TrainingError):
            train(digits, tiny, tmp_path / "run", resume=resume)
        assert names(open_run(tmp_path / "run")) == [("not finite", 256, 256)]


@pytest.mark.parametrize("at", [48, 256], ids=["before the first checkpoint", "after it"])
def test_a_run_is_rolled_back_once_with_a_tenth_of_the_rates(
    at: int, digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = 192 if at == 256 else 0
    recipe = load_recipe(tiny, {"rollback": True})
    slower: dict[str, Any] = {"optimizer_g.lr": 1e-4, "optimizer_d.lr": 1e-4}
    plain = train(digits, tiny, tmp_path / "plain", **slower)
    poison(monkeypatch, {(at, False)})
    straight = train(digits, recipe, tmp_path / "straight")
    assert names(straight) == [("not finite", at, back)]
    assert straight.images_seen == 640
    lines = [line["images_seen"] for line in straight.log()]
    assert lines == sorted(set(lines))

    assert (plain.checkpoint_hash == straight.checkpoint_hash) == (back == 0)  # from the start on: the same

    calls = iter(range(1000))
    steps = getattr(loop, "generator_step")  # noqa: B009

    def killed(*args: Any) -> Any:
        if next(calls) == 30:  # after the roll-back
            raise KeyboardInterrupt
        return steps(*args)

    monkeypatch.setattr(loop, "generator_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(digits, recipe, tmp_path / "killed")
    train(digits, recipe, tmp_path / "killed", resume=True)
    assert contents(tmp_path / "killed") == contents(straight.path)


def test_a_second_nan_ends_a_run_that_was_rolled_back(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, {(256, False), (400, True)})
    with pytest.raises(TrainingError, match="at 400 images seen"):
        train(digits, tiny, tmp_path / "run", rollback=True)
    assert names(open_run(tmp_path / "run")) == [("not finite", 256, 192), ("not finite", 400, 400)]


def test_a_sample_that_is_not_finite_stops_the_run_before_it_is_saved(
    digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    gan, watch = watched(digits, tiny, tmp_path)
    gan.generator = Says(lambda z, labels: torch.full((len(z), 1, 8, 8), math.nan))
    with pytest.raises(TrainingError, match="a sample is not finite"):
        look_at(gan, watch)


def test_a_finding_reads_as_a_sentence() -> None:
    finding = Finding(images_seen=9000, name="copying", began=5000, evidence="half are copies", remedy="more images")
    assert str(finding) == "copying since 5,000 images: half are copies; more images"


def test_layers_are_counted_from_the_first_to_the_last_and_saturation_shows_in_them(
    digits: Pack, tmp_path: Path
) -> None:
    """Against a forward pass by hand; weights blown up a thousand times lie in the outer bins."""
    settings = DENSE | {"options": {"hidden_g": [5], "hidden_d": [7] * 12}, "images": 128, "precision": "fp32"}
    run = train(digits, load_recipe("demo", settings), tmp_path / "run")
    for line in run.lines("watch.jsonl"):
        assert list(line["layers"])[:2] == ["G layers.0", "G last"]
        seen = [name for name in line["layers"] if name.startswith("D ")]
        assert len(seen) == 8 and (seen[0], seen[-1]) == ("D layers.1", "D last")
        assert sum(line["layers"]["D last"]) == 2 * 128  # real images and samples
    gan = new_gan(run.facts)
    load_checkpoint(gan, run.newest())
    eyes = Eyes(digits, np.arange(len(digits)), gan)
    before = {key: value.clone() for key, value in gan.discriminator.state_dict().items()}
    look = eyes.measure(gan)
    assert all(torch.equal(value, before[key]) for key, value in gan.discriminator.state_dict().items())
    first = gan.generator.get_submodule("layers.0")(eyes.z).flatten()
    edges = [-math.inf, *LOGIT_EDGES, math.inf]
    assert look.layers["G layers.0"] == [
        int(((first > low) & (first <= high)).sum()) for low, high in itertools.pairwise(edges)
    ]
    with torch.no_grad():
        gan.generator.get_submodule("layers.0").weight.mul_(1e5)  # type: ignore[operator]
    far = eyes.measure(gan).layers["G layers.0"]
    assert far[0] + far[-1] > 0.9 * sum(far)


def test_a_large_layer_is_counted_by_every_so_many_th_output(digits: Pack, tmp_path: Path) -> None:
    """128 images of 8 x 8 x 4 maps are more than are counted; nothing is warned of."""
    run = train(digits, load_recipe("demo", {"options": {"width": 16}, "images": 64}), tmp_path / "run")
    counted = [sum(counts) for counts in run.lines("watch.jsonl")[-1]["layers"].values()]
    assert max(counted) > OUTPUTS
    assert max(counted) < 4 * OUTPUTS
