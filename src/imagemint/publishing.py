"""Packs and runs on the Hugging Face hub: push one, with a card that says what it is; pull it, whole and checked.

A pack becomes a data set's repository, a run a model's. Which server is asked, and who asks, is settled where every
program that uses the hub settles it: by HF_ENDPOINT and HF_TOKEN, or `hf auth login`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagemint
from imagemint import files
from imagemint.cards import croissant, pack_card, run_card
from imagemint.data.pack import Pack, check_absent, fingerprint_of, open_pack
from imagemint.data.remote import on_this_machine
from imagemint.errors import HubError, PackError, RunError
from imagemint.progress import say
from imagemint.runs import Run, open_run
from imagemint.words import first_line, listed, shown

_NAME = re.compile(r"hub:([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w./-]{1,200}))?", re.ASCII)
_SECONDS_TO_ANSWER = 20.0
CARD, CROISSANT = "README.md", "croissant.json"
_LICENCES = "a licence of the hub's list, such as cc-by-4.0, cc0-1.0, apache-2.0 or other"
_REMEDIES = {
    401: "say who you are: HF_TOKEN, or hf auth login",
    403: "use a token that may write there (https://huggingface.co/settings/tokens)",
    404: "check the name; for a private one, HF_TOKEN or hf auth login",
    413: "send fewer or smaller images (imagemint edit slice)",
}
_IN_PACK = re.compile(r"manifest\.json|[a-z][a-z0-9_]{0,63}\.npy|shards/[0-9]{5,9}\.npy")
_IN_RUN = re.compile(
    r"(?:run\.json|judge\.safetensors|[a-z_]+\.jsonl|samples/[0-9]+\.png"
    r"|(?:[\w-]+/)?checkpoints/[0-9]+/(?:weights\.safetensors|optimizers\.safetensors|state\.json))",
    re.ASCII,
)


@dataclass(frozen=True)
class _Kind:
    """What a repository holds."""

    repo_type: Literal["dataset", "model"]
    names: re.Pattern[str]  # of the files that belong to it; nothing else is sent or taken
    first: str  # the file without which there is none

    def files(self, folder: Path) -> dict[str, Path]:
        """The files of a folder that belong to it, by their name in the repository."""
        found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        return {name: path for name, path in found.items() if self.names.fullmatch(name)}


PACK = _Kind("dataset", _IN_PACK, "manifest.json")
RUN = _Kind("model", _IN_RUN, "run.json")


def push(source: Pack | Run | Path | str, to: str, *, licence: str | None = None, public: bool = False) -> str:
    """Send a pack or a run to `hub:OWNER/NAME`; the address of what is there now.

    A repository that is not there is made: private, unless `public`. One that is there gets a new commit with exactly
    the files of the pack or run, a card (README.md) and, for a pack, Croissant metadata (https://mlcommons.org/croissant).
    `licence` is the hub's name of one, such as cc-by-4.0; without it the card says that none was given. Of a run the
    newest checkpoint is sent, and not where on your disk the training pack was.

    Raises HubError where the hub refuses or cannot be reached, PackError or RunError where there is nothing to send.
    """
    repo, revision = _address(to)
    if revision:
        raise HubError(f"a revision in {to}", "hub:OWNER/NAME", "leave out @...; the hub makes a revision")
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", licence):
        raise HubError(f"licence {shown(licence)[:60]!r}", _LICENCES, "take one of that list, or leave it out")
    kind, opened = _opened(source)
    sent: dict[str, Path | bytes] = {**kind.files(opened.path)}
    if isinstance(opened, Run):
        newest = opened.newest().relative_to(opened.path).as_posix()
        sent = {
            name: path
            for name, path in sent.items()
            if not name.startswith("checkpoints/") or name.startswith(newest)
        }
        sent["run.json"] = _without_paths(opened.path / "run.json")
        sent[CARD] = run_card(opened, repo, licence).encode()
    else:
        sent[CARD] = pack_card(opened, repo, licence).encode()
        sent[CROISSANT] = json.dumps(
            croissant(opened, repo, sorted(kind.files(opened.path)), licence), indent=1
        ).encode()
    hub, api = _api()
    with _in_words(hub, f"cannot push to {to}"):
        url = api.create_repo(repo, repo_type=kind.repo_type, private=not public, exist_ok=True)
        there = set(api.list_repo_files(repo, repo_type=kind.repo_type))
        gone = [name for name in sorted(there - set(sent)) if kind.names.fullmatch(name)]
        api.create_commit(
            repo,
            repo_type=kind.repo_type,
            commit_message=f"imagemint {imagemint.__version__}: {opened.path.name}",
            operations=[
                *(
                    hub.CommitOperationAdd(name, what if isinstance(what, bytes) else str(what))
                    for name, what in sent.items()
                ),
                *(hub.CommitOperationDelete(name) for name in gone),
            ],
        )
    return str(url)


def pull(source: str, dest: Path | str) -> Pack | Run:
    """Fetch the pack or run at `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION` into a new folder, and check it.

    Files other than those of a pack or run are left out, and that is said. Raises HubError where the hub refuses or
    holds neither, and PackError or RunError where what it holds is damaged; the folder is not made then.
    """
    repo, revision = _address(source)
    dest = check_absent(dest, local=True)
    hub, api = _api()
    with _in_words(hub, f"cannot pull {source}"):
        kind, names = _found(hub, api, repo, revision, source)
        taken = [name for name in names if kind.names.fullmatch(name)]
        other = sorted(set(names) - set(taken) - {CARD, CROISSANT, ".gitattributes"})
        if other:
            what = "pack" if kind is PACK else "run"
            say(f"left out, since they are no part of a {what}: {listed([shown(name) for name in other])}")
        with ExitStack() as stack:
            cache = files.temporary_folder(stack)
            folder = stack.enter_context(files.whole_folder(dest))
            for name in taken:
                got = api.hf_hub_download(
                    repo, name, repo_type=kind.repo_type, revision=revision, local_dir=cache / "files"
                )
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Path(got).replace(folder / name)
            _check(kind, folder, source)
    return open_pack(dest) if kind is PACK else open_run(dest)


# --- the hub ---


def _api() -> tuple[Any, Any]:
    """The library, and its client."""
    try:
        import huggingface_hub.errors
    except ImportError:
        remedy = "pip install 'imagemint[hub]'"
        raise HubError("huggingface_hub is not installed", "huggingface_hub, to reach the hub", remedy) from None
    return huggingface_hub, huggingface_hub.HfApi(library_name="imagemint", library_version=imagemint.__version__)


@contextmanager
def _in_words(hub: Any, what: str) -> Iterator[None]:
    """What the hub or the network says against it, in one line."""
    expected = (hub.errors.HTTPError, hub.errors.HFValidationError, ConnectionError, FileNotFoundError)
    try:
        yield
    except (*expected, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else error  # which wraps an upload that fails
        if not isinstance(cause, expected):
            raise
        status = getattr(getattr(cause, "response", None), "status_code", None)
        remedy = _REMEDIES.get(status or 0, "check name and network, then run the same command again")
        wanted = "a hub that answers, and the right to do this"
        raise HubError(f"{what}: {first_line(cause)}", wanted, remedy) from None


# --- addresses ---


def _address(text: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(text)
    if not match or ".." in text:
        raise HubError(f"{shown(text)[:120]!r}", "hub:OWNER/NAME, as in hub:ada/flowers", "check the spelling")
    return match[1], match[2]


def _opened(source: Pack | Run | Path | str) -> tuple[_Kind, Pack | Run]:
    if isinstance(source, Pack):
        on_this_machine(source.path, "a pack to push")
        return PACK, source
    if isinstance(source, Run):
        return RUN, source
    on_this_machine(source, "a pack to push")
    for kind, opened in ((PACK, open_pack), (RUN, open_run)):
        if (Path(source) / kind.first).exists():
            return kind, opened(source)
    found = f"{source} holds neither manifest.json nor run.json" if Path(source).exists() else f"nothing at {source}"
    raise HubError(found, "a pack or a run", "check the path")


def _found(hub: Any, api: Any, repo: str, revision: str | None, source: str) -> tuple[_Kind, list[str]]:
    for kind in (PACK, RUN):
        try:  # one try first: the list of files is asked for again and again where nothing answers
            api.repo_info(repo, repo_type=kind.repo_type, revision=revision, timeout=_SECONDS_TO_ANSWER)
            names = api.list_repo_files(repo, repo_type=kind.repo_type, revision=revision)
        except hub.errors.RepositoryNotFoundError:
            continue
        if kind.first in names:
            return kind, names
    raise HubError(
        f"no pack or run at {source} that you may see",
        "a repository that imagemint push wrote",
        f"check the name; a private one needs HF_TOKEN or hf auth login; for others' images: imagemint pack {source}",
    )


def _check(kind: _Kind, folder: Path, source: str) -> None:
    """What came is what was sent: the fingerprint of a pack, the hash of a run's weights."""
    if kind is PACK:
        pack = open_pack(folder)
        if fingerprint_of(pack) != pack.fingerprint:
            found = f"the images or labels at {source} are not those that its fingerprint stands for"
            raise PackError(found, "the files as they were pushed", "ask its owner to push it again")
        return
    run = open_run(folder)
    state = run.state()
    if files.sha256(run.newest() / "weights.safetensors") != state.weights:
        raise RunError(
            f"the weights at {source} are not those of its state.json",
            "the files as they were pushed",
            "ask its owner to push it again",
        )


def _without_paths(file: Path) -> bytes:
    """run.json without the place of the training pack on somebody's disk."""
    tree = files.read_json(file)
    if isinstance(tree.get("pack"), dict):
        tree["pack"]["path"] = None
    return files.to_json(tree, indent=1).encode()
