"""The first page: three buttons lead from photos, or from a sample, to the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from imagemint.studio import views
from imagemint.studio.actions import PATIENCE, SAMPLE, SIZE
from imagemint.studio.jobs import OVER, Seen
from imagemint.studio.parts import JOBS, Live, newest, sentence

_WELCOME = """
**Do images made by a GAN help your classifier?** Take the sample or your own photos (a zip with one folder per
class), then press button 2. A fifth of the images is kept aside for testing; a GAN learns from few of the
others and mints new ones; the same classifier learns with and without them.
"""


def build(live: Live) -> None:
    """Put the page together."""
    studio = live.studio
    gr.Markdown(_WELCOME)
    upload = gr.File(label="Photos: a zip or tar, one folder per class", type="filepath", height=150)
    with gr.Row():
        sample = gr.Button("1. Take the sample: 1,797 handwritten digits", variant="primary")
        mine = gr.Button("1. Take my photos")
    with gr.Row():
        pack = live.choice("packs", "Images to ask about", minted=False)
        patience = gr.Radio(list(PATIENCE), value=next(iter(PATIENCE)), label="How long may it take?")
    find = gr.Button("2. Do minted images help?", variant="primary")
    said = gr.HTML()
    answer = gr.HTML(elem_id="im-answer")
    sheet = gr.HTML()

    def packed(source: str, name: str, size: str) -> Iterator[Any]:
        job = studio.pack(source, name, size)
        yield gr.skip(), views.started(job), gr.skip()
        while job.state not in OVER:
            time.sleep(0.2)
            studio.jobs.start_waiting()
        if job.state == "done":
            made = job.asked.result.removeprefix("packs/")
            yield made, views.started(job), views.pack_view(studio.folder / job.asked.result)
        else:
            raise gr.Error(job.sentence, title="This cannot be packed", print_exception=False)

    @sentence
    def take_sample() -> Any:
        if (studio.folder / "packs" / SAMPLE / "manifest.json").is_file():
            path = studio.folder / "packs" / SAMPLE
            return iter([(SAMPLE, "<p>The sample is there already.</p>", views.pack_view(path))])
        return packed(SAMPLE, SAMPLE, "")

    @sentence
    def take_mine(file: str | None) -> Any:
        return packed(file or "", "", str(SIZE))

    def from_sample() -> Iterator[Any]:
        yield from take_sample()

    def from_mine(file: str | None) -> Iterator[Any]:
        yield from take_mine(file)

    sample.click(from_sample, None, [pack, said, sheet], api_name="sample")
    mine.click(from_mine, upload, [pack, said, sheet], api_name="photos")
    find.click(
        sentence(lambda name, wait: views.started(studio.find_out(name, wait))),
        [pack, patience],
        said,
        api_name="find_out",
    )

    def key(jobs: Sequence[Seen]) -> Any:
        job = newest(jobs, "study")
        return job and (job.number, job.state, _lines(studio.folder / job.asked.result))

    def answered(jobs: Sequence[Seen]) -> str:
        job = newest(jobs, "study")
        if job is None:
            return ""
        path = studio.folder / job.asked.result
        if not (path / "study.json").is_file():
            return views.jobs_now([job])
        return views.verdict(path, job) + views.study_view(path, job)

    live.add(answer, [JOBS], key, answered)


def _lines(path: Any) -> int:
    rows = path / "rows.jsonl"
    return rows.stat().st_size if rows.is_file() else 0
