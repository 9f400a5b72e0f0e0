from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from imagemint import seeds
from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.data.split import split
from imagemint.errors import ImagemintError, PackError, RecipeError, RunError
from imagemint.fitting import train
from imagemint.images import to_images, to_pixels
from imagemint.methods.base import members
from imagemint.methods.linear import LinearRecipe, fit, principal_axes
from imagemint.methods.pca import Reconstructions
from imagemint.methods.ppca import Samples
from imagemint.minting import mint
from imagemint.models.shapes import ImageShape
from imagemint.pages.study_page import study
from imagemint.runs import Run, list_runs, open_run
from tests.digits import write


def baseline(name: str, **settings: Any) -> LinearRecipe:
    recipe = load_recipe(name, settings)
    assert isinstance(recipe, LinearRecipe)
    return recipe


def floats(pixels: np.ndarray) -> np.ndarray:
    """float64 `[n, d]`."""
    return to_images(torch.from_numpy(np.array(pixels))).flatten(1).double().numpy()


@pytest.fixture(scope="module")
def threes(digits: Pack) -> np.ndarray:
    return digits.pixels[np.flatnonzero(digits.labels == 3)]


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    """600 images of 2x3 around the middle gray, so that samples are hardly ever cut at black or white."""
    rng = seeds.rng(0, "test")
    return (127 + rng.normal(size=(600, 6)) @ rng.normal(scale=5, size=(6, 6))).round().astype(np.uint8).reshape(
        -1, 1, 2, 3
    )  # fmt: skip


# --- the mathematics ----------------------------------------------------------------------------------------------


def test_axes_are_those_of_scikit_learn(threes: np.ndarray) -> None:
    ours, theirs = principal_axes(threes, 10), PCA(10, svd_solver="full").fit(floats(threes))
    n = len(threes)
    np.testing.assert_allclose(ours.mean, theirs.mean_, atol=1e-12)
    np.testing.assert_allclose(ours.variances[:10], theirs.explained_variance_ * (n - 1) / n, rtol=1e-9)
    np.testing.assert_allclose((ours.axes.numpy() * theirs.components_).sum(1).__abs__(), 1, rtol=1e-9)
    assert ours.explained == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-9)
    back = ours.codes @ ours.axes + ours.mean
    np.testing.assert_allclose(back, theirs.inverse_transform(theirs.transform(floats(threes))), atol=1e-9)


def test_what_a_reconstruction_lacks_is_the_variance_that_is_left_out(threes: np.ndarray) -> None:
    errors = []
    for components in (1, 4, 16, 64):
        found = principal_axes(threes, components)
        lacking = floats(threes) - (found.codes @ found.axes + found.mean).numpy()
        errors.append(float(np.square(lacking).sum(1).mean()))
        assert errors[-1] == pytest.approx(float(found.variances[components:].sum()), abs=1e-12)
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[3] < 1e-20


@pytest.mark.parametrize("components", [1, 3, 5, 6])
def test_probabilistic_pca_is_the_maximum_likelihood_solution(gray: np.ndarray, components: int) -> None:
    """Tipping & Bishop: the model covariance has the data's largest eigenvalues, and the mean of the others."""
    net = Samples(ImageShape(1, 2, 3), 1, components, pixel_noise=True)
    net.learn(0, principal_axes(gray, components))
    w, sigma = net.axes[0].double().numpy().T, float(net.deviation[0])
    model = np.linalg.eigvalsh(w @ w.T + sigma**2 * np.eye(6))[::-1]
    data = np.linalg.eigvalsh(np.cov(floats(gray).T, bias=True))[::-1]
    rest = data[components:].mean() if components < 6 else 0.0
    np.testing.assert_allclose(model[:components], data[:components], rtol=1e-5)
    np.testing.assert_allclose(model[components:], rest, rtol=1e-5)


@pytest.mark.parametrize("pixel_noise", [False, True])
def test_samples_have_the_mean_and_covariance_of_the_model(gray: np.ndarray, pixel_noise: bool) -> None:
    net, count = Samples(ImageShape(1, 2, 3), 1, 2, pixel_noise), 200_000
    net.learn(0, principal_axes(gray, 2))
    z = torch.randn(count, 8 if pixel_noise else 2, generator=seeds.generator(0, "test"))
    made = net(z, torch.zeros(count, dtype=torch.int64)).flatten(1).double().numpy()
    w, variance = net.axes[0].double().numpy().T, float(net.deviation[0]) ** 2 if pixel_noise else 0.0
    model = w @ w.T + variance * np.eye(6)
    spread = np.sqrt(np.diag(model).max())
    np.testing.assert_allclose(made.mean(0), net.mean[0], atol=6 * spread / count**0.5)
    # A sample covariance errs by about sqrt(2 / n) of the largest variance.
    np.testing.assert_allclose(np.cov(made.T, bias=True), model, atol=6 * spread**2 * (2 / count) ** 0.5)


