"""The recipe of GANs: everything that a person chooses about a training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from imagemint.augment import AUGMENTATIONS
from imagemint.errors import RecipeError
from imagemint.losses import LOSSES, PENALTIES
from imagemint.models import MODELS, checked, family
from imagemint.recipe import TrainedRecipe
from imagemint.seeds import Noise
from imagemint.settings import OneOf, Strict
from imagemint.training.optimisers import Optimizer as Optimizer


class Penalty(Strict):
    """A gradient penalty on the discriminator."""

    name: Annotated[str, OneOf(PENALTIES)] = Field(
        description="; ".join(f"{name}: {row.source}" for name, row in PENALTIES.items())
    )
    weight: float = Field(gt=0, description="factor before it is added to D's loss")
    every: int = Field(1, ge=1, description="computed at every n-th D step, n times as strong")


class Balance(Strict):
    """How both sides of a BEGAN are kept in balance (Berthelot et al. 2017, section 3.4)."""

    gamma: float = Field(
        0.5,
        gt=0,
        le=1,
        description="aimed at: D's error on samples over that on real images; more gives more variety",
    )
    gain: float = Field(0.001, gt=0, le=1, description="lambda_k: how fast the weight k of samples in D's loss moves")


# Mixing puts two images together: nobody could then say which of them the view is of.
_VIEWS = {name: ranges for name, ranges in AUGMENTATIONS.items() if ranges.mixing == "none"}
_NEEDS = {  # what an option goes with, and what to do
    "ema_d": ("ema_images, the half-life of both averages", "set ema_images too"),
    "consistency": ("a semi-supervised loss, and ema_d: the average that names the classes", "set ema_d too"),
}


class Consistency(Strict):
    """Images without a label are asked for the class that the averaged discriminator sees in another view of them."""

    weight: float = Field(1.0, gt=0, description="factor before the term is added to D's loss")
    threshold: float = Field(0.95, ge=0, lt=1, description="probability of a class from which on it counts")
    strong: Annotated[str, OneOf(_VIEWS)] = Field(
        "strong", description="how the view that D is asked about is changed (imagemint.augment.AUGMENTATIONS)"
    )


class Recipe(TrainedRecipe):
    """Everything that a person chooses about the training of GANs. Unknown keys are refused."""

    model: str = Field(description="a family of networks (imagemint.models.MODELS)")
    options: dict[str, Any] = Field({}, description="the family's own choices")
    z_size: int = Field(100, ge=1, le=65536, description="numbers in z")
    noise: Noise = Field("normal", description="distribution of z; normal: N(0, 1); uniform: U(-1, 1)")

    loss: Annotated[str, OneOf(LOSSES)] = Field(
        "non-saturating", description="an adversarial loss (imagemint.losses.LOSSES)"
    )
    loss_g: Literal["adversarial", "feature-matching"] = Field(
        "adversarial", description="feature-matching: G matches D's mean features of real images instead"
    )
    penalty: Penalty | None = None
    balance: Balance | None = Field(None, description="loss began alone; empty there: its defaults")
    clip: float | None = Field(
        None, gt=0, description="D's weights are clipped to plus or minus this after each step (WGAN)"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="one-sided label smoothing: the target for real images is 1 minus this"
    )
    d_steps: int = Field(1, ge=1, le=100, description="discriminator steps in one iteration, each on new images")
    g_steps: int = Field(1, ge=1, le=100, description="generator steps in one iteration")
    pretrain_images: int = Field(0, ge=0, description="images that D alone learns from before G begins")
    optimizer_g: Optimizer
    optimizer_d: Optimizer
    augment: Literal["none", "affine", "photo"] = Field(
        "none",
        description="the same random changes of real and fake images (Zhao et al. 2020); affine: moved and turned; "
        "photo: light, saturation, contrast, shift, a covered square; both mirrored where the recipe says flips",
    )
    ema_images: int | None = Field(None, ge=1, description="half-life of the averaged generator, in images seen")
    ema_d: bool = Field(False, description="semi-supervised: D is averaged as well, and its average names classes")
    consistency: Consistency | None = Field(
        None, description="semi-supervised: D names views of an image alike (Sohn et al. 2020)"
    )

    batch_size: int = Field(64, ge=2, le=65536, description="images in one step")
    balanced: bool = Field(False, description="batch_size images of every class in each batch, class by class")
    labelled_share: float = Field(
        0.5, gt=0, lt=1, description="semi-supervised: share of a batch with labels, if the pack has images without"
    )
    weights: Literal["last", "best"] = Field(
        "last", description="what is minted from; best: by a measure against images held out of the training pack"
    )
    held_out: float = Field(0.2, gt=0, le=0.5, description="share of each class that is held out for the choice")
    choose_every: int = Field(25_000, ge=1, description="images seen between looks at what the best weights are")
    compile: bool = Field(
        False, description="G and D through torch.compile: meant for CUDA and not tried there; on a CPU it is slower"
    )

    watch_every: int = Field(5000, ge=1, description="images seen between looks at what goes wrong (watch.jsonl)")
    rollback: bool = Field(
        False, description="at the first NaN or infinity: back to the last checkpoint, a tenth of both learning rates"
    )

    @model_validator(mode="after")
    def _parts_go_together(self) -> Recipe:
        loss = LOSSES[self.loss]
        if self.label_smoothing and not loss.smoothable:
            known = " and ".join(name for name, row in LOSSES.items() if row.smoothable)
            raise ValueError(f"label_smoothing goes with {known}, not with {self.loss}")
        outputs = getattr(self._choices(), "outputs", 1)
        if (outputs == 1) == loss.k_plus_1:
            wanted = "k+1" if loss.k_plus_1 else 1
            semi = " and ".join(name for name, row in LOSSES.items() if row.k_plus_1)
            raise RecipeError(
                f"loss {self.loss} with options.outputs {outputs}",
                f"a discriminator of {wanted} outputs",
                f"k+1 outputs go with loss {semi}, 1 with every other loss",
            )
        if self.balance and not loss.balanced:
            raise ValueError(f"balance goes with loss began, not with {self.loss}")
        redraws = self.model in MODELS and MODELS[self.model].redraws
        if loss.triple != (self.model in MODELS and MODELS[self.model].classifies):
            raise RecipeError(
                f"loss {self.loss} with model {self.model}",
                "loss triple with a model that has a classifier, every other loss with another model",
                "take loss triple and model triple together",
            )
        if loss.balanced != redraws:
            raise RecipeError(
                f"loss {self.loss} with model {self.model}",
                "loss began with a model whose discriminator is an autoencoder, every other loss with another model",
                "take loss began and model began together",
            )
        fulfilled = {"ema_d": bool(self.ema_images), "consistency": self.ema_d and loss.k_plus_1}
        for key, there in fulfilled.items():
            if getattr(self, key) and not there:
                raise RecipeError(f"{key} without what it needs", *_NEEDS[key])
        return self

    def _choices(self) -> BaseModel:
        """The choices under `options`. Raises RecipeError unless the family of networks and its options are known."""
        return checked(family(self.model).options, self.options, self.model)

    def decided(self, channels: int) -> dict[str, Any]:
        """As of any recipe; the options of the networks too."""
        choices = self._choices()
        decide = MODELS[self.model].decide if self.model in MODELS else None
        choices = decide(choices, channels) if decide else choices
        return {**super().decided(channels), "options": choices.model_dump(mode="json")}

    def batch(self, classes: int) -> int:
        """Images in one discriminator step on a pack of so many classes."""
        return self.batch_size * (classes if self.balanced else 1)
