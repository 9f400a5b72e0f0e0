"""Mint: labelled images from a run, beside real ones, and a zip to take away."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagemint.data.pack import open_pack
from imagemint.studio import paths, views
from imagemint.studio.parts import Live, sentence


def build(live: Live) -> None:
    """Put the page together."""
    studio = live.studio
    said = gr.HTML()
    with gr.Row():
        with gr.Column(min_width=280):
            run = live.choice("runs", "Run to mint from")
            name = gr.Textbox(label="Name of the new pack", value="minted")
            count = gr.Number(100, precision=0, minimum=1, label="Images per class")
            screen = gr.Checkbox(
                label="Screen", info="Keep images to whose class a classifier gives a probability of at least 0.9."
            )
            copies = gr.Checkbox(label="Leave out copies", info="Of training images.")
            mint = gr.Button("Mint", variant="primary")
            step = gr.Button("Walk through what the run can draw")
            steps = gr.HTML()
        with gr.Column(min_width=280, scale=2):
            pack = live.choice("packs", "Pack to look at", minted=True)
            zipped = gr.Button("Make a zip of labelled images")
            file = gr.File(label="The zip", interactive=False, visible=False)
            look = gr.HTML(min_height=100)

    def mint_it(run: str, name: str, count: float, screen: bool, copies: bool) -> str:
        return views.started(studio.mint(run, name, int(count or 0), screen, copies))

    mint.click(sentence(mint_it), [run, name, count, screen, copies], said, api_name="mint")
    step.click(sentence(lambda chosen: views.started(studio.walk(chosen))), run, said, api_name="walk")

    def walk_key(chosen: str | None) -> Any:
        path = studio.folder / studio.walk_of(chosen) if chosen else None
        return path.stat().st_mtime_ns if path and path.is_file() else None

    def show_walk(chosen: str | None) -> str:
        path = studio.folder / studio.walk_of(chosen) if chosen else None
        return views.walk_view(path) if path and path.is_file() else ""

    live.add(steps, [run], walk_key, show_walk)
    zipped.click(
        sentence(lambda chosen: str(studio.download(chosen))),
        pack,
        file,
        api_name="download",
    ).success(lambda: gr.update(visible=True), None, file, api_visibility="private")

    def show(chosen: str | None) -> Any:
        if not chosen:
            return ""
        path = studio.folder / paths.old_path(studio.folder, "packs", chosen)
        return views.minted_view(path, studio.real_of(open_pack(path)))

    def key(chosen: str | None) -> bool:
        return bool(chosen) and bool(paths.old_path(studio.folder, "packs", chosen))

    live.add(look, [pack], key, show)