def test_z_reaches_every_training_image_of_the_class_and_no_other(digits: Pack) -> None:
    rows = [rows[:n] for rows, n in zip(members(digits), (3, 1, 7, *[2] * 7), strict=True)]
    generator = Reconstructions(ImageShape(1, 8, 8), 10, 64, sum(map(len, rows)))
    fit(digits, rows, generator, 64)
    for label, own in enumerate(rows):
        n = len(own)
        middles = (2 * torch.arange(n) + 1) / n - 1
        z = torch.cat([torch.tensor([-1.0]), middles, torch.tensor([1.0])])[:, None]
        made = to_pixels(generator(z, torch.full((n + 2,), label))).numpy()
        assert len(own) < 64  # not every component is there, and still all that these few images hold
        np.testing.assert_array_equal(made, digits.pixels[[own[0], *own, own[-1]]])


@pytest.mark.parametrize("name", ["pca", "ppca"])
def test_images_stay_between_black_and_white(digits: Pack, name: str) -> None:
    shape = ImageShape(1, 8, 8)
    pca, ppca = Reconstructions(shape, 10, 5, len(digits)), Samples(shape, 10, 5, pixel_noise=False)
    generator = pca if name == "pca" else ppca
    fit(digits, members(digits), generator, 5)
    z = seeds.noise(range(200), 1, "uniform") if name == "pca" else 3 * seeds.noise(range(200), 5)
    made = generator(z, torch.arange(200) % 10)
    assert (float(made.min()), float(made.max())) == (-1, 1)  # some would be darker, some lighter


