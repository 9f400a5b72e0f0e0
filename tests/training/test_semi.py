"""Learning from few labels: K logits and a fixed one, the averaged discriminator, views that must be named alike."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.crash import contents
from torch.nn import functional as F

from imagemint import seeds
from imagemint.augment import AUGMENTATIONS, augment
from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import RecipeError
from imagemint.fitting import train
from imagemint.labelling import class_probabilities, discriminator_of
from imagemint.losses import consistency, realness, semi_supervised_d
from imagemint.methods import settle
from imagemint.models import ImageShape, build
from imagemint.runs import open_run
from imagemint.training import step
from imagemint.training.feed import Feed
from imagemint.training.loop import iterate
from imagemint.training.ranks import Ranks
from imagemint.training.state import new_gan
from tests.digits import digits, write

SMALL: dict[str, Any] = {"precision": "fp32", "batch_size": 16, "images": 480, "log_every": 32, "watch_every": 160}
EVERY = {"picture_every": 160, "checkpoint_every": 160, "keep": 3}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    pixels, labels = digits(400)
    pixels = np.kron(pixels, np.ones((1, 1, 2, 2), np.uint8))
    return write(tmp_path_factory.mktemp("few") / "few", pixels, np.where(np.arange(400) < 100, labels, -1))


def recipe(name: str, **changes: Any) -> Recipe:
    made = load_recipe(name, SMALL | EVERY | changes)
    assert isinstance(made, Recipe)
    return made


@pytest.mark.parametrize("kind", ["conv", "dense"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (3, 64, 64)])
def test_the_last_logit_is_zero_and_labels_are_not_looked_at(kind: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    g, d = build("semi", {"kind": kind, "noise": (0.3, 0.5)}, ImageShape(*shape), 4, 8)
    images = g(torch.randn(5, 8), torch.zeros(5, dtype=torch.int64))
    assert images.shape == (5, *shape) and images.abs().max() <= 1
    first, again = d(images, torch.zeros(5, dtype=torch.int64)), d(images, torch.ones(5, dtype=torch.int64))
    assert first.shape == (5, 5) and not first[:, -1].any() and first[:, :-1].abs().min() > 0
    assert not torch.equal(first, again)  # noise, in training
    d.eval()
    assert torch.equal(d(images, torch.zeros(5).long()), d(images, torch.ones(5).long()))


def test_a_fixed_logit_of_generated_loses_nothing() -> None:
    """Salimans et al. 2016, section 5: taking the last logit from all of them changes no loss."""
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, -1, -1, -1])
    fixed_real, fixed_fake = (logits - logits[:, -1:] for logits in (real, fake))
    torch.testing.assert_close(
        semi_supervised_d(fixed_real, fixed_fake, labels), semi_supervised_d(real, fake, labels)
    )
    torch.testing.assert_close(realness(fixed_real), fixed_real[:, :-1].logsumexp(1))


def test_consistency_is_cross_entropy_where_the_teacher_is_sure_and_moves_the_pupil_alone() -> None:
    weak = torch.tensor([[4.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.5, 0.0, 0.0]], requires_grad=True)
    strong = torch.randn(3, 3, requires_grad=True)
    found = consistency(weak.log_softmax(1), strong, 0.9)
    expected = F.cross_entropy(strong[:2], torch.tensor([0, 1]), reduction="none")
    torch.testing.assert_close(found, torch.cat([expected, torch.zeros(1)]))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert weak.grad is None and strong.grad is not None and not strong.grad[2].any()
    torch.testing.assert_close(strong.grad[0], strong.detach()[0].softmax(0) - F.one_hot(torch.tensor(0), 3))
    assert (consistency(weak.log_softmax(1), strong, 0.0) > 0).all()


def test_the_average_of_the_discriminator_moves_as_the_generators_does(few: Pack) -> None:
    gan = new_gan(settle(few, recipe("sgan-consistent", ema_images=16)))
    gan.images_seen = 10_000
    assert gan.ema_d is not None
    before = [value.clone() for value in gan.ema_d.state_dict().values()]
    with torch.no_grad():
        for value in gan.discriminator.state_dict().values():
            value.add_(2)
    step.average_step(gan)  # 16 images, which is one half-life
    for old, new in zip(before, gan.ema_d.state_dict().values(), strict=True):
        torch.testing.assert_close(new, old + 1)


@pytest.mark.parametrize("name", ["sgan-fm", "sgan-consistent"])
def test_stopped_and_resumed_is_never_stopped(name: str, few: Pack, tmp_path: Path) -> None:
    changes = {"consistency.threshold": 0.2} if name == "sgan-consistent" else {}
    straight = train(few, recipe(name, **changes), tmp_path / "straight")
    train(few, recipe(name, **changes, images=320), tmp_path / "stopped")
    resumed = train(few, recipe(name, **changes), tmp_path / "stopped", resume=True, images=480)
    mine, theirs = contents(resumed.path), contents(straight.path)
    kept = [each for each in theirs if "000480" in each]
    assert kept and {each: mine[each] for each in kept} == {each: theirs[each] for each in kept}


def test_unlabelled_images_teach_where_views_must_agree(few: Pack) -> None:
    """The term is there exactly where a batch has images without a label, and nothing else changes with the seed."""
    gan = new_gan(settle(few, recipe("sgan-consistent", **{"consistency.threshold": 0.0})))
    feed = Feed(few, gan)
    real, labels = feed.batch(0)
    assert int((labels < 0).sum()) == 12
    fake = step.fakes(gan, labels, "z")
    values = step.discriminator_step(gan, real, fake, labels)
    assert values["sure"] == 1 and values["consistency"] > 0
    assert "consistency" not in step.discriminator_step(gan, real, fake, labels.clamp_min(0))


def test_the_average_names_the_images(few: Pack, tmp_path: Path) -> None:
    run = train(few, recipe("sgan-consistent", images=160), tmp_path / "run")
    gan = new_gan(run.facts)
    feed = Feed(few, gan)
    while gan.images_seen < 160:
        iterate(gan, feed)
    assert gan.ema_d is not None
    for mine, theirs in zip(discriminator_of(run).parameters(), gan.ema_d.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not all(map(torch.equal, gan.ema_d.parameters(), gan.discriminator.parameters()))
    assert class_probabilities(open_run(run.path), few.pixels[:8]).shape == (8, 10)


def test_they_learn_more_than_the_labels_say(few: Pack, tmp_path: Path) -> None:
    truth = digits(400)[1]
    for name in ("sgan-consistent", "sgan-fm"):
        longer = recipe(name, batch_size=64, images=12_800, ema_images=2000, watch_every=12_800)
        run = train(few, longer, tmp_path / name)
        right = class_probabilities(run, few.pixels[100:]).argmax(1) == truth[100:]
        assert right.mean() > 0.7, name


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"ema_images": None}, "ema_d without what it needs"),
        ({"ema_d": False}, "consistency without what it needs"),
        ({"loss": "hinge"}, r"loss hinge with options\.outputs k"),
        ({"consistency.strong": "nothing"}, "consistency.strong"),
        ({"consistency.strong": "mixup"}, "consistency.strong"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(changes: dict[str, Any], found: str, few: Pack) -> None:
    with pytest.raises(RecipeError, match=found):
        settle(few, recipe("sgan-consistent", **changes))


def test_many_processes_are_refused_before_anything_is_trained(few: Pack) -> None:
    ranks = Ranks()
    object.__setattr__(ranks, "world", 2)
    with pytest.raises(RecipeError, match="consistency in a training of 2 processes"):
        new_gan(settle(few, recipe("sgan-consistent")), ranks)


def test_strong_views_come_from_seed_and_images_seen(few: Pack) -> None:
    gan = new_gan(settle(few, recipe("sgan-consistent", **{"consistency.threshold": 0.0})))
    real, labels = Feed(few, gan).batch(0)
    assert gan.recipe.consistency is not None
    rows = real[labels < 0]

    def term(images_seen: int) -> float:
        gan.images_seen = images_seen
        return float(step._agree(gan, rows, rows, gan.recipe.consistency)["consistency"])  # type: ignore[arg-type]

    assert term(16) == term(16) != term(32)
    assert seeds.derive(gan.seed, "strong view", 16) != seeds.derive(gan.seed, "strong view", 32)


@pytest.mark.parametrize("flips", [False, True])
def test_a_strong_view_is_asked_for_the_class_that_the_average_names(flips: bool, few: Pack) -> None:
    """Loss, gradient and the share of sure images against the same written out."""
    changes = {"consistency.threshold": 0.11, "consistency.weight": 2.5, "flips": flips}
    gan = new_gan(settle(few, recipe("sgan-consistent", **changes)))
    asked = gan.recipe.consistency
    assert asked is not None and gan.ema_d is not None
    real, _ = Feed(few, gan).batch(0)
    weak = real.flip(-1)
    nowhere = torch.full((16,), -1)
    drawn = seeds.generator(gan.seed, "strong view", gan.images_seen)
    views = augment(real, drawn, AUGMENTATIONS[asked.strong], flips=flips)
    twin = copy.deepcopy(gan.discriminator)
    with torch.no_grad():
        p = gan.ema_d(weak, nowhere)[:, :-1].softmax(1)
    sure, named = p.max(1)
    assert 0 < int((sure >= asked.threshold).sum()) < 16, "some are sure and some are not"
    each = F.cross_entropy(twin(views, nowhere)[:, :-1], named, reduction="none") * (sure >= asked.threshold)
    values = step._agree(gan, real, weak, asked)
    assert float(values["consistency"]) == pytest.approx(2.5 * float(each.mean().detach()), rel=1e-4)
    assert float(values["sure"]) == pytest.approx(float((sure >= asked.threshold).float().mean()))
    wanted = torch.autograd.grad(2.5 * each.mean(), list(twin.parameters()), allow_unused=True)
    for found, slope in zip(gan.discriminator.parameters(), wanted, strict=True):
        if slope is not None:
            torch.testing.assert_close(found.grad, slope, rtol=1e-4, atol=1e-7)
