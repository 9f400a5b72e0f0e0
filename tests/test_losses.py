"""Closed forms: what the loss is at logits where it can be written down, and which way it points."""

from __future__ import annotations

import math

import pytest
import torch

from imagemint.losses import (
    LOSSES,
    asked_labels,
    convergence,
    feature_matching,
    gradient_penalty,
    next_balance,
    r1r2,
    realness,
    semi_supervised_d,
    semi_supervised_g,
    smoothed,
    zero_centred,
)

LOG2 = math.log(2)
ZERO = {  # (d, g) when D says 0 to everything: the value at equilibrium
    "minimax": (2 * LOG2, -LOG2),
    "non-saturating": (2 * LOG2, LOG2),
    "least-squares": (0.5, 0.5),
    "hinge": (2.0, 0.0),
    "wasserstein": (0.0, 0.0),
    "relativistic": (LOG2, LOG2),
}


@pytest.mark.parametrize("name", ZERO)
def test_values_at_zero_logits(name: str) -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    d, g = ZERO[name]
    assert torch.allclose(LOSSES[name].d(zero, zero), torch.full((3,), d, dtype=torch.float64))
    assert torch.allclose(LOSSES[name].g(zero, zero), torch.full((3,), g, dtype=torch.float64))


@pytest.mark.parametrize("name", ZERO)
def test_d_wants_real_up_and_fake_down_and_g_wants_fake_up(name: str) -> None:
    real = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([0.2], dtype=torch.float64, requires_grad=True)
    by_real, by_fake = torch.autograd.grad(LOSSES[name].d(real, fake).sum(), (real, fake))
    assert float(by_real) < 0
    assert float(by_fake) > 0
    (by_fake,) = torch.autograd.grad(LOSSES[name].g(real, fake).sum(), fake)
    assert float(by_fake) < 0


@pytest.mark.parametrize("name", ZERO)
def test_one_finite_value_a_sample_even_at_the_boundaries(name: str) -> None:
    real = torch.tensor([-1e4, 0.0, 1e4, 75.0])
    fake = torch.tensor([1e4, 0.0, -1e4, -35.0])
    for value in (LOSSES[name].d(real, fake), LOSSES[name].g(real, fake)):
        assert value.shape == (4,)
        assert torch.isfinite(value).all()


def test_cross_entropy_agrees_with_torch() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    assert torch.allclose(LOSSES["non-saturating"].d(real, fake).mean(), expected)


