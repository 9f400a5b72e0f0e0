"""Networks that a person brings from outside, as functions from pixels to features.

    FILE        TorchScript (torch.jit.save), torch.export (.pt2), or ONNX (.onnx; needs the extra `onnx`)
    FILE.json   what the network expects, beside it: the same name with .json instead of its ending

        {"size": 224, "channels": 3, "range": [0, 1], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

The network gets float32 `[n, channels, size, size]` and gives one row of features per image, `[n, d]`.

Such a file is a program, and reading it runs it: bring only files that you trust. Files of `torch.save` are refused,
since they are pickles, which may run anything on loading and need their Python classes as well.

Fréchet's distance is called FID for one file alone, the TorchScript translation of the Inception network of 2015 that
StyleGAN2-ADA and clean-fid use, which is recognised by its hash and needs no JSON file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemint import files
from imagemint.errors import NetworkError

INCEPTION = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"  # sha256 of inception-2015-12-05.pt
INCEPTION_WIDTH = 2048  # of its features
_BATCH = 64
_KINDS = "TorchScript, torch.export (.pt2) or ONNX (.onnx)"

Side = Annotated[int, Field(strict=True, ge=1, le=4096)]
Forward = Callable[[torch.Tensor], Any]  # float32 [n, c, h, w] -> what the network gives


class Preprocessing(BaseModel):
    """What a network expects of its images: the JSON file beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Side | tuple[Side, Side] | None = None  # side, or height and width, in pixels; None: as they are
    channels: Annotated[int, Field(strict=True, ge=1, le=3)] = 3  # 1 (gray) or 3
    range: tuple[float, float] = (0.0, 1.0)  # what black and white become, before mean and std
    mean: list[float] = [0.0]  # per channel, or one for all
    std: list[Annotated[float, Field(gt=0)]] = [1.0]
    width: Annotated[int, Field(strict=True, ge=1)] | None = None  # of the features, if it is to be checked

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 `[n, c, h, w]` -> float32 `[n, channels, *size]`: bilinear with antialiasing where sizes differ."""
        images = torch.from_numpy(np.array(pixels)).float()
        if images.shape[1] != self.channels:
            gray = images if images.shape[1] == 1 else images.mul(_GRAY).sum(1, keepdim=True)
            images = gray.expand(-1, self.channels, -1, -1)
        sides = (self.size, self.size) if isinstance(self.size, int) else self.size
        if sides is not None and tuple(images.shape[2:]) != tuple(sides):
            images = F.interpolate(images, size=list(sides), mode="bilinear", antialias=True)
        low, high = self.range
        images = images / 255 * (high - low) + low
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (self.mean, self.std))
        return ((images - mean) / std).contiguous()


_GRAY = torch.tensor([0.2989, 0.5870, 0.1140]).view(1, 3, 1, 1)


@dataclass(frozen=True, eq=False)
class Outside:
    """A network from a file; called with uint8 `[n, c, h, w]` it gives float32 `[n, width]`."""

    path: Path
    sha256: str
    width: int
    preprocessing: Preprocessing
    forward: Forward
    batch: int | None  # images per call, where the file allows one number alone

    @property
    def is_inception(self) -> bool:
        """Whether this is the file whose Fréchet distance is called FID."""
        return self.sha256 == INCEPTION

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features of uint8 `[n, c, h, w]`: float32 `[n, width]`, finite. Raises NetworkError otherwise."""
        step = self.batch or _BATCH
        found = [self._rows(pixels[start : start + step]) for start in range(0, len(pixels), step)]
        return np.concatenate(found) if found else np.empty((0, self.width), np.float32)

    def _rows(self, pixels: np.ndarray) -> np.ndarray:
        rows = _features(self.path, self.forward, self.preprocessing, pixels, self.batch)
        if rows.shape[1] != self.width:
            found = f"{self.path} gives {rows.shape[1]} features for some images and {self.width} for others"
            raise NetworkError(found, "one width", "export the network again")
        return rows


def read_outside(path: Path | str, channels: int, size: tuple[int, int]) -> Outside:
    """Read a network file and try it on images of this shape.

    Raises NetworkError where the file is no such network, has no JSON file beside it, wants another size, gives no
    row of features per image, or numbers that are not finite.
    """
    path = Path(path)
    try:
        digest = files.sha256(path)
    except FileNotFoundError:
        raise NetworkError(f"no file {path}", f"a network: {_KINDS}", "check the path") from None
    except files.Damaged as problem:
        raise NetworkError(f"{path} {problem}", f"a network: {_KINDS}", "check the path") from None
    inception = digest == INCEPTION
    preprocessing = Preprocessing(range=(0.0, 255.0), width=INCEPTION_WIDTH) if inception else _preprocessing(path)
    forward, batch = _reader(path)(path)
    if inception:
        forward = _raw_features(forward)
    trial = np.random.default_rng(0).integers(0, 256, (2, channels, *size), np.uint8)
    rows = _features(path, forward, preprocessing, trial, batch)
    if preprocessing.width not in (None, rows.shape[1]):
        found = f"{path} gives {rows.shape[1]} features per image"
        raise NetworkError(found, f"{preprocessing.width}, as stated", "correct one of the two files")
    return Outside(path, digest, rows.shape[1], preprocessing, forward, batch)


