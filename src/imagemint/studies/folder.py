"""The folder of a study: the names of its files, and what stands in them.

OUT/
  study.json                settings and fingerprints, written first; another study may not use the folder
  recipe.yaml               the recipe as resolved, to repeat the study with
  subsets/10-0/             pack: the real images of budget 10, repeat 0
  runs/10-0/                the GAN that was trained on that subset and on nothing else
  minted/10-0/              pack: what it minted
  minted/10-0-balanced/     pack: what was minted for arms that want other images; runs/10-0-pca/ likewise
  rows.jsonl                one line for every (budget, repeat, arm)
  predictions/labels.npy    the class of each test image
  predictions/10-0-mix.npy  what the classifier of arm `mix` says about each test image
  predictions/10-0-mix.log.npy  the log probability that it gives to the class of each test image
  report.html, report.md, rows.csv
"""

from __future__ import annotations

import hashlib
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import Field, model_validator

from imagemint import files
from imagemint.classifiers.plan import Precision
from imagemint.errors import StudyError
from imagemint.recipe import AnyRecipe
from imagemint.settings import Strict
from imagemint.studies.arms import ARMS
from imagemint.studies.plan import Extent, Settings, StudyPlan
from imagemint.words import counted, listed

# Settings that studies of earlier versions do not say; what they did is the default.
_SINCE = {
    "real_share",
    "classifier",
    "classifier_learning_rate",
    "classifier_decay",
    "classifier_batch_size",
    "classifier_precision",
    "classifier_choose",
    "score",
    "rare",
    "class_shares",
    "real_share_by_budget",
    "real_schedule",
}
FIRST_SCORE = "accuracy"  # of studies that do not say


class PackNote(Strict):
    """A pack that a study used."""

    path: str
    images: int = Field(ge=0)
    counts: dict[str, int]  # images by class name


class AddedNote(PackNote):
    """A pack that an arm names: what is used of it, and what is not."""

    fingerprint: str
    copies: int = 0  # left out as exact copies of test images
    near: int = 0  # left out as near copies of test images
    other_classes: dict[str, int] = Field({})  # left out, since the study has no such class
    unlabelled: int = 0

    def left_out(self) -> list[str]:
        """What is not used, in one line each."""
        lines = []
        if self.copies:
            lines.append(f"{counted(self.copies, 'image')} left out: exact copies of test images")
        if self.near:
            lines.append(f"{counted(self.near, 'image')} left out: near copies of test images")
        if self.other_classes:
            names, images = listed(list(self.other_classes)), sum(self.other_classes.values())
            lines.append(f"{counted(images, 'image')} left out: the study has no class {names}")
        if self.unlabelled:
            lines.append(f"{counted(self.unlabelled, 'image')} left out: without a label")
        missing = [name for name, count in self.counts.items() if not count]
        if missing:
            lines.append(f"no image of {counted(len(missing), 'class', 'classes')}: {listed(missing)}")
        return lines


class About(Strict):
    """What a study was made from, in words and numbers for the report."""

    pack: PackNote
    test: PackNote
    classes: list[str]  # those that are compared: both packs have images of them
    leaked: int = Field(ge=0)  # training images that were left out as exact copies of test images
    versions: dict[str, str]
    without_test: dict[str, int] = Field({})  # classes that are left out of both packs, and their training images
    added: dict[str, AddedNote] = Field({})  # of each arm that names a pack
    near: int | None = None  # and as near copies of them; None: nobody looked (studies of earlier versions)
    twins: tuple[tuple[int, int], ...] = ()  # (training image, test image) of the first of them all, for the page
    remarks: tuple[str, ...] = ()  # what else a person should know of what was done, one line each


class Fixed(Settings):
    """The settings of a study and the fingerprints of its packs: what may not change when it goes on."""

    classifier_precision: Precision = "fp32"  # auto is decided when a study begins
    pack: str
    test: str


