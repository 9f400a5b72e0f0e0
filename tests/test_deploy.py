"""What deploys imagemint is well formed, calls commands that exist, and works where there is no container engine."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemint.data.pack import open_pack
from imagemint.runs import open_run
from tests.test_documents import options_of

ROOT = Path(__file__).parents[1]
KUBERNETES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
BATCH = ROOT / "deploy" / "slurm" / "train.sbatch"


def tool(name: str) -> str:
    """A program of the extra `deploy`; the test is skipped where it is missing."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"{name} is not installed (extra deploy)")
    return found


def passes(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in KUBERNETES:
        for tree in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            yield file, tree


def containers(tree: Any) -> Iterator[dict[str, Any]]:
    """Every container of a manifest, at whatever depth."""
    if isinstance(tree, dict):
        yield from tree.get("containers", [])
        for value in tree.values():
            yield from containers(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from containers(value)


def pods(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if "containers" in tree:
            yield tree
        for value in tree.values():
            yield from pods(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from pods(value)


# --- well formed ---


def test_the_image() -> None:
    passes(tool("hadolint"), "--failure-threshold", "warning", ROOT / "Dockerfile")


def test_compose() -> None:
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")


def test_workflows() -> None:
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    passes(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *sorted(workflows))


def test_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing (extra deploy)")
    for file, tree in documents():
        if "ray.io" in tree["apiVersion"]:  # a kind of KubeRay's: what it makes of it are pods
            for spec in pods(tree):
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
                validate.validate(pod, "1.31", strict=True)
        else:
            validate.validate(tree, "1.31", strict=True)
            assert file.name in ("monitor.yaml", "train.yaml")


def test_nothing_runs_as_root_or_gains_rights() -> None:
    for file, tree in documents():
        for spec in pods(tree):
            assert spec["securityContext"]["runAsNonRoot"], file
    assert re.search(r"^USER (?!0)\d+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_the_batch_script() -> None:
    passes(tool("shellcheck"), BATCH)


# --- the commands exist ---


def shown() -> Iterator[list[str]]:
    for _, tree in documents():
        for each in containers(tree):
            if "args" in each:
                yield ["imagemint", *each["args"]]
        if "entrypoint" in tree.get("spec", {}):
            yield tree["spec"]["entrypoint"].split()
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    yield ["imagemint", *compose["monitor"]["command"].split()]
    for found in re.finditer(r"imagemint ((?:pack|train) .*)$", compose["trainer"]["command"][0], re.MULTILINE):
        yield ["imagemint", *found[1].split()]
    line = re.search(r'^"\$imagemint" (train .*) &$', BATCH.read_text(), re.MULTILINE)
    assert line
    yield ["imagemint", *line[1].split()]


@pytest.mark.parametrize("words", list(shown()), ids=" ".join)
def test_commands_exist(words: list[str]) -> None:
    name, options = options_of(words)
    unknown = [word for word in words if re.fullmatch("--[a-z-]+", word) and word not in options]
    assert not unknown, f"{name} has no {unknown}"


# --- they do what they say ---

TINY = """
version: 1
name: tiny
about: a small GAN that is stopped
source: none
model: small
options: {width: 8}
z_size: 4
loss: relativistic
optimizer_g: {name: adam, lr: 0.001}
optimizer_d: {name: adam, lr: 0.001}
batch_size: 32
images: 8000
log_every: 32
picture_every: 4000
watch_every: 4000
checkpoint_every: 4000
"""


@pytest.mark.skipif(os.name == "nt", reason="the script is for clusters that run Linux")
def test_a_task_that_is_preempted_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "seed-3"
    command = [str(BATCH), str(tmp_path / "digits.pack"), str(recipe_in(tmp_path)), str(tmp_path / "runs")]
    (tmp_path / "bin").mkdir()
    for name, body in {
        "scontrol": f'echo "$@" >> {tmp_path}/requeued',
        "imagemint": f'exec {sys.executable} -m imagemint "$@"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "IMAGEMINT": "imagemint",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_JOB_ID": "77",
    }
    subprocess.run([sys.executable, "-m", "imagemint", "pack", "digits", tmp_path / "digits.pack"], check=True)
    first = subprocess.Popen(command, env=env)
    while not (run / "log.jsonl").exists():
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 0
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"
    seen = open_run(run).images_seen
    assert 0 < seen < 8000, "it was stopped with a checkpoint"
    assert subprocess.run(command, env=env).returncode == 0
    assert open_run(run).images_seen == 8000
    missing = subprocess.run([*command[:1], str(tmp_path / "no.pack"), *command[2:]], env=env, capture_output=True)
    assert missing.returncode == 2, "what cannot work is not queued again"


def recipe_in(folder: Path) -> Path:
    (folder / "tiny.yaml").write_text(TINY)
    return folder / "tiny.yaml"


def test_the_steps_of_the_image_work_in_a_folder(tmp_path: Path) -> None:
    """The RUN lines in order, but for the system's user; then the demo's first steps with what they installed."""
    pytest.importorskip("build", reason="build is missing (extra deploy): this builds and installs the wheel")
    source = tmp_path / "src"
    source.mkdir()
    text = (ROOT / "Dockerfile").read_text()
    for names in re.findall(r"^COPY (?!--from)(.*) \./?\w*$", text, re.MULTILINE):
        for name in names.split():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, source / name)
    env = os.environ | {
        "PIP_FLAGS": "",
        "EXTRAS": "hub",
        "PATH": f"{tmp_path}/opt/imagemint/bin:{os.environ['PATH']}",
    }
    env.pop("PYTHONPATH", None)
    steps = [line for line in re.findall(r"^RUN (.*)$", text, re.MULTILINE) if not line.startswith("useradd")]
    assert len(steps) == 4
    for step in steps:
        step = step.replace("/opt/imagemint", f"{tmp_path}/opt/imagemint").replace("/wheels", f"{tmp_path}/wheels")
        step = step.replace("python -m venv", f"{sys.executable} -m venv")
        done = subprocess.run(["sh", "-ec", step], cwd=source, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
    shutil.rmtree(source)  # what was installed does not need it
    for line in (
        "imagemint pack digits digits.pack",
        "imagemint train digits.pack --recipe ppca --run run",
        "imagemint mint run minted.pack --per-class 5",
    ):
        subprocess.run(line.split(), cwd=tmp_path, env=env, check=True)
    assert open_pack(tmp_path / "minted.pack").counts() == dict.fromkeys("0123456789", 5)