def test_the_penalty_of_a_linear_critic_is_its_squared_norm() -> None:
    weight = torch.randn(2 * 3 * 3, dtype=torch.float64)
    images = torch.randn(5, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    penalty = zero_centred(images.flatten(1) @ weight, images)
    assert torch.allclose(penalty, (weight @ weight).expand(5))


def test_r1_and_r2_of_a_linear_critic_are_half_its_squared_norm_each() -> None:
    weight = torch.randn(9)
    real, fake = torch.randn(2, 5, 1, 3, 3)
    found = r1r2(lambda images: images.flatten(1) @ weight, real, fake, torch.rand(5))
    assert torch.allclose(found, weight @ weight)
    bent = r1r2(lambda images: (images.flatten(1) ** 2).sum(1) / 2, real, fake, torch.rand(5))  # gradient: the image
    assert torch.allclose(bent, ((real**2).sum((1, 2, 3)).mean() + (fake**2).sum((1, 2, 3)).mean()) / 2)


def test_losses_of_log_odds_are_read_through_a_sigmoid_and_only_those_with_a_target_of_one_smoothed() -> None:
    logs = [name for name, loss in LOSSES.items() if loss.sigmoid]
    assert logs == ["minimax", "non-saturating", "relativistic", "triple", "semi-supervised"]
    assert [name for name, loss in LOSSES.items() if loss.smoothable] == ["minimax", "non-saturating"]


def test_the_gradient_penalty_of_a_linear_critic_is_the_distance_of_its_norm_from_one() -> None:
    weight = torch.randn(9, dtype=torch.float64)
    images = torch.randn(5, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(images.flatten(1) @ weight, images)
    assert torch.allclose(penalty, ((weight.norm() - 1) ** 2).expand(5))


def test_smoothing_asks_real_images_and_only_them_for_less_than_one() -> None:
    real, fake = torch.randn(2, 50, dtype=torch.float64)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.full_like(real, 0.9)) + bce(fake, torch.zeros_like(fake))
    assert torch.allclose(smoothed(LOSSES["non-saturating"].d, 0.1)(real, fake).mean(), expected)


def test_every_loss_of_one_logit_stands_in_the_table_above() -> None:
    assert set(ZERO) == {name for name, loss in LOSSES.items() if not loss.semi_supervised and not loss.balanced}


def test_began_weighs_samples_by_k_and_the_two_losses_pull_apart() -> None:
    """Berthelot et al. 2017, sec. 3.4: L_D = L(x) - k L(G(z)), L_G = L(G(z)); logits are -L."""
    errors = torch.rand(2, 20, dtype=torch.float64)
    real, fake = (-errors).requires_grad_(True)
    for k in (0.0, 0.3, 1.0):
        loss = LOSSES["began"].d(real, fake, balance=k)
        assert torch.allclose(loss, errors[0] - k * errors[1])
        assert torch.allclose(LOSSES["began"].g(real, fake), errors[1])
        by_real, by_fake = torch.autograd.grad(loss.sum(), (real, fake))
        assert by_real.tolist() == [-1.0] * 20
        assert by_fake.tolist() == [k] * 20


def triple_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    real, fake = torch.randn(2, 5, 6, dtype=torch.float64)
    return real.requires_grad_(True), fake.requires_grad_(True), torch.tensor([0, 2, -1, -1, -1])


def test_triple_terms_agree_with_probabilities_written_out() -> None:
    """Li et al. 2017, algorithm 1: D and the classifier, each on its own, against means over each kind of pair."""
    real, fake, labels = triple_batch()
    asked = [0, 2, 0, 2, 0]
    true, p = real[:, :3].sigmoid(), real[:, 3:].softmax(1)  # D's probability of each pair, the classifier's
    false, q = fake[:, :3].sigmoid(), fake[:, 3:].softmax(1)
    labelled, all_rows = [0, 1], range(5)
    d = -sum(true[i, asked[i]].log() for i in labelled) / 2
    d = d - 0.5 * sum((1 - false[i, asked[i]]).log() for i in all_rows) / 5
    d = d - 0.5 * (p.detach() * (1 - true).log()).sum() / 5
    c = -sum(p[i, asked[i]].log() for i in labelled) / 2 - 0.1 * sum(q[i, asked[i]].log() for i in all_rows) / 5
    c = c + 0.5 * (p * (1 - true.detach()).log()).sum() / 5
    loss = LOSSES["triple"].d(real, fake, labels).mean()
    assert float(loss.detach()) == pytest.approx(float((d + c).detach()))
    for ours, theirs in zip(*(torch.autograd.grad(x, (real, fake)) for x in (loss, d + c)), strict=True):
        assert torch.allclose(ours, theirs)
    g = LOSSES["triple"].g(real, fake, labels).mean()
    written = 0.5 * sum((1 - false[i, asked[i]]).log() for i in all_rows) / 5
    assert float(g.detach()) == pytest.approx(float(written.detach()))  # type: ignore[union-attr]


def test_each_of_three_players_gets_the_gradient_that_its_own_aim_asks_for() -> None:
    """D lifts true pairs and lowers samples; the classifier moves towards labels that D takes for true."""
    real, fake, labels = triple_batch()
    by_real, by_fake = torch.autograd.grad(LOSSES["triple"].d(real, fake, labels).sum(), (real, fake))
    assert float(by_fake[0, 0]) > 0 and not by_fake[0, 1:3].any()  # D's logit of the sample with the class asked for
    assert (by_real[2:, :3] > 0).all()  # an image without a label: all its pairs with a guess are false to D
    (down,) = torch.autograd.grad(LOSSES["triple"].g(real, fake, labels).sum(), fake)
    assert float(down[0, 0]) < 0 and not down[:, 3:].any()  # G lifts it, and has no word with the classifier
    sure = torch.tensor([[9.0, -9.0, 0.0, 0.0]] * 2, requires_grad=True)  # D is sure of class 0
    (moved,) = torch.autograd.grad(LOSSES["triple"].d(sure, sure.detach(), torch.tensor([-1, -1])).sum(), sure)
    assert float(moved[0, 2]) < 0 < float(moved[0, 3])


def test_images_without_a_label_ask_for_known_classes_in_turn() -> None:
    assert asked_labels(torch.tensor([4, -1, 7, -1, -1])).tolist() == [4, 4, 7, 7, 4]
    assert asked_labels(torch.tensor([-1, -1])).tolist() == [0, 0]
    known = torch.tensor([2, 1])
    assert torch.equal(asked_labels(known), known)


def test_the_balance_of_began_moves_towards_equal_shares_and_stays_in_its_bounds() -> None:
    """k rests exactly where L(G(z)) is gamma times L(x): the equilibrium of eq. 3; there M is L(x)."""
    assert next_balance(0.4, 0.2, 0.1, gamma=0.5, gain=0.3) == pytest.approx(0.4)
    assert convergence(0.2, 0.1, gamma=0.5) == pytest.approx(0.2)
    assert convergence(0.4, 0.1, gamma=0.5) == pytest.approx(0.5)
    assert next_balance(0.4, 0.2, 0.05, gamma=0.5, gain=0.3) == pytest.approx(0.415)  # samples too good: D looks more
    assert next_balance(0.4, 0.2, 0.3, gamma=0.5, gain=0.3) == pytest.approx(0.34)
    assert next_balance(0.1, 1.6, 0.3, gamma=0.5, gain=0.2) == pytest.approx(0.2)  # errors above 1 are errors too
    assert next_balance(0.4, 0.2, 0.9, gamma=0.5, gain=1) == 0 and next_balance(0.9, 1, 0, gamma=0.5, gain=1) == 1
    assert convergence(0.2, 0.3, gamma=0.5) == convergence(0.2, -0.1, gamma=0.5) == pytest.approx(0.4)


def test_the_semi_supervised_check_of_winkler_2018_gives_about_20() -> None:
    """K = 2: a real image of class 2 and a fake, both taken for what they are not."""
    real, fake = torch.tensor([[0.0, 0.0, 10.0]]), torch.tensor([[0.0, 10.0, 0.0]])
    loss = float(semi_supervised_d(real, fake, torch.tensor([1])))
    assert loss == pytest.approx(2 * (10 + math.log1p(2 * math.exp(-10))) + LOG2)  # ln 2: the two classes alone
    assert 20 < loss < 21


def test_semi_supervised_terms_agree_with_probabilities_written_out() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, -1, -1, 0])
    p, q, alone = real.softmax(1), fake.softmax(1), real[:, :3].softmax(1)
    expected = torch.tensor(
        [
            (-math.log(p[i, k]) - math.log(alone[i, k]) if k >= 0 else -math.log(1 - p[i, 3])) - math.log(q[i, 3])
            for i, k in enumerate(labels.tolist())
        ],
        dtype=torch.float64,
    )
    assert torch.allclose(semi_supervised_d(real, fake, labels), expected)
    assert torch.allclose(semi_supervised_g(real, fake, labels), -torch.log(1 - q[:, 3]))
    assert torch.allclose(realness(real), torch.log((1 - p[:, 3]) / p[:, 3]))
    assert torch.equal(realness(real[:, 0]), real[:, 0])


def test_semi_supervised_losses_stay_finite_at_the_ends() -> None:
    far = torch.tensor([[-300.0, -300.0, 300.0], [300.0, -300.0, -300.0]])
    for labels in (torch.tensor([0, 1]), torch.tensor([-1, -1])):
        assert semi_supervised_d(far, far.flip(0), labels).isfinite().all()
    assert semi_supervised_g(far, far, labels).isfinite().all()


def test_feature_matching_is_the_squared_distance_of_means() -> None:
    real, fake = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert float(feature_matching(real, fake)) == 2.0**2 + 2.0**2
    assert float(feature_matching(real, real.flip(0))) == 0.0