class StudyFacts(Strict):
    """`study.json`."""

    settings: Fixed
    extent: Extent
    about: About

    @property
    def plan(self) -> StudyPlan:
        """What the study is to compute."""
        settings = {name: getattr(self.settings, name) for name in Settings.model_fields}
        return StudyPlan(**settings, **{name: getattr(self.extent, name) for name in Extent.model_fields})

    def remarked(self, *remarks: str) -> StudyFacts:
        """The same with more remarks, each once."""
        said = tuple(dict.fromkeys([*self.about.remarks, *remarks]))
        return self.model_copy(update={"about": self.about.model_copy(update={"remarks": said})})

    @model_validator(mode="after")
    def _nothing_is_missing(self) -> StudyFacts:
        said = self.extent.model_fields_set | self.settings.model_fields_set
        missing = (set(Extent.model_fields) | set(Fixed.model_fields)) - said - _SINCE
        if missing:
            raise ValueError(f"it does not say {min(missing)}")
        return self


class Mark(Strict):
    """What a classifier reached on some images."""

    loss: float  # mean cross-entropy, nats
    accuracy: float = Field(ge=0, le=1)


class Look(Strict):
    """How far a classifier was after some images seen; for curves alone, nothing is chosen by it."""

    images_seen: int
    training: Mark | None = None  # on some of the images that it learns from, as they are without augmentation
    validation: Mark | None = None  # of its twin that learns from a part of the training subset, on the other part
    test: Mark | None = None  # on some of the test images, the same ones for all classifiers of a study


class Row(Strict):
    """A line of rows.jsonl: one classifier, tested."""

    budget: str
    repeat: int = Field(ge=0)
    arm: str
    accuracy: float = Field(ge=0, le=1)  # share of the test images
    loss: float  # mean cross-entropy on the test images, nats
    per_class: list[float | None]  # accuracy on the test images of each class; None where there is none
    n_real: int  # real images that it learned from
    n_minted: int  # other images that it learned from: minted ones, or those of the pack that the arm names
    n_test: int
    images_seen: int
    seed: int
    subset: str  # fingerprint of the pack of real images
    minted: str | None  # fingerprint of the pack of the other images
    test: str  # fingerprint of the test pack
    seconds: float
    scores: dict[str, float] = Field({})  # every row of metrics.scores.SCORES
    validation: float | None = (
        None  # what a free arm reached on held-out images of its own training subset; higher is better
    )
    chosen: dict[str, float] = Field({})  # on the training subset, by name of CHOICES: factors of what the plan says
    history: list[Look] = Field([])  # over the training of the classifier; rows of earlier versions have none

    @property
    def key(self) -> tuple[str, int, str]:
        """Budget, repeat and arm: a study has one such row."""
        return self.budget, self.repeat, self.arm


@dataclass(frozen=True)
class Cell:
    """The files of one budget and one repeat."""

    study: Path
    budget: str
    repeat: int

    @property
    def name(self) -> str:
        """As in "10-0"."""
        return f"{self.budget}-{self.repeat}"

    @property
    def subset(self) -> Path:
        """The pack of real images."""
        return self.study / "subsets" / self.name

    @property
    def run(self) -> Path:
        """The training of the study's recipe."""
        return self.run_of("")

    @property
    def minted(self) -> Path:
        """The pack of images that the study's recipe minted, in the usual numbers."""
        return self.minted_for("")

    def run_of(self, recipe: str) -> Path:
        """The training of a recipe that an arm names; "": the study's."""
        return self.study / "runs" / (f"{self.name}-{recipe}" if recipe else self.name)

    def minted_for(self, minting: str) -> Path:
        """The pack of images that were minted for the arms of a `Minting`, by its name."""
        return self.study / "minted" / (f"{self.name}-{minting}" if minting else self.name)

    def log_probabilities(self, arm: str) -> Path:
        """The log probability that an arm's classifier gives to the class of each test image."""
        return self.predictions(arm).with_suffix(".log.npy")

    def predictions(self, arm: str) -> Path:
        """The answers of an arm's classifier; arms that take an argument get a file name that any system takes."""
        name = arm
        if arm not in ARMS:
            digest = hashlib.sha256(arm.encode("utf-8", "surrogatepass")).hexdigest()
            name = f"{arm.partition(':')[0]}-{digest[:16]}"
        return self.study / "predictions" / f"{self.name}-{name}.npy"