def test_a_class_of_few_images_has_fewer_components_and_that_is_said_once(
    digits: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.concatenate([np.flatnonzero(digits.labels == k)[:n] for k, n in ((0, 1), (1, 5), (2, 100))])
    few = write(tmp_path / "few", digits.pixels[rows], digits.labels[rows], ["nil", "one", "two"])
    monkeypatch.setattr("imagemint.progress._on", True)
    for name in ("pca", "ppca"):
        run = train(few, name, tmp_path / name, components=20)
        said = [line for line in capsys.readouterr().err.splitlines() if "n - 1 components" in line]
        assert len(said) == 1 and "nil 0, one 4" in said[0] and "two" not in said[0]
        assert run.log()[0]["components"] == {"nil": 0, "one": 4, "two": 20}
        assert run.log()[0]["explained"]["nil"] == run.log()[0]["explained"]["one"] == 1
        pack = mint(run, tmp_path / f"{name}.pack", per_class=3)
        np.testing.assert_array_equal(pack.pixels[:3], few.pixels[[0, 0, 0]])  # one image is its own mean


# --- as runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(digits: Pack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("baselines")
    noisy = baseline("ppca", components=16, pixel_noise=True)
    return {
        "pca": train(digits, "pca", folder / "pca"),
        "ppca": train(digits, "ppca", folder / "ppca", components=16),
        "noisy": train(digits, noisy, folder / "noisy"),
    }


@pytest.mark.parametrize("name", ["pca", "ppca", "noisy"])
def test_a_baseline_is_a_run_like_any_other(runs: dict[str, Run], name: str, tmp_path: Path) -> None:
    run = open_run(runs[name].path)
    assert run in list_runs(run.path.parent)
    assert (run.images_seen, run.target, len(run.samples()), len(run.log())) == (1797, 1797, 1, 1)
    whole, again = (mint(run, tmp_path / n, per_class=6, seed=1) for n in "ab")
    assert whole.counts() == dict.fromkeys("0123456789", 6)
    assert whole.fingerprint == again.fingerprint != mint(run, tmp_path / "c", per_class=6, seed=2).fingerprint
    (minting,) = whole.manifest.mintings
    assert (minting.checkpoint, minting.recipe) == (run.checkpoint_hash, run.recipe.name)
    small = mint(run, tmp_path / "small", counts={"4": 3, "9": 6}, batch_size=2)
    first = mint(run, tmp_path / "first", per_class=6)
    rows = np.flatnonzero((np.asarray(first.labels) == 9) | (np.arange(60) // 3 == 8))  # all nines, three fours
    assert np.abs(first.pixels[rows].astype(int) - small.pixels[:]).max() <= 1


def test_minted_reconstructions_are_training_images_of_their_class(
    runs: dict[str, Run], digits: Pack, tmp_path: Path
) -> None:
    """With all 64 components of 8x8 images a reconstruction is the image itself: labels and pixels must be right."""
    pack = mint(runs["pca"], tmp_path / "p", per_class=30)
    real = {(int(label), image.tobytes()) for label, image in zip(digits.labels, digits.pixels, strict=True)}
    minted = {(int(label), image.tobytes()) for label, image in zip(pack.labels, pack.pixels, strict=True)}
    assert minted <= real
    assert len(minted) > 200  # drawn with replacement from about 180 a class


def test_minted_samples_look_like_their_class_and_are_no_copies(
    runs: dict[str, Run], digits: Pack, tmp_path: Path
) -> None:
    pack = mint(runs["ppca"], tmp_path / "p", per_class=100)
    made, real = floats(pack.pixels[:]), floats(digits.pixels[:])
    means = np.stack([real[digits.labels == k].mean(0) for k in range(10)])
    nearest = np.square(made[:, None] - means).sum(2).argmin(1)
    assert (nearest == pack.labels).mean() > 0.8
    assert len(np.unique(made, axis=0)) == 1000
    assert not {image.tobytes() for image in digits.pixels} & {image.tobytes() for image in pack.pixels}


def test_a_finished_fit_is_returned_untouched_and_a_killed_one_starts_over(digits: Pack, tmp_path: Path) -> None:
    run = train(digits, "ppca", tmp_path / "run")
    times = {path: path.stat().st_mtime_ns for path in sorted((run.path / "checkpoints").rglob("*"))}
    weights, log = run.checkpoint_hash, run.log()
    again = train(digits, "ppca", tmp_path / "run", resume=True)
    assert {path: path.stat().st_mtime_ns for path in sorted((again.path / "checkpoints").rglob("*"))} == times
    run.newest().rename(run.path / "checkpoints" / ".000000001797.xyz.partial")  # killed while it was written
    again = train(digits, "ppca", tmp_path / "run", resume=True)
    assert (again.checkpoint_hash, again.log()) == (weights, log)
    assert not list(run.path.rglob(".*.partial"))


def test_another_recipe_or_an_existing_folder_is_refused(digits: Pack, tmp_path: Path) -> None:
    train(digits, "ppca", tmp_path / "run")
    with pytest.raises(RunError, match=r"already at .*--resume"):
        train(digits, "ppca", tmp_path / "run")
    with pytest.raises(RunError, match=r"recipe\.components was 64 and is 8"):
        train(digits, "ppca", tmp_path / "run", resume=True, components=8)
    with pytest.raises(RunError, match=r"recipe\.model was ppca and is pca"):
        train(digits, "pca", tmp_path / "run", resume=True)
    with pytest.raises(RunError, match=r"trained differently: .*recipe\.model was ppca and is small"):
        train(digits, "demo", tmp_path / "run", resume=True)


def test_a_study_takes_a_baseline(digits: Pack, tmp_path: Path) -> None:
    parts = split(digits, tmp_path / "parts", train=0.8, validation=0.0, test=0.2)
    settings: dict[str, Any] = {"budgets": [5], "repeats": 1, "arms": ["real", "mix"]}
    settings |= {"classifier_epochs": 1, "classifier_images": 256}
    with pytest.raises(RecipeError, match=r"images = 640 .*leave images out"):
        study(parts["train"], parts["test"], "ppca", tmp_path / "s", images=640, **settings)
    assert not (tmp_path / "s").exists()
    done = study(parts["train"], parts["test"], baseline("ppca"), tmp_path / "s", **settings)
    assert [row.arm for row in done.rows] == ["real", "mix"]
    assert "How the GANs trained" not in done.report.read_text()  # no losses to draw


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_baseline_goes_round_through_itself() -> None:
    recipe = baseline("ppca", components=7)
    assert load_recipe(recipe) == recipe
    assert load_recipe(recipe, {"components": 8}) == baseline("ppca", components=8)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"components": 0}, "components = 0"),
        ({"components": 2.5}, "components = 2.5"),
        ({"components": 65}, r"65 components for images of 64 values; wanted 1 to 64 .*--set components=64"),
        ({"epochs": 5}, r"epochs = 5 in recipe pca; wanted no duration.*leave epochs out"),
        ({"images": 5}, "images = 5 in recipe pca"),
        ({"batch_size": 5}, r"unknown key batch_size in recipe pca; wanted one of .*components"),
        ({"pixel_noise": True}, "unknown key pixel_noise in recipe pca"),
        ({"largest": 4}, "8x8 images and recipe pca is for sides of 1 to 4"),
        ({"model": "small"}, "recipe pca does not say optimizer_g"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    digits: Pack, tmp_path: Path, settings: dict[str, Any], line: str
) -> None:
    with pytest.raises(ImagemintError, match=line):
        train(digits, "pca", tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_images_without_labels_are_left_out_and_never_alone(digits: Pack, tmp_path: Path) -> None:
    labels = np.where(np.arange(100) < 60, digits.labels[:100], -1)
    some = write(tmp_path / "some", digits.pixels[:100], labels, list("0123456789"))
    assert train(some, "pca", tmp_path / "run").images_seen == 60
    none = write(tmp_path / "none", digits.pixels[:5], np.full(5, -1), ["a"])
    with pytest.raises(PackError, match=r"no image of .* has a label"):
        train(none, "pca", tmp_path / "run2")


def test_a_class_without_images_is_refused(digits: Pack, tmp_path: Path) -> None:
    pack = write(tmp_path / "p", digits.pixels[:10], digits.labels[:10], [*"0123456789", "ten"])
    with pytest.raises(PackError, match=r"class 'ten' of .* has no image.*edit drop"):
        train(pack, "pca", tmp_path / "run")
    assert not (tmp_path / "run").exists()
