"""Each threshold where the documentation puts it, from both sides; each sentence with the numbers that it names."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from imagemint.config import Recipe
from imagemint.training.watch import rules
from imagemint.training.watch.measure import Look
from imagemint.training.watch.rules import RULES, findings
from tests.training.test_watch import HEALTHY, NAMES, SICK, START, changed, logits, story

GAP = {"separation": 0.9}  # samples that D does tell apart, so that no other rule speaks


def found(changes: dict[str, Any], recipe: Recipe, name: str) -> bool:
    """Whether three such looks are called so."""
    return name in {finding.name for finding in findings(story(changes, changes, changes), recipe)}


SURE: dict[str, Any] = {"separation": 0.99, "distance": 0.6, "real": logits(1.0), "fake": logits(-1.0)}
SURE_OF = {key: SURE[key] for key in ("separation", "real", "fake")}
GUESSES: dict[str, Any] = {"separation": 0.5, "distance": 0.6}
GONE: dict[str, Any] = {"grad_g": 0.0029, "grad_d": 0.3, "distance": 0.3}
EDGES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    # what is asked: the rule, the loss, the look that is just ill, what of it makes it just well
    "diversity": ("mode collapse", "relativistic", {"diversity": 0.399}, {"diversity": 0.401}),
    "within": ("mode collapse", "relativistic", {"within": 0.399}, {"within": 0.401}),
    "classes": ("mode collapse", "relativistic", {"classes": 0.349}, {"classes": 0.351}),
    "gap": (
        "saturation",
        "relativistic",
        {"real": logits(4.1), "fake": logits(-4.0)},
        {"real": logits(3.9), "fake": logits(-4.0)},
    ),
    "gap the other way": (
        "saturation",
        "relativistic",
        {"real": logits(-4.1), "fake": logits(4.0)},
        {"real": logits(-3.9), "fake": logits(4.0)},
    ),
    "logits": ("saturation", "non-saturating", {"real": logits(9.0)}, {"real": logits(7.9)}),
    "logits of samples": ("saturation", "non-saturating", {"fake": logits(-9.0)}, {"fake": logits(-7.9)}),
    "half of the logits": ("saturation", "non-saturating", {"real": logits(9.0)}, {"real": logits(7.5, 1.0)}),
    "gradient": ("saturation", "relativistic", GONE, {"grad_g": 0.0031}),
    "gradient and distance": ("saturation", "relativistic", GONE, {"distance": 0.24}),
    "separation": ("discriminator overpowers", "relativistic", SURE, {"separation": 0.979}),
    "separation and distance": ("discriminator overpowers", "relativistic", SURE, {"distance": 0.249}),
    "certainty": (
        "discriminator overpowers",
        "relativistic",
        SURE | {"real": logits(0.51), "fake": logits(-0.5)},
        {"real": logits(0.49)},
    ),
    "guessing": ("generator overpowers", "relativistic", GUESSES | {"separation": 0.599}, {"separation": 0.601}),
    "guessing and distance": (
        "generator overpowers",
        "relativistic",
        GUESSES | {"distance": 0.251},
        {"distance": 0.249},
    ),
    "lost": (
        "generator overpowers",
        "relativistic",
        {"separation": 0.5, "distance": 0.101, "grad_g": 0.0029},
        {"distance": 0.099},
    ),
    "lost with a gradient": (
        "generator overpowers",
        "relativistic",
        {"separation": 0.5, "distance": 0.2, "grad_g": 0.0029},
        {"grad_g": 0.0031},
    ),
    "frozen": (
        "generator overpowers",
        "relativistic",
        GUESSES | {"grad_g": 0.0029, "grad_d": 0.0031},
        {"grad_d": 0.0029},
    ),
    "copies": ("copying", "relativistic", {"copies": 0.251}, {"copies": 0.249}),
    "as at the start": ("nothing learnt", "relativistic", {"distance": 1.351} | GAP, {"distance": 1.349}),
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_look_is_ill_beyond_the_threshold_and_well_before_it(edge: str, tiny: Recipe) -> None:
    name, loss, ill, well = EDGES[edge]
    recipe = changed(tiny, {"loss": loss})
    assert found(ill, recipe, name)
    assert not found({**ill, **well}, recipe, name)


def test_both_are_frozen_when_the_gradients_of_the_last_look_are_gone() -> None:
    gone = {"grad_g": 0.0029, "grad_d": 0.0029}
    assert not rules._frozen(story()) and rules._frozen(story({}, gone)) and not rules._frozen(story(gone, {}))


def test_every_rule_has_an_edge() -> None:
    assert {row[0] for row in EDGES.values()} == {rule.name for rule in RULES}


def test_a_d_that_is_fooled_is_told_before_samples_have_stalled(tiny: Recipe) -> None:
    """Samples get nearer at every look; D takes nearly all of them for real."""
    for separation, expected in ((0.199, True), (0.201, False)):
        looks = [
            dataclasses.replace(HEALTHY, images_seen=5000 * k, distance=1.5 * 0.9**k, separation=separation)
            for k in range(8)
        ]
        assert ("generator overpowers" in {each.name for each in findings(looks, tiny)}) == expected


@pytest.mark.parametrize(("last", "expected"), [(0.583, True), (0.581, False)])
def test_slow_is_not_ill_while_the_last_third_is_3_per_cent_better(last: float, expected: bool, tiny: Recipe) -> None:
    """0.97 times 0.6 is 0.582. Of 90,000 images the last third begins after 60,000."""
    distances = [1.5, *[0.6] * 6, *[last] * 3]
    looks = [
        dataclasses.replace(HEALTHY, images_seen=10_000 * k, distance=distance, **(SURE_OF if k > 6 else {}))
        for k, distance in enumerate(distances)
    ]
    assert bool(findings(looks, tiny)) == expected


@pytest.mark.parametrize(("before", "expected"), [(0.24, ["mode collapse"]), (0.26, [])])
def test_good_samples_that_become_narrow_have_collapsed_and_bad_ones_may_still_be_on_their_way(
    before: float, expected: list[str], tiny: Recipe
) -> None:
    """The distance falls by a tenth at every look, so that nothing has come to a stop."""
    wide = [dataclasses.replace(HEALTHY, distance=before, within=None)] * 2
    narrow = [dataclasses.replace(wide[0], distance=before * 0.9**k, diversity=0.1) for k in range(1, 5)]
    looks = [dataclasses.replace(look, images_seen=5000 * k) for k, look in enumerate([START, *wide, *narrow])]
    assert [finding.name for finding in findings(looks, tiny)] == expected


@pytest.mark.parametrize(("last", "told"), [(0.205, 110_000), (0.207, 130_000)])
def test_classes_that_widen_by_3_per_cent_in_the_last_third_have_not_collapsed(
    last: float, told: int, tiny: Recipe
) -> None:
    """The spread within classes grows until 60,000 images and stands still then; 0.97 times 0.206 is 0.2."""
    looks = [
        dataclasses.replace(
            HEALTHY, images_seen=10_000 * k, distance=1.3 * 0.8**k, within=0.2 * 1.2 ** (k - 6) if k <= 6 else last
        )
        for k in range(15)
    ]
    (found,) = findings(looks, tiny)
    assert (found.name, found.images_seen) == ("mode collapse", told)


WORDS = {
    "too much alike": "samples differ 0.10 times as much as real images do (below 0.4)",
    "alike within classes": "samples of one class differ 0.10 times as much as real images of it do (below 0.4)",
    "one class": "samples look like 10% of the classes (below 35%)",
    "logits beyond the sigmoid": "D's logits lie between -2 and 25, 100% of them beyond 8",
    "a gap beyond the sigmoid": "D's logits of real images lie 40 above those of samples (more than 8)",
    "no gradient": "the gradient of G's weights is 1.0e-04, it was 3.0e-01, and samples are still bad",
    "D makes no mistake": "D tells 100.0% of the pairs apart, and samples stay at distance 0.60",
    "D guesses": "D tells only 50% of the pairs apart (50 % is guessing), though samples are at distance 0.60 "
    "from real images",
    "nobody leads G back": "D tells only 50% of the pairs apart (50 % is guessing), though samples are at "
    "distance 0.150 from real images; they were at 0.020 after 5,000 images",
    "copies": "90% of samples are nearly a training image (three times nearer than that is to any other)",
    "as at the start": "samples are at distance 1.50 from real images, as at the start (1.50)",
}


@pytest.mark.parametrize("sickness", SICK)
def test_the_evidence_says_what_was_seen_and_what_is_usual(sickness: str, tiny: Recipe) -> None:
    recipe = changed(tiny, {"loss": "non-saturating"}) if sickness == "logits beyond the sigmoid" else tiny
    (finding,) = findings(story(*SICK[sickness]), recipe)
    assert (finding.name, finding.evidence) == (NAMES[sickness], WORDS[sickness])


def remedy(name: str, looks: list[Look], recipe: Recipe) -> str:
    (rule,) = (rule for rule in RULES if rule.name == name)
    return rule.remedy(looks, recipe)


PLAIN: dict[str, Any] = {"optimizer_g.lr": 0.001, "optimizer_d.lr": 0.002, "loss": "non-saturating", "penalty": None}
SIGMOID: dict[str, Any] = {"model": "dense", "options": {"activation": "sigmoid"}}
REMEDIES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("saturation", {}, {}, "with lower learning rates, --set optimizer_g.lr=0.0001 --set optimizer_d.lr=0.0002"),
    (
        "saturation",
        SIGMOID,
        {},
        "--set options.activation=leaky --set optimizer_g.lr=0.00033 --set optimizer_d.lr=0.00067",
    ),
    ("saturation", {"d_steps": 2}, {}, "with --set d_steps=1"),
    ("saturation", {"optimizer_g.lr": 0.00019}, {}, "with a faster G, --set optimizer_g.lr=0.002"),
    ("discriminator overpowers", {}, {}, "with a slower D, --set optimizer_d.lr=0.0002"),
    ("discriminator overpowers", {"optimizer_g.lr": 0.00021}, {}, "with a slower D, --set optimizer_d.lr=0.0002"),
    (
        "discriminator overpowers",
        {"d_steps": 5, "loss": "wasserstein"},
        {},
        "with a slower D, --set optimizer_d.lr=0.0002",
    ),
    ("generator overpowers", {}, {}, "with a slower G, --set optimizer_g.lr=0.0001"),
    ("generator overpowers", {"g_steps": 2}, {}, "with --set g_steps=1"),
    ("generator overpowers", {"optimizer_d.lr": 0.00009}, {}, "with a faster D, --set optimizer_d.lr=0.001"),
    ("generator overpowers", {"optimizer_d.lr": 0.0001, "g_steps": 2}, {}, "--set g_steps=1"),
    ("generator overpowers", {"optimizer_d.lr": 0.00011}, {}, "with a slower G, --set optimizer_g.lr=0.0001"),
    (
        "mode collapse",
        {"penalty": {"name": "r1r2", "weight": 1}},
        {},
        "with lower learning rates, --set optimizer_g.lr=0.0001",
    ),
    ("mode collapse", {}, {}, "--set loss=relativistic --set penalty="),
    ("mode collapse", SIGMOID, {}, "--set options.activation=leaky"),
    ("mode collapse", {}, SICK["D makes no mistake"][0], "with a slower D, --set optimizer_d.lr=0.0002"),
    ("mode collapse", {}, SICK["D guesses"][0], "with a slower G, --set optimizer_g.lr=0.0001"),
    ("copying", {"augment": "none"}, {}, "with --set augment=affine, or on more images"),
    ("copying", {"augment": "affine"}, {}, "mint from an earlier checkpoint, or train on more images"),
    ("nothing learnt", {}, {}, "for longer, or with a slower D, --set optimizer_d.lr=0.0002"),
    ("nothing learnt", {}, SICK["D guesses"][0], "with a slower G, --set optimizer_g.lr=0.0001"),
]


@pytest.mark.parametrize(("name", "choices", "look", "words"), REMEDIES, ids=lambda value: str(value)[:40])
def test_a_remedy_helps_the_weaker_side(
    name: str, choices: dict[str, Any], look: dict[str, Any], words: str, tiny: Recipe
) -> None:
    assert words in remedy(name, story(look, look, look), changed(tiny, PLAIN | choices))


def test_a_collapse_is_told_at_once_where_all_samples_are_one_image_at_two_looks(tiny: Recipe) -> None:
    for diversity, expected in ((0.039, True), (0.041, False)):
        look = {"diversity": diversity}
        names = [finding.name for finding in findings(story(look, look), tiny)]
        assert (names == ["mode collapse"]) == expected
    (finding,) = findings(story({"diversity": 0.03}, {"diversity": 0.03}), tiny)
    assert finding.evidence == "all samples are one image: they differ 0.03 times as much as real images do"
    assert (finding.began, finding.images_seen) == (20_000, 25_000)


def test_a_symptom_counts_from_10000_images_on_and_over_8000(tiny: Recipe) -> None:
    """Three ill looks are enough only where the last is 8,000 images after the first, all from 10,000 images on."""

    def told(*seen: int) -> list[int]:
        ill = dataclasses.replace(HEALTHY, copies=0.9)
        looks = [START, *(dataclasses.replace(ill, images_seen=each) for each in seen)]
        return [finding.images_seen for finding in findings(looks, tiny)]

    assert told(10_000, 14_000, 18_000) == [18_000]
    assert told(10_000, 14_000, 17_999) == []
    assert told(9_999, 14_000, 18_000) == []
    assert told(10_000, 18_000) == []
