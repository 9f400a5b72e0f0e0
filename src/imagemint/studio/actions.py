"""What the pages do: each action checks what it is given, then puts the command line's own verb in line as a job.

Texts come from a browser. Names become paths by `paths`; a value of an option is one word with its option
("--size=32"), so that no value can be taken for an option; whatever may name a file stays inside the folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from imagemint import demo, files
from imagemint.classifiers.plan import ClassifierPlan
from imagemint.config import load_recipe, parse_setting, recipe_names
from imagemint.data.export import export
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import PackError, SourceError, StudioError
from imagemint.studies.plan import StudyPlan, make_plan
from imagemint.studio import paths
from imagemint.studio.form import changed, recipe_fields, study_fields
from imagemint.studio.jobs import Job, Jobs, Seen
from imagemint.words import shortened

JUDGE_IMAGES = int(ClassifierPlan.model_fields["at_least"].default)
SAMPLE = "digits"  # comes with scikit-learn
WALK_FRAMES = 12  # of a walk, from one point of noise to the next
SIZE = 32  # pixels that photos are fitted to where nobody says anything else: minutes rather than hours
# Edits, and the option that their one value goes to; None: they have no value.
EDITS: dict[str, str | None] = {
    "slice": "--per-class",
    "balance": None,
    "resize": "--width",
    "crop": "--height",
    "grayscale": None,
    "invert": None,
    "blur": "--sigma",
    "drop": "--classes",
    "rename": "--names",
    "unlabel": "--keep",
    "augment": "--variants",
    "dedup": None,
}
# What `find_out` asks of a study, by how long one may wait.
PATIENCE: dict[str, dict[str, str]] = {
    "Minutes": {
        "budgets": "10,40",
        "images": str(demo.STUDY_IMAGES),
        "classifier_images": str(demo.CLASSIFIER_IMAGES),
    },
    "Hours": {},
}


class Studio:
    """A folder and its jobs."""

    def __init__(self, folder: Path, at_once: int = 1) -> None:
        self.folder, self.jobs = folder.resolve(), Jobs(folder.resolve(), at_once)

    # --- data ---

    def pack(self, source: str, name: str = "", size: str = "") -> Job:
        """Pack the sample digits, something of incoming/, or an uploaded archive into packs/NAME."""
        if source != SAMPLE and source in paths.incoming(self.folder):
            found = Path("incoming", source)
        elif source == SAMPLE:
            found = Path(SAMPLE)
        else:
            found = self._uploaded(source)
        name = name.strip() or paths.free_name(self.folder, "packs", found.name)
        dest = paths.new_path(self.folder, "packs", name)
        fitted = [f"--size={size.strip()}"] if size.strip() else []
        return self.jobs.add(["pack", str(found), str(dest), *fitted], result=dest)

    def edit(self, pack: str, verb: str, value: str, name: str) -> Job:
        """`imagemint edit VERB` of a pack into packs/NAME."""
        if verb not in EDITS:
            raise StudioError(f"edit {shortened(verb)}", f"one of {', '.join(EDITS)}", "choose one")
        source, dest = self._old("packs", pack), paths.new_path(self.folder, "packs", name.strip())
        option = EDITS[verb]
        if option and not value.strip():
            raise StudioError(f"edit {verb} without a value", f"a value for {option}", "fill it in")
        given = [f"{option}={value.strip()}"] if option else []
        return self.jobs.add(["edit", verb, str(source), str(dest), *given], result=dest)

    def split(self, pack: str, test: float = 0.2, name: str = "") -> Job:
        """Split a pack into packs/NAME/train and packs/NAME/test."""
        source = self._old("packs", pack)
        name = name.strip() or paths.free_name(self.folder, "packs", f"{source.name}-parts")
        dest = paths.new_path(self.folder, "packs", name)
        return self.jobs.add(["edit", "split", str(source), str(dest), f"--test={test:g}"], result=dest)

    # --- train ---

    def train(
        self, pack: str, recipe: str, name: str, settings: Mapping[str, Any] | None = None, seed: int = 0
    ) -> Job:
        """Train into runs/NAME; `settings` by dotted key: those that differ from the recipe's become `--set`."""
        source, dest = self._old("packs", pack), paths.new_path(self.folder, "runs", name.strip())
        chosen = load_recipe(self._recipe(recipe))
        differing = changed(recipe_fields(chosen), settings or {})
        texts = [f"{key}={text or 'null'}" for key, text in differing.items()]
        values = dict(parse_setting(text) for text in texts)
        if values.get("epochs") is not None and "images" not in values:  # one replaces the other
            values["images"], texts = None, [*texts, "images=null"]
        elif values.get("images") is not None and "epochs" not in values and getattr(chosen, "epochs", None):
            values["epochs"], texts = None, [*texts, "epochs=null"]
        paths.check_values(self.folder, values)
        found = open_pack(self.folder / source)
        load_recipe(chosen, values).check_fits(found.channels, found.size)
        sets = [word for text in texts for word in ("--set", text)]
        words = ["train", str(source), "--recipe", chosen.name, "--run", str(dest), f"--seed={seed}", *sets]
        return self.jobs.add(words, result=dest)

    # --- mint ---

    def mint(
        self, run: str, name: str, per_class: int = 100, screen: bool = False, reject_copies: bool = False
    ) -> Job:
        """Mint from runs/RUN into packs/NAME."""
        source, dest = self._old("runs", run), paths.new_path(self.folder, "packs", name.strip())
        chosen = [*["--screen"] * bool(screen), *["--reject-copies"] * bool(reject_copies)]
        return self.jobs.add(["mint", str(source), str(dest), f"--per-class={per_class}", *chosen], result=dest)

    def download(self, pack: str) -> Path:
        """A zip of a pack as labelled PNG files, in uploads/."""
        source = self._old("packs", pack)
        place = self.folder / "uploads" / "made"
        place.mkdir(parents=True, exist_ok=True)
        archive = place / f"{'-'.join(source.parts[1:])}.zip"
        with ExitStack() as stack:
            aside = files.temporary_folder(stack)
            export(self.folder / source, aside / "images", "folder")
            shutil.move(shutil.make_archive(str(aside / "made"), "zip", aside / "images"), archive)
        return archive

    def walk(self, run: str) -> Job:
        """`imagemint walk` of runs/RUN into walks/RUN.gif: short, so that it is drawn in seconds."""
        source = self._old("runs", run)
        dest = self.walk_of(run)
        return self.jobs.add(["walk", str(source), f"--out={dest}", f"--frames={WALK_FRAMES}"], result=dest)

    def walk_of(self, run: str) -> Path:
        """Where the walk of a run is drawn, relative to the folder."""
        return Path("walks", *paths.path_of(self.folder, "runs", run).parts[1:]).with_suffix(".gif")

    # --- judge ---

    def measure(self, minted: str, against: str, at_least: int = JUDGE_IMAGES) -> Job:
        """Measure a pack against a pack of real images; `at_least`: images that the judge sees while it learns."""
        source, real = self._old("packs", minted), self._old("packs", against)
        return self.jobs.add(
            ["measure", str(source), "--against", str(real), "--json", f"--at-least={int(at_least or JUDGE_IMAGES)}"]
        )

    def study(
        self,
        pack: str,
        test: str,
        recipe: str,
        name: str,
        settings: Mapping[str, Any] | None = None,
        after: Job | None = None,
    ) -> Job:
        """Study into studies/NAME; `settings` by field of a study."""
        if after is None:
            train, held = self._old("packs", pack), self._old("packs", test)
        else:  # the job before makes them
            train, held = (paths.path_of(self.folder, "packs", each) for each in (pack, test))
        dest = paths.new_path(self.folder, "studies", name.strip())
        given = changed(study_fields(), settings or {})
        unknown = [key for key in given if key not in StudyPlan.model_fields or key == "recipe"]
        if unknown:
            raise StudioError(f"setting {shortened(unknown[0])}", "a setting of a study", "check the spelling")
        paths.check_values(self.folder, given)
        given = {key: text for key, text in given.items() if text}
        make_plan(
            self._recipe(recipe), saturation=False, **dict[str, Any](given)
        )  # refused here rather than in the job
        said = [f"--{key.replace('_', '-')}={text}" for key, text in given.items()]
        words = ["study", str(train), "--test", str(held), "--recipe", recipe, "--out", str(dest), *said]
        return self.jobs.add(words, result=dest, after=after)

    def find_out(self, pack: str, patience: str = "Minutes") -> Job:
        """From a pack to the verdict: a fifth is kept aside for testing, then a study with its report."""
        if patience not in PATIENCE:
            raise StudioError(f"{shortened(patience)}", f"one of {', '.join(PATIENCE)}", "choose one")
        found = open_pack(self.folder / self._old("packs", pack))
        parts = f"{pack.replace('/', '-')}-parts"
        split = None
        if not (self.folder / "packs" / parts).exists():
            split = self.split(pack, 0.2, parts)
        recipe = "demo" if max(found.size) <= load_recipe("demo").largest else "fewshot"
        name = paths.free_name(self.folder, "studies", pack.replace("/", "-"))
        return self.study(f"{parts}/train", f"{parts}/test", recipe, name, PATIENCE[patience], after=split)

    # --- what is shown ---

    def real_of(self, minted: Pack) -> Pack | None:
        """The pack in the folder that a minted pack's generator learned from."""
        wanted = {each.trained_on for each in minted.manifest.mintings}
        for name in paths.names(self.folder, "packs"):
            with suppress(PackError):  # a damaged one is not it
                found = open_pack(self.folder / "packs" / name)
                if found.fingerprint in wanted:
                    return found
        return None

    def measured(self, job: Seen) -> dict[str, Any] | None:
        """What a job of `measure` printed, once it is done."""
        lines = [line for line in (job.path / "log.txt").read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
        return json.loads(lines[-1]) if job.state == "done" and lines else None

    # --- names ---

    def _old(self, kind: paths.Kind, name: str | None) -> Path:
        return paths.old_path(self.folder, kind, name)

    def _recipe(self, name: str) -> str:
        if name not in recipe_names():
            raise StudioError(
                f"no recipe {shortened(str(name))!r}", f"one of {', '.join(recipe_names())}", "choose one"
            )
        return name

    def _uploaded(self, source: str) -> Path:
        path, place = Path(source or "."), self.folder / "uploads"
        if not source or "\0" in source or not path.resolve().is_relative_to(place) or not path.is_file():
            raise SourceError("no upload", "a zip or tar of photos, one folder per class", "choose a file first")
        paths.check_upload(path)
        return path.resolve().relative_to(self.folder)
