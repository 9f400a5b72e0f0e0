"""Train: the form is made from the recipe's schema; curves, samples and findings while it trains."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagemint.config import load_recipe, recipe_names
from imagemint.recipe_list import recipe_list
from imagemint.studio import paths, views
from imagemint.studio.form import Field, recipe_fields
from imagemint.studio.parts import Live, sentence

_FIRST = ("images", "epochs", "components")  # what people change most; the rest is folded away


def build(live: Live) -> None:
    """Put the page together."""
    studio = live.studio
    said = gr.HTML()
    about = {each["name"]: each["about"] for each in recipe_list().facts["recipes"]}
    with gr.Row():
        with gr.Column(min_width=280):
            pack = live.choice("packs", "Pack to train on", prefer="/train", minted=False)
            recipe = gr.Dropdown(recipe_names(), value="demo", label="Recipe")
            gr.HTML(views.recipes_table(about))
            # Only the form below takes these; gradio does not see that, and would show them as if they were results.
            name = gr.Textbox(label="Name of the new run", value="first", interactive=True)
            seed = gr.Number(0, precision=0, label="Seed", info="Seed of everything random.", interactive=True)

            def form(chosen: str) -> None:
                fields = recipe_fields(load_recipe(chosen))
                first = [each for each in fields if each.key in _FIRST]
                rest = [each for each in fields if each.key not in _FIRST]
                inputs = [component(each) for each in first]
                with gr.Accordion(f"All {len(rest)} other settings of the recipe", open=False):
                    inputs += [component(each) for each in rest]
                start = gr.Button("Train", variant="primary", elem_id="im-train")

                def begin(pack: str, name: str, seed: int, *values: Any) -> str:
                    settings = {each.key: value for each, value in zip([*first, *rest], values, strict=True)}
                    return views.started(studio.train(pack, chosen, name, settings, int(seed or 0)))

                start.click(sentence(begin), [pack, name, seed, *inputs], said, api_visibility="private")

            gr.render(inputs=[recipe])(form)

        with gr.Column(min_width=280, scale=2):
            run = live.choice("runs", "Run to look at")
            with gr.Row():
                stop = gr.Button("Stop the newest training")
                resume = gr.Button("Resume the newest training")
            look = gr.HTML(min_height=100)

    def newest() -> int | None:
        job = studio.jobs.newest("train")
        return job.number if job else None

    stop.click(sentence(lambda: views.started(studio.jobs.stop(newest()))), None, said, api_name="stop_training")
    resume.click(
        sentence(lambda: views.started(studio.jobs.resume(newest()))), None, said, api_name="resume_training"
    )

    def key(chosen: str | None) -> Any:
        if not chosen:
            return None
        path = studio.folder / paths.old_path(studio.folder, "runs", chosen)
        return [f.stat().st_size if f.is_file() else 0 for f in (path / "log.jsonl", path / "watch.jsonl")]

    def show(chosen: str | None) -> str:
        if not chosen:
            return ""
        return views.run_view(studio.folder / paths.old_path(studio.folder, "runs", chosen))

    live.add(look, [run], key, show)


def component(field: Field) -> Any:
    """The part of a form for one field."""
    said = {"value": field.value, "label": field.label, "info": field.help or None, "interactive": True}
    return gr.Dropdown(list(field.choices), **said) if field.choices else gr.Textbox(**said)