def write_recipe(study: Path, recipe: AnyRecipe | None) -> None:
    """Write the recipe as resolved, if there is one: what repeats the study, whatever becomes of the original."""
    if recipe is not None:
        settings = recipe.model_dump(mode="json", exclude_none=True)
        files.write_text(study / "recipe.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def labels_file(study: Path) -> Path:
    """The classes of the test images."""
    return study / "predictions" / "labels.npy"


def save_classes(path: Path, values: np.ndarray) -> None:
    """Class indices `[n]` as a small .npy, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, values.astype(np.int16 if values.max(initial=0) < 2**15 else np.int32), allow_pickle=False)
    files.write_bytes(path, buffer.getvalue())


def load_classes(path: Path, classes: int, count: int | None = None) -> np.ndarray:
    """Class indices int64 `[n]` in 0..classes-1, `count` of them if that is known. Raises StudyError."""
    values = _load(path)
    fits = values.ndim == 1 and values.dtype.kind == "i" and (count is None or len(values) == count)
    if not fits or not len(values) or values.min() < 0 or values.max() >= classes:
        raise _damaged(path, "does not hold a class for every test image")
    found: np.ndarray = values.astype(np.int64)
    return found


def save_log_probabilities(path: Path, values: np.ndarray) -> None:
    """Log probabilities `[n]` as a small .npy, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, values.astype(np.float32), allow_pickle=False)
    files.write_bytes(path, buffer.getvalue())


def load_log_probabilities(path: Path, count: int) -> np.ndarray:
    """Log probabilities float64 `[count]`, at most 0; minus infinity is a probability of 0. Raises StudyError."""
    values = _load(path)
    if values.shape != (count,) or values.dtype != np.float32 or not (values <= 0).all():
        raise _damaged(path, "does not hold a log probability for every test image")
    return values.astype(np.float64)


def _load(path: Path) -> np.ndarray:
    try:
        values: np.ndarray = np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)
    except (files.Damaged, FileNotFoundError, ValueError, EOFError) as error:
        raise _damaged(path, "is missing" if isinstance(error, FileNotFoundError) else str(error)) from None
    except (SyntaxError, TypeError, RecursionError, MemoryError, OverflowError, tokenize.TokenError):
        raise _damaged(path, "has a header that is none") from None  # numpy reads it as Python source
    return values


def read_facts(study: Path) -> StudyFacts:
    """`study.json`. Raises StudyError where there is none or it is damaged."""
    file = study / "study.json"
    try:
        return files.read_model(file, StudyFacts)
    except (FileNotFoundError, NotADirectoryError):
        raise StudyError(f"no study at {study}", "a folder that imagemint study wrote", "check the path") from None
    except files.Damaged as error:
        raise _damaged(file, str(error)) from None


def read_rows(study: Path) -> list[Row]:
    """The rows that are there; a last line that a kill cut short is left out. Raises StudyError for damaged ones."""
    file, rows = study / "rows.jsonl", []
    try:
        lines = files.read_lines(file)
    except files.Damaged as error:
        raise _damaged(file, str(error)) from None
    for number, line in enumerate(lines, 1):
        try:
            rows.append(Row.model_validate(line))
        except ValueError:
            raise _damaged(file, f"is damaged (line {number} is no row)") from None
    return rows


def _damaged(file: Path, problem: str) -> StudyError:
    remedy = "start the study in a new folder"
    return StudyError(f"{file} {problem[:300]}", "a file as imagemint study wrote it", remedy)
