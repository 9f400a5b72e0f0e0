"""The studio put together: a tab for each page, one timer for all that changes, and the functions of its API."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagemint.errors import ArgumentError, ImagemintError, StudioError
from imagemint.studio import paths
from imagemint.studio.jobs import opened

if TYPE_CHECKING:
    from imagemint.studio.actions import Studio

PORT = 7860
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECONDS = 2.0  # between looks at the folder
_CSS = """
.im-frame{width:100%;height:75vh;border:1px solid #cfd6da;border-radius:10px;background:#f7f7f4}
.im-now p{margin:2px 0;overflow-wrap:anywhere}
.im-jobs{overflow-x:auto}
.im-jobs td,.im-jobs th{padding:6px 10px;text-align:left;vertical-align:top}
.im-walk{max-width:100%;min-width:160px;image-rendering:pixelated}
.im-verdict{font-size:19px;line-height:1.4}
"""


def build(studio: Studio) -> Any:
    """The whole page as gradio's Blocks."""
    import gradio as gr

    from imagemint.studio import data_page, jobs_page, judge_page, mint_page, start_page, train_page, views
    from imagemint.studio.parts import JOBS, Live, sentence

    live = Live(studio)
    with gr.Blocks(title="imagemint studio", analytics_enabled=False) as page:
        gr.Markdown("# imagemint studio")
        now = gr.HTML()
        live.add(now, [JOBS], views.jobs_now, views.jobs_now)
        pages = {
            "Start": start_page,
            "Data": data_page,
            "Train": train_page,
            "Mint": mint_page,
            "Judge": judge_page,
            "Jobs": jobs_page,
        }
        with gr.Tabs():
            for name, each in pages.items():
                with gr.Tab(name):
                    each.build(live)
        live.bind(gr.Timer(_SECONDS), page)

        def train(pack: str, recipe: str, name: str, settings: dict[str, Any], seed: float = 0) -> dict[str, Any]:
            """Train; `settings` by dotted key."""
            return _facts(studio.train(pack, recipe, name, settings, int(seed)))

        def study(pack: str, test: str, recipe: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
            """Study; `settings` by field of a study."""
            return _facts(studio.study(pack, test, recipe, name, settings))

        def job(number: float) -> dict[str, Any]:
            """A job; 0: the newest."""
            found = studio.jobs.all()
            return _facts(studio.jobs.get(int(number)) if number or not found else found[0])

        for function in (train, study, job):
            gr.api(sentence(function), api_name=function.__name__)
    return page


def _facts(job: Any) -> dict[str, Any]:
    return {"number": job.number, "state": job.state, "command": job.asked.command, "sentence": job.sentence}


def serve(
    folder: Path, *, port: int = PORT, host: str = "127.0.0.1", auth: str | None = None, at_once: int = 1
) -> None:
    """Open the studio on a folder and serve it until Ctrl-C. Raises ImagemintError, before anything is written.

    `auth`: USER:PASSWORD, without which no other `host` than loopback is served. Jobs that run go on afterwards.
    """
    user, _, password = (auth or "").partition(":")
    if auth is not None and not (user and password):
        raise ArgumentError("--auth without user or password", "USER:PASSWORD", "say for example --auth ann:secret")
    if host not in _LOOPBACK and not auth:
        wanted = "a password, since other machines can reach that address"
        raise ArgumentError(f"--host {host} without --auth", wanted, "add --auth USER:PASSWORD")
    _offline()
    if importlib.util.find_spec("gradio") is None:
        found, wanted = "gradio is not installed", "the extra `studio`"
        raise ImagemintError(found, wanted, "pip install 'imagemint[studio]'")
    _check_port(host, port)
    with opened(folder):  # all that can be refused is refused; torch and gradio take seconds to load
        from imagemint.studio.actions import Studio

        os.environ["GRADIO_TEMP_DIR"] = str((folder / "uploads").resolve())
        studio = Studio(folder, at_once)
        for name in (*paths.MARKS, "jobs", "incoming", "uploads"):
            (folder / name).mkdir(exist_ok=True)
        page, over = build(studio), threading.Event()
        threading.Thread(target=_start_waiting, args=(studio, over), daemon=True).start()
        try:
            page.launch(
                server_name=host,
                server_port=port,
                auth=(user, password) if auth else None,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                enable_monitoring=False,
                footer_links=[],
                max_file_size=paths.MOST_BYTES,
                theme=_theme(),
                css=_CSS,
            )
            print(
                f"imagemint studio: http://{host}:{port}/ (folder {folder}; Ctrl-C ends it, its jobs go on)",
                flush=True,
            )
            over.wait()
        finally:
            over.set()
            page.close(verbose=False)


def _theme() -> Any:
    """Fonts of the system, so that none is fetched; colours that can be read on their ground."""
    import gradio as gr

    base = gr.themes.Base(
        primary_hue="emerald", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
    )
    light, dark = "#56616a", "#aab4be"
    return base.set(
        body_text_color_subdued=light,
        body_text_color_subdued_dark=dark,
        block_info_text_color=light,
        block_info_text_color_dark=dark,
        button_primary_background_fill="#0b7a55",
        button_primary_background_fill_hover="#096446",
        button_primary_background_fill_dark="#0b7a55",
        color_accent="#0b7a55",
    )


def _offline() -> None:
    """Nothing is asked of or told to any other machine."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", GRADIO_NUM_PORTS="1")
    if sys.platform == "win32":
        raise StudioError("the studio on Windows", "Linux, macOS or WSL", "start it in WSL")


def _check_port(host: str, port: int) -> None:
    if not 1 <= port <= 65_535:
        raise ArgumentError(f"--port {port}", "1 to 65,535", "choose a value in this range")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        wanted, remedy = "an address and a port that are free", f"say another --port, such as {port % 65_535 + 1}"
        raise ArgumentError(f"{host} port {port} ({error.strerror})", wanted, remedy) from None


def _start_waiting(studio: Studio, over: threading.Event) -> None:
    while not over.wait(1.0):
        try:
            studio.jobs.start_waiting()
        except OSError as error:  # a full disk: the jobs wait until there is room
            print(f"imagemint studio: {error}", file=sys.stderr)