def _features(path: Path, forward: Forward, prepare: Preprocessing, pixels: np.ndarray, batch: int | None) -> Any:
    """float32 `[n, d]`, checked."""
    images = prepare(pixels)
    if batch is not None:  # the file allows this number of images alone: black ones fill it up
        images = torch.cat([images, images[:1].expand(batch - len(images), -1, -1, -1)])[:batch]
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = forward(images)
    except Exception as problem:  # what a network of somebody else's raises can be anything
        line = str(problem).strip().splitlines()
        reason = line[-1][:200] if line else type(problem).__name__
        shape = "x".join(map(str, images.shape[1:]))
        raise NetworkError(
            f"{path} does not take images of {shape} (channels, height, width): {reason}",
            "the size and channels that the network was made for",
            f"write them into {_beside(path)}",
        ) from None
    rows = torch.as_tensor(found) if isinstance(found, (torch.Tensor, np.ndarray)) else None
    if rows is None or rows.ndim != 2 or len(rows) != len(images) or not rows.shape[1]:
        given = type(found).__name__ if rows is None else f"[{', '.join(map(str, rows.shape))}]"
        raise NetworkError(
            f"{path} gives {given} for {len(images)} images",
            "one row of features per image, [n, d]",
            "export the network without its last layer, and flattened",
        )
    rows = rows.detach().float().cpu()[: len(pixels)]
    if not bool(torch.isfinite(rows).all()):
        remedy = f"check range, mean and std in {_beside(path)}"
        raise NetworkError(f"{path} gives features that are no finite numbers (NaN or infinite)", "numbers", remedy)
    return rows.numpy()


# --- reading the files -------------------------------------------------------------------------------------------


def _beside(path: Path) -> Path:
    return path.with_suffix(".json")


def _preprocessing(path: Path) -> Preprocessing:
    beside = _beside(path)
    example = '{"size": 224, "channels": 3, "range": [0, 1], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
    if not beside.exists():
        raise NetworkError(f"no {beside}", "what the network expects of its images", f"write for example {example}")
    try:
        found = Preprocessing.model_validate(files.read_json(beside))
    except files.Damaged as problem:
        raise NetworkError(f"{beside} {problem}", example, "correct it") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise NetworkError(f"{beside}: {where}: {first['msg']}", f"for example {example}", "correct it") from None
    lengths = {len(found.mean), len(found.std)} - {1, found.channels}
    if lengths or found.channels == 2 or found.range[0] >= found.range[1]:
        what = f"channels {found.channels}, range {list(found.range)}, mean {found.mean}, std {found.std}"
        wanted = "1 or 3 channels, a growing range, and as many numbers in mean and std"
        raise NetworkError(f"{beside}: {what}", wanted, "correct it")
    return found


def _reader(path: Path) -> Callable[[Path], tuple[Forward, int | None]]:
    """By what the file holds, not by its name alone."""
    if path.suffix.lower() == ".onnx":
        return _read_onnx
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()} | set(archive.namelist())
        if any(name.startswith("code/") for name in names) and "constants.pkl" in names:
            return _read_torchscript
        if any("serialized_exported_program" in name or name.startswith("models/") for name in names):
            return _read_exported
        if "data.pkl" in names:
            raise NetworkError(
                f"{path} was written by torch.save", _KINDS, "write it with torch.jit.save or torch.export.save"
            )
    raise NetworkError(f"{path} is no network that can be read", _KINDS, "export the network to one of these")


def _read_torchscript(path: Path) -> tuple[Forward, int | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is giving TorchScript up; files of others will be there for years
        try:
            return torch.jit.load(str(path), map_location="cpu").eval(), None  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError, OSError) as problem:
            raise _unreadable(path, problem) from None


def _read_exported(path: Path) -> tuple[Forward, int | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(path)
        except Exception as problem:  # many kinds, by version of torch and of the file
            raise _unreadable(path, problem) from None
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        found = f"{path} takes {len(inputs)} inputs"
        raise NetworkError(found, "one input, the images", "export the network with images as its only input")
    first = inputs[0].meta["val"].shape[0]
    return program.module(), first if isinstance(first, int) else None


def _read_onnx(path: Path) -> tuple[Forward, int | None]:
    try:
        import onnxruntime
    except ImportError:
        wanted, remedy = (
            "onnxruntime, which reads it",
            "pip install 'imagemint[onnx]', or export to TorchScript or .pt2",
        )
        raise NetworkError(f"{path} is an ONNX file", wanted, remedy) from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as problem:  # its exceptions have no common class of their own
        raise _unreadable(path, problem) from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        found = f"{path} takes {len(inputs)} inputs"
        raise NetworkError(found, "one input, the images", "export the network with images as its only input")
    first = inputs[0].shape[0] if inputs[0].shape else None
    return (
        lambda images: session.run(None, {inputs[0].name: images.numpy()})[0],
        first if isinstance(first, int) else None,
    )


def _raw_features(network: Any) -> Forward:
    """The 2,048 features of the Inception file instead of its class probabilities."""
    return lambda images: network(images, return_features=True)


def _unreadable(path: Path, problem: Exception) -> NetworkError:
    line = str(problem).strip().splitlines()
    reason = line[0][:200] if line else type(problem).__name__
    return NetworkError(f"{path} is no network that can be read ({reason})", _KINDS, "export it again")
