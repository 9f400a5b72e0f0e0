"""What a step asks of a device: nothing that the host would have to wait for.

No GPU is at hand. `meta` tensors have shapes and no numbers: whatever needs a number on the host raises there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imagemint import devices
from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import TrainingError
from imagemint.fitting import train
from imagemint.methods import settle
from imagemint.recipe import AnyRecipe
from imagemint.training import loop, step
from imagemint.training.feed import Feed
from imagemint.training.recipe import Recipe
from imagemint.training.state import Gan, new_gan
from tests.test_recipes import noise_pack
from tests.test_recipes import tiny as smallest

WAITING = ("_local_scalar_dense", "nonzero", "equal")  # operators that hand numbers to the host

SGD = {"optimizer_g.name": "sgd", "optimizer_d.name": "sgd"}  # Adam's fused kernel knows no `meta`


class Noted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators for which a host waits for its device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is torch.ops.aten.index.Tensor and any(x.dtype == torch.bool for x in args[1] if x is not None)
        self.waits += by_mask or func.overloadpacket.__name__ in WAITING
        return func(*args, **(kwargs or {}))


def made(pack: Pack, recipe: AnyRecipe, device: str = "cpu") -> tuple[Gan, Feed]:
    facts = settle(pack, recipe, device="cpu").model_copy(update={"device": device, "precision": "fp32"})
    gan = new_gan(facts)
    gan.autocast = nullcontext  # type: ignore[assignment]  # torch has none for `meta`
    return gan, Feed(pack, gan)


@pytest.mark.parametrize("name", ["cdcgan", "demo", "fewshot", "wgan-gp", "dcgan-fd", "dense-minimal"])
def test_no_step_waits_for_its_device(name: str, tmp_path: Any) -> None:
    small = smallest(name)
    pack = noise_pack(tmp_path / "pack", small.shape)
    gan, feed = made(pack, load_recipe(name, {**small.overrides, **SGD}), "meta")
    for _ in range(3):
        loop.iterate(gan, feed)
    assert gan.iterations == 3 and all(p.device.type == "meta" for p in gan.generator.parameters())
    with pytest.raises((RuntimeError, NotImplementedError)):  # the values are there, and are not numbers yet
        loop._read(gan)


def test_values_are_fetched_once_per_line_and_not_per_step(digits: Pack, tiny: Recipe) -> None:
    gan, feed = made(digits, tiny)
    with Noted() as noted:
        for _ in range(5):
            loop.iterate(gan, feed)
    assert noted.waits == 0 and len(gan.unread) == 10
    fetched: list[int] = []
    plain: Callable[..., Any] = gan.ranks.mean
    gan.ranks.mean = lambda values: fetched.append(len(values)) or plain(values)  # type: ignore[method-assign,func-returns-value]
    loop._read(gan)
    assert len(fetched) == 1 and fetched[0] > 20 and not gan.unread
    assert gan.pending["loss_d"][1] == gan.pending["loss_g"][1] == 5


def test_the_counter_counts() -> None:
    with Noted() as noted:
        float(torch.ones(()))
        bool(torch.ones(3).any())
        torch.ones(3)[torch.ones(3) > 0]
    assert noted.waits == 3


def test_a_nan_between_two_lines_stops_before_anything_is_written(
    digits: Pack, tiny: Recipe, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 6 * tiny.batch_size
    plain = step.generator_step

    def broken(gan: Gan, *given: Any) -> Any:
        values = plain(gan, *given)
        return {"loss_g": torch.tensor(float("nan"))} if gan.images_seen == at else values

    monkeypatch.setattr(loop, "generator_step", broken)
    rare = dict.fromkeys(("log_every", "picture_every", "watch_every"), 10 * tiny.batch_size)
    recipe = load_recipe(tiny, {**rare, "checkpoint_every": 4 * tiny.batch_size, "images": 40 * tiny.batch_size})
    with pytest.raises(TrainingError, match=rf"loss_g is nan at {at} images seen \(iteration 5\)"):
        train(digits, recipe, tmp_path / "run", device="cpu")
    saved = [int(each.name) for each in (tmp_path / "run" / "checkpoints").iterdir()]
    assert saved == [4 * tiny.batch_size], "the checkpoint after it was never written"


def test_many_steps_without_a_line_are_read_in_between(
    digits: Pack, tiny: Recipe, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    plain = loop._read
    monkeypatch.setattr(loop, "_read", lambda gan: seen.append(len(gan.unread)) or plain(gan))  # type: ignore[func-returns-value]
    monkeypatch.setattr(loop, "_MOST_UNREAD", 6)
    runs = []
    for most in (6, 1000):
        monkeypatch.setattr(loop, "_MOST_UNREAD", most)
        runs.append(train(digits, tiny, tmp_path / str(most), device="cpu"))
    assert max(seen) > 6 and 6 in seen
    assert runs[0].log() == runs[1].log() and runs[0].checkpoint_hash == runs[1].checkpoint_hash


def test_a_pack_that_lies_on_the_device_gives_the_same_batches(
    digits: Pack, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plain = made(digits, tiny)
    monkeypatch.setattr(devices, "holds", lambda device, size: size == digits.pixels.nbytes)
    _, resident = made(digits, tiny)
    assert plain.resident is None and resident.resident is not None
    monkeypatch.setattr(resident, "pack", type("Labels", (), {"labels": digits.labels}))  # no pixel is read again
    for images_seen in (0, 64, 5000):
        for one, other in zip(plain.batch(images_seen), resident.batch(images_seen), strict=True):
            assert torch.equal(one, other) and one.dtype == other.dtype
    assert np.array_equal(resident.resident.numpy(), digits.pixels)


def test_the_cpu_holds_nothing_of_its_own_and_takes_tensors_as_they_are() -> None:
    x = torch.arange(3)
    assert not devices.holds(torch.device("cpu"), 1) and devices.on_device(x, torch.device("cpu")) is x
