"""Judge: measures, copies beside their neighbours, studies with live rows, the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from imagemint.config import recipe_names
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ImagemintError
from imagemint.studio import paths, views
from imagemint.studio.actions import JUDGE_IMAGES
from imagemint.studio.form import study_fields
from imagemint.studio.jobs import Seen
from imagemint.studio.parts import JOBS, Live, newest, sentence
from imagemint.studio.train_page import component

_FIRST = ("budgets", "repeats", "images", "minted_per_class", "classifier_images")


def build(live: Live) -> None:
    """Put the page together."""
    studio = live.studio
    fields = study_fields()
    first = [each for each in fields if each.key in _FIRST]
    rest = [each for each in fields if each.key not in _FIRST]
    said = gr.HTML()
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown("### Measure minted images")
            minted = live.choice("packs", "Minted images", minted=True)
            against = live.choice("packs", "Real images to compare with", prefer="/train", minted=False)
            at_least = gr.Number(JUDGE_IMAGES, precision=0, minimum=1, label="Images that the judge sees, at least")
            measure = gr.Button("Measure", variant="primary")
            gr.Markdown("### Study: do they help a classifier?")
            pack = live.choice("packs", "Real images to learn from", prefer="/train", minted=False)
            test = live.choice("packs", "Real images to test on", prefer="/test", minted=False)
            recipe = gr.Dropdown(recipe_names(), value="demo", label="Recipe that mints")
            name = gr.Textbox(label="Name of the new study", value="study")
            inputs = [component(each) for each in first]
            with gr.Accordion(f"All {len(rest)} other settings of a study", open=False):
                inputs += [component(each) for each in rest]
            start = gr.Button("Study", variant="primary")
        with gr.Column(min_width=280, scale=2):
            study = live.choice("studies", "Study to look at")
            report = gr.HTML(min_height=100)
            measures = gr.HTML()

    measure.click(
        sentence(lambda *given: views.started(studio.measure(*given))),
        [minted, against, at_least],
        said,
        api_name="measure",
    )

    def begin(pack: str, test: str, recipe: str, name: str, *values: Any) -> str:
        settings = {each.key: value for each, value in zip([*first, *rest], values, strict=True)}
        return views.started(studio.study(pack, test, recipe, name, settings))

    start.click(sentence(begin), [pack, test, recipe, name, *inputs], said, api_visibility="private")

    def study_path(chosen: str) -> Any:
        return studio.folder / paths.old_path(studio.folder, "studies", chosen)

    def job_of(chosen: str, jobs: Sequence[Seen]) -> Seen | None:
        return next((each for each in jobs if each.asked.result == f"studies/{chosen}"), None)

    def study_key(chosen: str | None, jobs: Sequence[Seen]) -> Any:
        if not chosen:
            return None
        rows, job = study_path(chosen) / "rows.jsonl", job_of(chosen, jobs)
        return rows.stat().st_size if rows.is_file() else 0, job and job.state

    def show_study(chosen: str | None, jobs: Sequence[Seen]) -> str:
        return views.study_view(study_path(chosen), job_of(chosen, jobs)) if chosen else ""

    live.add(report, [study, JOBS], study_key, show_study)

    def measure_key(jobs: Sequence[Seen]) -> Any:
        job = newest(jobs, "measure")
        return job and (job.number, job.state)

    def show_measures(jobs: Sequence[Seen]) -> str:
        job = newest(jobs, "measure")
        found = studio.measured(job) if job else None
        if job is None or found is None:
            return views.jobs_now([job]) if job else ""
        words = job.asked.words
        return views.measures_view(found, _opened(studio.folder, words[1]), _opened(studio.folder, words[3]))

    live.add(measures, [JOBS], measure_key, show_measures)


def _opened(folder: Any, path: str) -> Pack | None:
    try:
        return open_pack(folder / path)
    except ImagemintError:  # removed since: the numbers stay
        return None
