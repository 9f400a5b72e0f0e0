"""Trained runs as parts of a new one (model mitlgan): what must be known of them, and their weights.

The parents' weights are in every checkpoint of the new run, their facts in its run.json. So their folders are needed
until the first checkpoint is written, and never again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagemint.config import Recipe
from imagemint.data.pack import Pack
from imagemint.errors import RecipeError, RunError
from imagemint.models import JOINED
from imagemint.models.mitlgan import MitlganGenerator, check_enough
from imagemint.runs import ParentFacts, RunFacts, checkpoint_state, open_run
from imagemint.training.state import Gan, load_generator, sees_labels


def with_parents(recipe: Recipe, pack: Pack, known: Sequence[ParentFacts]) -> tuple[Recipe, list[ParentFacts]]:
    """The recipe with the noise that its parents ask for, and their facts; without change for other models.

    `known` are the parents of the run that is continued, if any: they stand in for folders that are gone. Raises
    RecipeError where the recipe or a parent does not fit, RunError where a parent is missing or never trained.
    """
    if recipe.model != JOINED:
        if recipe.parents:
            found = f"parents {', '.join(recipe.parents)} for model {recipe.model}"
            raise RecipeError(
                found, f"parents for model {JOINED} alone", f"train --recipe {JOINED}, or leave them out"
            )
        return recipe, []
    check_enough(len(recipe.parents))
    parents = [_parent(path, pack, known) for path in recipe.parents]
    sizes = [parent.recipe.z_size for parent in parents]
    asked, needed = recipe.model_dump(exclude_unset=True), {"z_size": sum(sizes), "noise": "normal"}
    for key, value in needed.items():
        if asked.get(key, value) != value:
            sums = f" ({' + '.join(map(str, sizes))})" if key == "z_size" else ""
            raise RecipeError(
                f"{key} {asked[key]} for model {JOINED}", f"{value}{sums}, as its parents need it", f"leave {key} out"
            )
    return Recipe.model_validate(asked | needed), parents


def _parent(path: str, pack: Pack, known: Sequence[ParentFacts]) -> ParentFacts:
    gone = not (Path(path) / "run.json").is_file()
    remembered = next((parent for parent in known if parent.run == path), None)
    if gone and remembered is not None:
        return remembered
    run = open_run(path)
    if not isinstance(run.recipe, Recipe):
        found = f"parent {path} is of recipe {run.recipe.name}, a baseline"
        raise RecipeError(found, "a trained GAN", "name another run")
    state = checkpoint_state(run.newest())
    parent = ParentFacts(
        run=path,
        weights=state["weights"],
        images_seen=state["images_seen"],
        recipe=run.recipe,
        pack=run.facts.pack,
        parents=run.facts.parents,
    )
    if sees_labels(parent.recipe, parent.parents) and parent.pack.classes != pack.classes:
        raise RecipeError(
            f"parent {path} knows the classes {', '.join(parent.pack.classes)} and the pack holds "
            f"{', '.join(pack.classes)}",
            "the same classes in the same order, since this parent draws by class",
            "train it on a pack with the classes of this one, or take a parent without labels",
        )
    return parent


def load_parents(gan: Gan, facts: RunFacts) -> None:
    """Bring the parents' trained weights, the averaged ones where they are kept, into a run that begins."""
    for k, parent in enumerate(facts.parents):
        run = open_run(parent.run)
        checkpoint = run.newest()
        if checkpoint_state(checkpoint)["weights"] != parent.weights:
            raise RunError(f"parent {parent.run} is still in training", "a parent at rest", "wait until it is done")
        weights = load_generator(run, checkpoint, gan.device).state_dict()
        for generator in (gan.generator, gan.ema):
            if generator is not None:
                assert isinstance(generator, MitlganGenerator)
                generator.parents[k].load_state_dict(weights)
