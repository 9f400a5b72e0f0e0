"""Data: pack an upload, look at packs, edit and split them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from imagemint.studio import paths, views
from imagemint.studio.actions import EDITS, SAMPLE
from imagemint.studio.parts import Live, sentence


def build(live: Live) -> None:
    """Put the page together."""
    studio = live.studio
    said = gr.HTML()
    with gr.Row():
        with gr.Column(min_width=280):
            upload = gr.File(label="A zip or tar of photos", type="filepath", height=120)
            other = gr.Dropdown(
                [SAMPLE, *paths.incoming(studio.folder)],
                label="Or what lies on this machine",
                info=f"Folders and archives in {Path('incoming')} of the studio's folder; {SAMPLE} is the sample.",
                allow_custom_value=True,
                value=None,
            )
            name = gr.Textbox(label="Name of the new pack", info="Empty: the name of the upload.")
            size = gr.Textbox(label="Size in pixels", info="32, or 48x64 (height x width). Empty: as found.")
            make = gr.Button("Pack", variant="primary")
        with gr.Column(min_width=280):
            pack = live.choice("packs", "Pack")
            verb = gr.Dropdown(list(EDITS), value="slice", label="Edit")
            value = gr.Textbox(label="Value of the edit", info="Images per class, width, old=new, ...")
            edited = gr.Textbox(label="Name of the edited pack")
            edit = gr.Button("Edit")
            share = gr.Slider(0.05, 0.5, 0.2, step=0.05, label="Share of the test images of a split")
            split = gr.Button("Split into train and test")
    sheet = gr.HTML(min_height=100)

    def pack_it(file: str | None, source: str | None, name: str, size: str) -> str:
        return views.started(studio.pack(file or source or "", name, size))

    make.click(sentence(pack_it), [upload, other, name, size], said, api_name="pack")
    edit.click(
        sentence(lambda *given: views.started(studio.edit(*given))),
        [pack, verb, value, edited],
        said,
        api_name="edit",
    )
    split.click(sentence(lambda *given: views.started(studio.split(*given))), [pack, share], said, api_name="split")

    def show(chosen: str | None) -> Any:
        if not chosen:
            return ""
        return views.pack_view(studio.folder / paths.old_path(studio.folder, "packs", chosen))

    live.add(sheet, [pack], lambda chosen: _exists(studio.folder, chosen), show)


def _exists(folder: Path, chosen: str | None) -> bool:
    return bool(chosen) and (folder / paths.path_of(folder, "packs", chosen or "") / "manifest.json").is_file()
