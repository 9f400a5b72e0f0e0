"""Networks for photographs: shapes, what the label and the start of an image reach, and both scales of D."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from imagemint import seeds
from imagemint.errors import RecipeError
from imagemint.models import ImageShape, photo
from imagemint.models.photo import Options

pytestmark = pytest.mark.usefixtures("no_gradients")
SMALL = Options(width=8, embedding=8, features=32, scales=2)


@pytest.fixture
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def networks(shape: ImageShape, options: Options = SMALL) -> tuple[photo.Generator, photo.Discriminator]:
    seeds.seed_layers(0, "initial weights")
    return photo.build(options, shape, 3, 16)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeds.generator(0, "test"))


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 32, 48), (1, 28, 28), (3, 128, 128), (3, 20, 20)])
def test_sizes_that_can_be_halved_twice(shape: tuple[int, int, int]) -> None:
    g, d = networks(ImageShape(*shape))
    images, labels = g(drawn(2, 16), torch.tensor([0, 2])), torch.tensor([0, 2])
    assert images.shape == (2, *shape)
    assert float(images.abs().max()) <= 1
    assert d(images, labels).shape == (2,)


def test_other_sizes_are_refused_with_the_nearest_that_fits() -> None:
    with pytest.raises(RecipeError, match=r"30x30 images; wanted .* multiples of 16 .*--size 32"):
        networks(ImageShape(3, 30, 30))


def test_the_label_changes_the_image_and_the_logit() -> None:
    g, d = networks(ImageShape(3, 32, 32))
    g.eval()
    z = drawn(1, 16)
    images = [g(z, torch.tensor([label])) for label in range(3)]
    logits = [float(d(images[0], torch.tensor([label]))) for label in range(3)]
    assert not torch.allclose(images[0], images[1])
    assert len({round(each, 6) for each in logits}) == 3


def test_the_start_of_an_image_opens_and_closes_the_channels_of_its_larger_maps() -> None:
    """A gate at one half changes nothing; one that is shut leaves nothing of the map."""
    up = photo._Up(4, 2, first=4)
    assert up.gate is not None
    x, start = drawn(2, 4, 8, 8), drawn(2, 4, 4, 4)
    plain = photo._Up(4, 2, first=None)
    plain.load_state_dict({key: value for key, value in up.state_dict().items() if "gate" not in key})
    last = up.gate[-1]
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    torch.testing.assert_close(up(x, start), plain(x, start))
    torch.nn.init.constant_(last.bias, -100.0)
    assert float(up(x, start).abs().max()) < 1e-6


def test_logits_are_the_sum_of_those_of_both_scales() -> None:
    """The second eye sees the image at half size: a checkerboard of single pixels is nothing to it."""
    _, d = networks(ImageShape(3, 32, 32))
    board = torch.ones(1, 3, 32, 32)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = -1
    seen, gray = (d.features(images, torch.tensor([0])) for images in (board, torch.zeros_like(board)))
    assert torch.equal(seen[:, 32:], gray[:, 32:])
    assert not torch.allclose(seen[:, :32], gray[:, :32])


def test_one_scale_has_one_eye() -> None:
    _, d = networks(ImageShape(3, 32, 32), Options(width=8, embedding=8, features=32, scales=1))
    assert d.features(drawn(2, 3, 32, 32), torch.tensor([0, 1])).shape == (2, 32)
