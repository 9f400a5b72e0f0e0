"""Joined generators, MITLGAN: trained runs, frozen, and a network that learns to join their images (Élő 2021).

The parents' weights are in every checkpoint of the new run, their facts in its run.json. So their folders are needed
until the first checkpoint is written, and never again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SerializeAsAny, field_validator
from torch import nn

from imagemint.checkpoints import load_weights, read_tensors
from imagemint.data.pack import Pack
from imagemint.errors import RecipeError, RunError
from imagemint.methods import gan
from imagemint.methods.base import Asked, Sketch
from imagemint.models import MODELS, ImageShape, build, checked, mitlgan
from imagemint.runfolder import PackFacts, Run, RunFacts, facts_from, open_folder, still_known
from imagemint.settings import Strict
from imagemint.training.recipe import Recipe
from imagemint.training.state import Gan, Kind, Part, saved_generator

JOINED = "mitlgan"
_SHOWN_PARENTS = ("wgan-gp", 1536, 2)  # family, z size and number of the parents that the catalogue shows it with


class JoinedRecipe(Recipe):
    """As for one GAN, and the runs whose generators are joined. z is as long as theirs together."""

    parents: list[str] = Field([], description="run folders whose trained generators are joined, frozen")

    def _choices(self) -> BaseModel:
        return checked(mitlgan.Options, self.options, self.model)


class ParentFacts(Strict):
    """A trained run whose generator became a part of another's: enough to build it; its weights are in that other."""

    run: str = Field(description="where it was; nothing is read from there once the first checkpoint is written")
    weights: str = Field(description="sha256 of its checkpoint's weights")
    images_seen: int
    recipe: SerializeAsAny[Recipe]
    pack: PackFacts
    parents: list[ParentFacts] = Field(default=[])

    @field_validator("recipe", mode="before")
    @classmethod
    def _of_its_method(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind = JoinedRecipe if tree.get("model") == JOINED else Recipe
        return kind.model_validate(still_known(tree, kind))

    @property
    def learned_from(self) -> list[str]:
        """Fingerprints of the packs that it learned from."""
        return [self.pack.fingerprint, *(each for parent in self.parents for each in parent.learned_from)]


class JoinedFacts(RunFacts):
    """As of one GAN, and of its parents."""

    parents: list[ParentFacts] = Field(default=[])

    @property
    def learned_from(self) -> list[str]:
        """Fingerprints of all packs that the run learned from: its own first, then those of its parents."""
        found = [self.pack.fingerprint, *(each for parent in self.parents for each in parent.learned_from)]
        return list(dict.fromkeys(found))

    def decisive(self) -> dict[str, Any]:
        """Parents are what their weights are, wherever they lie."""
        tree = super().decisive()
        del tree["parents"]
        tree["recipe"]["parents"] = {str(k): parent.weights for k, parent in enumerate(self.parents, 1)}
        return tree


def _own(pack: Pack, recipe: JoinedRecipe, asked: Asked) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the noise that its parents ask for, and their facts.

    The parents of a run that is continued stand in for folders that are gone. Raises RecipeError where the recipe or
    a parent does not fit, RunError where a parent is missing or never trained.
    """
    mitlgan.check_enough(len(recipe.parents))
    known = asked.continued.parents if isinstance(asked.continued, JoinedFacts) else []
    parents = [_parent(path, pack, known) for path in recipe.parents]
    sizes = [parent.recipe.z_size for parent in parents]
    chosen, needed = recipe.model_dump(exclude_unset=True), {"z_size": sum(sizes), "noise": "normal"}
    for key, value in needed.items():
        if chosen.get(key, value) != value:
            sums = f" ({' + '.join(map(str, sizes))})" if key == "z_size" else ""
            raise RecipeError(
                f"{key} {chosen[key]} for model {JOINED}",
                f"{value}{sums}, as its parents need it",
                f"leave {key} out",
            )
    return JoinedRecipe.model_validate(chosen | needed), {"parents": parents}


def _parent(path: str, pack: Pack, known: list[ParentFacts]) -> ParentFacts:
    gone = not (Path(path) / "run.json").is_file()
    remembered = next((parent for parent in known if parent.run == path), None)
    if gone and remembered is not None:
        return remembered
    run = _open(path)
    facts, state = run.facts, run.state()
    assert isinstance(facts.recipe, Recipe)
    parent = ParentFacts(
        run=path,
        weights=state.weights,
        images_seen=state.images_seen,
        recipe=facts.recipe,
        pack=facts.pack,
        parents=facts.parents if isinstance(facts, JoinedFacts) else [],
    )
    if _sees_labels(parent) and parent.pack.classes != pack.classes:
        raise RecipeError(
            f"parent {path} knows the classes {', '.join(parent.pack.classes)} and the pack holds "
            f"{', '.join(pack.classes)}",
            "the same classes in the same order, since this parent draws by class",
            "train it on a pack with the classes of this one, or take a parent without labels",
        )
    return parent


def _open(path: str) -> Run:
    """The run of a parent. Raises RunError, also where it is no GAN's."""

    def facts_of(tree: dict[str, Any]) -> RunFacts:
        model = tree["recipe"].get("model")
        if model not in (JOINED, *MODELS):
            raise RunError(f"parent {path} is of model {model}", "a trained GAN", "name another run")
        if model == JOINED:
            return facts_from(tree, JoinedRecipe, JoinedFacts)
        return facts_from(tree, Recipe, RunFacts)

    return open_folder(Path(path), facts_of)


def _sees_labels(facts: RunFacts | ParentFacts) -> bool:
    """Whether the label changes what is minted; in joined generators it does where it does in a parent."""
    if isinstance(facts, (JoinedFacts, ParentFacts)) and facts.parents:
        return any(_sees_labels(parent) for parent in facts.parents)
    return MODELS[facts.recipe.model].conditional


def _networks(facts: RunFacts | ParentFacts) -> tuple[nn.Module, nn.Module]:
    """Fresh networks for a run, initialised from torch's global generator; parents first."""
    shape, recipe = ImageShape(facts.pack.channels, *facts.pack.size), facts.recipe
    assert isinstance(recipe, Recipe)
    if recipe.model != JOINED:
        return build(recipe.model, recipe.options, shape, len(facts.pack.classes), recipe.z_size)
    assert isinstance(facts, (JoinedFacts, ParentFacts))
    parents = [mitlgan.Parent(_networks(each)[0], each.recipe.z_size, each.recipe.noise) for each in facts.parents]
    return mitlgan.build(checked(mitlgan.Options, recipe.options, JOINED), shape, parents)


def load_parents(new: Gan, facts: RunFacts) -> None:
    """Bring the parents' trained weights, the averaged ones where they are kept, into a run that begins."""
    assert isinstance(facts, JoinedFacts)
    for k, parent in enumerate(facts.parents):
        run = _open(parent.run)
        state, checkpoint = run.state(), run.newest()
        if state.weights != parent.weights:
            raise RunError(f"parent {parent.run} is still in training", "a parent at rest", "wait until it is done")
        weights, trained = read_tensors(checkpoint, "weights", state.weights), _networks(parent)[0]
        load_weights(trained, saved_generator(run, state), weights, checkpoint)
        for generator in (new.generator, new.ema):
            if generator is not None:
                assert isinstance(generator, mitlgan.MitlganGenerator)
                generator.parents[k].load_state_dict(trained.state_dict())


def _sketch(recipe: JoinedRecipe, shape: ImageShape, classes: int) -> Sketch:
    model, z_size, count = _SHOWN_PARENTS
    parents = [mitlgan.Parent(build(model, {}, shape, classes, z_size)[0], z_size) for _ in range(count)]
    generator, discriminator = mitlgan.build(checked(mitlgan.Options, recipe.options, JOINED), shape, parents)
    return Sketch(generator, discriminator, count * z_size)


KIND = Kind(
    networks=_networks,
    sees_labels=_sees_labels,
    parts=lambda generator, classes: [Part("all", None, generator)],
    begin=load_parents,
)
METHOD = gan.method(
    (JOINED,),
    mitlgan.ABOUT,
    KIND,
    recipe=JoinedRecipe,
    facts=JoinedFacts,
    own=_own,
    sketch=_sketch,
    options=mitlgan.Options,
)
