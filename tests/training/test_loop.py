from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, Step, open_pack, writing
from imagemint.errors import PackError, RecipeError, RunError, TrainingError
from imagemint.fitting import only_one, train
from imagemint.methods import settle
from imagemint.minting import mint
from imagemint.runfolder import seconds_spent
from imagemint.runs import list_runs, open_run
from imagemint.training import loop, step
from imagemint.training.feed import Feed
from imagemint.training.recipe import Penalty
from imagemint.training.state import load_checkpoint, new_gan
from imagemint.training.step import discriminator_step, fakes, generator_step


def dense(settings: dict[str, Any]) -> Recipe:
    """An unconditional recipe, from a choice that no shipped recipe makes twice."""
    base = load_recipe("sgan-mnist").model_dump() | {"model": "dense", "loss": "non-saturating", "options": {}}
    recipe = load_recipe(Recipe.model_validate(base), settings)
    assert isinstance(recipe, Recipe)
    return recipe


def test_a_run_holds_what_it_promises(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    run = train(digits, tiny, tmp_path / "run")
    assert [int(p.stem) for p in run.samples()] == [0, 128, 256, 384, 512, 640]
    assert [line["images_seen"] for line in run.log()] == list(range(64, 641, 64))
    assert len(run.checkpoints()) == tiny.keep
    assert run.images_seen == 640
    with Image.open(run.samples()[-1]) as picture:  # ten classes of ten samples, 8 px made four times as large
        assert picture.size == (10 * (8 * 4 + 2) - 2, 10 * (8 * 4 + 2) - 2)
    assert [found.path for found in list_runs(tmp_path)] == [run.path]


def test_training_changes_both_networks_and_only_the_one_whose_turn_it_is(
    digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    gan = new_gan(train(digits, tiny, tmp_path / "run", images=16).facts)
    labels = torch.arange(16) % 10
    real = torch.zeros(16, 1, 8, 8)

    def snapshot(net: torch.nn.Module) -> list[torch.Tensor]:
        return [p.detach().clone() for p in net.parameters()]

    d, g = snapshot(gan.discriminator), snapshot(gan.generator)
    fake = fakes(gan, labels, "z")
    discriminator_step(gan, real, fake, labels)
    assert all(torch.equal(a, b) for a, b in zip(g, gan.generator.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(d, gan.discriminator.parameters(), strict=True))
    d = snapshot(gan.discriminator)
    generator_step(gan, real, fake, labels, 0)
    assert all(torch.equal(a, b) for a, b in zip(d, gan.discriminator.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(g, gan.generator.parameters(), strict=True))


def test_real_and_fake_images_are_moved_by_the_same_maps_and_by_new_ones_every_time(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Different maps would tell D which images are real; what D is shown is what this looks at."""
    recipe = tiny.model_copy(update={"augment": "affine", "penalty": None})
    gan = new_gan(settle(digits, recipe))
    shown: list[torch.Tensor] = []
    gan.discriminator.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
    images, labels = torch.rand(16, 1, 8, 8) * 2 - 1, torch.arange(16) % 10
    discriminator_step(gan, images, images, labels)
    wanting = images.clone().requires_grad_()
    generator_step(gan, images, wanting, labels, 0)
    for a, b in (shown[:2], shown[2:]):
        assert torch.equal(a, b)
        assert not torch.allclose(a, images, atol=1e-2)
    assert not torch.allclose(shown[0], shown[2], atol=1e-2)  # the two steps do not share their maps
    assert wanting.grad is not None
    assert all(float(each.abs().sum()) > 0 for each in wanting.grad)


def test_after_one_half_life_the_average_is_half_way_weights_and_batch_statistics_alike(
    digits: Pack, tiny: Recipe
) -> None:
    gan = new_gan(settle(digits, tiny.model_copy(update={"ema_images": 16})))
    gan.images_seen = 10_000
    assert gan.ema is not None
    before = [value.clone() for value in gan.ema.state_dict().values()]
    for value in gan.generator.state_dict().values():
        value.add_(2)
    step.average_step(gan)
    for old, new in zip(before, gan.ema.state_dict().values(), strict=True):
        torch.testing.assert_close(new, old + (1 if old.is_floating_point() else 2))  # a count has no half


@pytest.mark.parametrize(
    ("batch", "d_steps", "seen", "ema_images"),
    [(16, 1, 10_000, 16), (8, 2, 10_000, 16), (8, 3, 10_000, 24), (16, 1, 320, 10_000), (8, 2, 320, 10_000)],
)
def test_a_half_life_counts_the_images_of_every_discriminator_step_and_is_short_at_the_start(
    digits: Pack, tiny: Recipe, batch: int, d_steps: int, seen: int, ema_images: int
) -> None:
    """One half-life in every row: the recipe's own, or 5 % of the 320 images seen."""
    changes = {"batch_size": batch, "d_steps": d_steps, "ema_images": ema_images}
    gan = new_gan(settle(digits, tiny.model_copy(update=changes)))
    gan.images_seen = seen
    assert gan.ema is not None
    before = [value.clone() for value in gan.ema.parameters()]
    with torch.no_grad():
        for value in gan.generator.parameters():
            value.add_(2)
    step.average_step(gan)
    for old, new in zip(before, gan.ema.parameters(), strict=True):
        torch.testing.assert_close(new, old + 1)


def test_a_lazy_penalty_is_as_many_times_stronger_as_it_is_rarer(digits: Pack, tiny: Recipe) -> None:
    """Gradients are linear in the penalty: weight w at every n-th step pulls w n times as hard, and not between."""
    images, labels = torch.rand(16, 1, 8, 8) * 2 - 1, torch.arange(16) % 10

    def pull(weight: float | None, every: int, d_step: int) -> tuple[torch.Tensor, float]:
        penalty = None if weight is None else Penalty(name="r1r2", weight=weight, every=every)
        gan = new_gan(settle(digits, tiny.model_copy(update={"penalty": penalty, "augment": None})))
        gan.images_seen = d_step * gan.batch
        values = discriminator_step(gan, images, -images, labels)
        gradients = [each.grad.flatten() for each in gan.discriminator.parameters() if each.grad is not None]
        return torch.cat(gradients), float(values.get("penalty", 0.0))

    without, _ = pull(None, 1, 0)
    once, size = pull(1.0, 1, 0)
    assert size > 0 and not torch.allclose(once, without)
    for weight, every in ((3.0, 1), (1.0, 4), (3.0, 4)):
        lazy, value = pull(weight, every, 0)
        assert value == pytest.approx(weight * every * size, rel=1e-4)
        torch.testing.assert_close(lazy - without, (once - without) * (weight * every), rtol=1e-3, atol=1e-5)
    between, value = pull(3.0, 4, 1)
    assert value == 0
    torch.testing.assert_close(between, pull(None, 4, 1)[0])


def test_two_generator_steps_for_each_discriminator_step(
    digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("discriminator_step", "generator_step"):

        def noted(*args: object, name: str = name) -> object:
            calls.append(name[0])
            return getattr(step, name)(*args)

        monkeypatch.setattr(loop, name, noted)
    train(digits, load_recipe("cdcgan", {"images": 48, "batch_size": 16}), tmp_path / "run")
    assert "".join(calls) == "dgg" * 3


def test_a_number_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def poisoned(*args: object) -> object:
        values = generator_step(*args)  # type: ignore[arg-type]
        return {"loss_g": torch.tensor(float("nan"))} if next(calls) == 15 else values

    monkeypatch.setattr(loop, "generator_step", poisoned)
    with pytest.raises(TrainingError, match=r"loss_g is nan at 256 images seen .*lower the learning rates"):
        train(digits, tiny, tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.images_seen == 192
    load_checkpoint(new_gan(run.facts), run.newest())


def test_a_run_folder_is_never_overwritten(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    train(digits, tiny, tmp_path / "run", images=32)
    with pytest.raises(RunError, match=r"already at .*--resume"):
        train(digits, tiny, tmp_path / "run", images=32)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="is not a run"):
        train(digits, tiny, tmp_path / "other", images=32)


def test_resuming_with_another_recipe_seed_or_pack_is_refused_with_the_difference(
    digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    train(digits, tiny, tmp_path / "run", images=32)
    lr: dict[str, Any] = {"optimizer_g.lr": 0.5}
    with pytest.raises(RunError, match=r"recipe\.optimizer_g\.lr was 0\.001 and is 0\.5"):
        train(digits, tiny, tmp_path / "run", images=64, resume=True, **lr)
    with pytest.raises(RunError, match="seed was 0 and is 1"):
        train(digits, tiny, tmp_path / "run", images=64, resume=True, seed=1)
    with writing(tmp_path / "p", classes=digits.classes, origin="real", history=[Step(command="x")]) as writer:
        writer.add(digits.pixels[:99], digits.labels[:99])
    with pytest.raises(RunError, match=r"pack\.fingerprint was"):
        train(tmp_path / "p", tiny, tmp_path / "run", images=64, resume=True)


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    digits: Pack, tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(digits, tiny, tmp_path / "run")
    whole = run.checkpoint_hash
    weights = run.newest() / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    monkeypatch.setattr("imagemint.progress._on", True)
    train(digits, tiny, tmp_path / "run", resume=True)
    assert "000000000640/weights.safetensors is damaged" in capsys.readouterr().err
    assert open_run(run.path).checkpoint_hash == whole


def test_a_second_process_is_refused(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    def enter() -> None:
        with only_one(tmp_path / "run"):
            pass

    with only_one(tmp_path / "run"), pytest.raises(RunError, match="another process"):
        enter()
    enter()


def test_unlabelled_images_never_reach_the_networks(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    labels = np.array(digits.labels[:100])
    for kept in (np.arange(100) < 30, np.arange(100) < 0):
        dest = tmp_path / f"{kept.sum()}"
        with writing(dest, classes=digits.classes, origin="real", history=[Step(command="x")]) as writer:
            writer.add(digits.pixels[:100], np.where(kept, labels, -1))
    train(tmp_path / "30", tiny, tmp_path / "run", images=64)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["pack"]["images"] == 30
    with pytest.raises(PackError, match=r"no image of .* has a label"):
        train(tmp_path / "0", tiny, tmp_path / "run0", images=64)


def test_one_image_and_one_class_are_enough_to_train(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    with writing(tmp_path / "one", classes=["zero"], origin="real", history=[Step(command="x")]) as writer:
        writer.add(digits.pixels[:1], digits.labels[:1])
    assert train(tmp_path / "one", tiny, tmp_path / "run", images=32).images_seen == 32


def test_without_labels_an_unconditional_network_learns_from_every_image(digits: Pack, tmp_path: Path) -> None:
    with writing(tmp_path / "p", classes=[], origin="real", history=[Step(command="x")]) as writer:
        writer.add(digits.pixels[:40], np.full(40, -1))
    small = {"options": {"hidden_g": [16], "hidden_d": [16]}, "z_size": 4, "images": 64, "batch_size": 16}
    run = train(tmp_path / "p", dense(small), tmp_path / "run")
    assert run.facts.pack.images == 40
    assert mint(run, tmp_path / "minted", unlabelled=7).unlabelled() == 7


def test_a_balanced_batch_holds_as_many_of_every_class_in_their_order(digits: Pack, tiny: Recipe) -> None:
    recipe = load_recipe(tiny, {"balanced": True, "batch_size": 3})
    gan = new_gan(settle(digits, recipe))
    feed = Feed(digits, gan)
    assert gan.batch == 30
    seen = []
    for step_number in range(4):
        images, labels = feed.batch(step_number * gan.batch)
        assert labels.tolist() == [k for k in range(10) for _ in range(3)]
        seen.append(images)
    assert (
        len({image.numpy().tobytes() for image in torch.cat(seen)}) == 120
    )  # no image comes twice before its class is through


def test_a_semi_supervised_batch_mixes_labelled_and_unlabelled_images(digits: Pack, tmp_path: Path) -> None:
    labels = np.where(np.arange(len(digits)) % 18 == 0, np.array(digits.labels), -1)
    with writing(tmp_path / "few", classes=digits.classes, origin="real", history=[Step(command="x")]) as writer:
        writer.add(np.array(digits.pixels), labels)
    small = {"batch_size": 16, "images": 1600, "log_every": 160, "labelled_share": 0.75, "precision": "fp32"}
    few = open_pack(tmp_path / "few")
    gan = new_gan(settle(few, load_recipe("sgan-mnist", small)))
    assert int((Feed(few, gan).batch(0)[1] >= 0).sum()) == 12
    run = train(few, load_recipe("sgan-mnist", small), tmp_path / "run")
    accuracy = [line["accuracy"] for line in run.log()]
    assert all(0 <= each <= 1 for each in accuracy)
    assert accuracy[-1] > 0.5  # it has learned the hundred images that have a label


def test_loss_and_number_of_outputs_must_agree(digits: Pack) -> None:
    with pytest.raises(RecipeError, match=r"loss semi-supervised with options\.outputs 1"):
        settle(digits, load_recipe("sgan-mnist", {"options.outputs": 1}))
    with pytest.raises(RecipeError, match=r"loss hinge with options\.outputs k\+1"):
        settle(digits, load_recipe("sgan-mnist", {"loss": "hinge"}))


def test_pretraining_moves_the_discriminator_alone(digits: Pack, tiny: Recipe) -> None:
    gan = new_gan(settle(digits, load_recipe(tiny, {"pretrain_images": 48})))
    feed, before = Feed(digits, gan), [p.detach().clone() for p in gan.generator.parameters()]
    moved = []
    for _ in range(4):
        d = [p.detach().clone() for p in gan.discriminator.parameters()]
        loop.iterate(gan, feed)
        pairs = zip(gan.generator.parameters(), before, strict=True)
        moved.append(any(not torch.equal(p, q) for p, q in pairs))
        assert any(not torch.equal(p, q) for p, q in zip(gan.discriminator.parameters(), d, strict=True))
    assert moved == [False, False, False, True]


def test_a_generator_that_is_not_trained_has_no_loss_to_show() -> None:
    assert loop._note({"images_seen": 48, "loss_d": 0.5}, None) == "loss D 0.50"
    assert loop._note({"images_seen": 64, "loss_d": 0.5, "loss_g": 1.0}, None) == "loss D 0.50 G 1.00"


def test_feature_matching_lowers_the_distance_of_the_features(digits: Pack, tiny: Recipe) -> None:
    recipe = load_recipe(tiny, {"loss_g": "feature-matching", "augment": "none", "options.width": 64})
    gan = new_gan(settle(digits, recipe))
    labels = torch.arange(16) % 10
    real, _ = Feed(digits, gan).batch(0)
    losses = [float(generator_step(gan, real, fakes(gan, labels, "z"), labels, 0)["loss_g"]) for _ in range(30)]
    assert losses[-1] < losses[0] / 4


def test_the_clock_counts_each_session_once_however_many_checkpoints_it_has(
    digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    def trained(images: int, every: int) -> list[dict[str, Any]]:
        settings = {"images": images, "checkpoint_every": every}
        run = train(digits, load_recipe(tiny, settings), tmp_path / "run", resume=True)
        return run.lines("clock.jsonl")

    first = trained(192, 64)
    assert len(first) == 3 and seconds_spent(first) == first[-1]["seconds"]
    both = trained(320, 64)
    assert both[:3] == first and seconds_spent(both) == pytest.approx(first[-1]["seconds"] + both[-1]["seconds"])
