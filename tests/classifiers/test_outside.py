"""Networks that a person brings: the same features from every kind of file, and one line for what is none."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imagemint.classifiers.outside import Preprocessing, read_outside
from imagemint.errors import NetworkError

SHAPE = (3, (8, 8))
PREPROCESSING = {"size": 12, "channels": 3, "range": [0, 1], "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]}


def network(width: int = 5, last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(100, width)]
    return nn.Sequential(*layers, *([last] if last else [])).eval()


def pixels(n: int = 7, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, 8, 8), np.uint8)


def scripted(net: nn.Module, file: Path, settings: dict[str, object] | None = PREPROCESSING) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(file))  # type: ignore[no-untyped-call]
    return beside(file, settings)


def exported(net: nn.Module, file: Path, dynamic: bool, settings: dict[str, object] | None = PREPROCESSING) -> Path:
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    torch.export.save(torch.export.export(net, (torch.zeros(4, 3, 12, 12),), dynamic_shapes=shapes), file)
    return beside(file, settings)


def beside(file: Path, settings: object) -> Path:
    if settings is not None:
        file.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    return file


def wanted(net: nn.Module, images: np.ndarray) -> np.ndarray:
    """Step by step, as the JSON file says it."""
    x = torch.from_numpy(images).float() / 255
    x = torch.nn.functional.interpolate(x, size=[12, 12], mode="bilinear", antialias=True)
    mean, std = (torch.tensor(PREPROCESSING[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        return net((x - mean) / std).numpy()


def test_every_kind_of_file_gives_the_features_of_the_network(tmp_path: Path) -> None:
    net, images = network(), pixels()
    files = [
        scripted(net, tmp_path / "script.pt"),
        exported(net, tmp_path / "any.pt2", dynamic=True),
        exported(net, tmp_path / "four.pt2", dynamic=False),  # takes four images at a time and no other number
    ]
    for file in files:
        found = read_outside(file, *SHAPE)
        assert found.width == 5 and len(found.sha256) == 64 and not found.is_inception
        np.testing.assert_allclose(found(images), wanted(net, images), rtol=1e-5, atol=1e-6)


def test_gray_becomes_colour_and_colour_gray() -> None:
    gray = pixels(2, 1)
    assert torch.equal(
        Preprocessing(channels=3)(gray), torch.from_numpy(gray / np.float32(255)).expand(-1, 3, -1, -1)
    )
    colour = np.zeros((1, 3, 1, 1), np.uint8)
    colour[0, :, 0, 0] = 100, 50, 200
    light = 0.2989 * 100 + 0.5870 * 50 + 0.1140 * 200
    assert Preprocessing(channels=1, range=(0, 255))(colour).item() == pytest.approx(light, abs=1e-3)
    assert Preprocessing(range=(-1, 1))(np.full((1, 3, 1, 1), 255, np.uint8)).flatten().tolist() == [1.0] * 3


def refused(file: Path, *words: str) -> None:
    with pytest.raises(NetworkError) as caught:
        read_outside(file, *SHAPE)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pt", "no file")
    refused(tmp_path, "is a folder")
    noise = beside(tmp_path / "noise.pt", PREPROCESSING)
    noise.write_bytes(b"not a network")
    refused(noise, "TorchScript", ".onnx")
    pickled = beside(tmp_path / "pickled.pt", PREPROCESSING)
    torch.save(network(), pickled)
    refused(pickled, "torch.save", "torch.jit.save")
    cut = scripted(network(), tmp_path / "cut.pt")
    cut.write_bytes(cut.read_bytes()[:-200])
    refused(cut, "no network that can be read")


def test_a_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    refused(scripted(network(), tmp_path / "a.pt", None), "no ", "a.json", '"size": 224')
    refused(scripted(network(), tmp_path / "b.pt", {**PREPROCESSING, "size": 30}), "3x30x30", "b.json")
    refused(scripted(network(), tmp_path / "c.pt", {**PREPROCESSING, "width": 512}), "5 features", "512")
    refused(scripted(network(), tmp_path / "d.pt", {**PREPROCESSING, "colour": True}), "d.json", "colour")
    refused(scripted(network(), tmp_path / "e.pt", {**PREPROCESSING, "std": [0, 1, 1]}), "e.json", "std")
    refused(scripted(network(), tmp_path / "f.pt", {**PREPROCESSING, "mean": [0.5, 0.5]}), "mean")
    refused(scripted(network(last=nn.Unflatten(1, (5, 1, 1))), tmp_path / "g.pt"), "[2, 5, 1, 1]", "[n, d]")


class Undefined(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float("nan")


class Demanding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] == 3:
            raise RuntimeError("it wants 12 bands")
        return x


def test_what_the_network_says_itself_is_passed_on(tmp_path: Path) -> None:
    refused(scripted(Demanding(), tmp_path / "bands.pt"), "does not take images of 3x", "it wants 12 bands")


def test_features_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    refused(scripted(network(last=Undefined()), tmp_path / "nan.pt"), "NaN", "nan.json")


def message(**fields: object) -> bytes:
    """A protobuf message of small fields, `_7` the one with number 7: numbers, texts, bytes, or lists of these."""
    out = b""
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            number = int(name[1:])
            if isinstance(value, int):
                out += bytes([number << 3, value])
            else:
                text = value.encode() if isinstance(value, str) else value
                assert isinstance(text, bytes) and len(text) < 1 << 14
                out += bytes([number << 3 | 2, len(text) & 127 | 128, len(text) >> 7]) + text
    return out


def onnx(file: Path, count: str | int, *, inputs: int = 1) -> Path:
    """The mean of each channel as an ONNX network of so many inputs, written by hand: exporting needs package onnx.

    Field numbers are those of onnx.proto: model 1 version, 7 graph, 8 operators; graph 1 nodes, 11 inputs, 12 output.
    """

    def value(name: str, *sides: str | int) -> bytes:
        dims = [message(_1=side) if isinstance(side, int) else message(_2=side) for side in sides]
        return message(_1=name, _2=message(_1=message(_1=1, _2=message(_1=dims))))

    names = [f"x{k}" for k in range(inputs)]
    total = message(_1=names, _2="sum", _4="Sum")
    pooled, flat = message(_1="sum", _2="mean", _4="GlobalAveragePool"), message(_1="mean", _2="y", _4="Flatten")
    given = [value(name, count, 3, 12, 12) for name in names]
    graph = message(_1=[total, pooled, flat], _2="graph", _11=given, _12=value("y", count, 3))
    file.write_bytes(message(_1=8, _7=graph, _8=message(_2=13)))
    return beside(file, PREPROCESSING)


def test_an_onnx_network_is_read_whatever_number_of_images_it_takes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'imagemint[onnx]'")
    mean, images = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), pixels()
    for name, count in (("any", "n"), ("four", 4)):
        found = read_outside(onnx(tmp_path / f"{name}.onnx", count), *SHAPE)
        assert found.width == 3
        np.testing.assert_allclose(found(images), wanted(mean, images), rtol=1e-5, atol=1e-6)
    refused(onnx(tmp_path / "two.onnx", "n", inputs=2), "takes 2 inputs", "one input, the images")


def test_onnx_without_its_reader_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    file = beside(tmp_path / "net.onnx", PREPROCESSING)
    file.write_bytes(b"")
    refused(file, "imagemint[onnx]")
