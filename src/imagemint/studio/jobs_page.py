"""Jobs: everything that was asked, with its state, its log and the command that does the same."""

from __future__ import annotations

import gradio as gr

from imagemint.studio import views
from imagemint.studio.parts import JOBS, Live, sentence


def build(live: Live) -> None:
    """Put the page together."""
    jobs = live.studio.jobs
    said = gr.HTML()
    with gr.Row():
        number = gr.Number(None, precision=0, minimum=1, label="Number of the job")
        stop, resume, log = gr.Button("Stop"), gr.Button("Resume"), gr.Button("Show its log")
    text = gr.Textbox(label="Log", lines=8, max_lines=20, interactive=False)
    table = gr.HTML()
    stop.click(sentence(lambda n: views.started(jobs.stop(n))), number, said, api_name="stop")
    resume.click(sentence(lambda n: views.started(jobs.resume(n))), number, said, api_name="resume")
    log.click(sentence(lambda n: jobs.get(n).said), number, text, api_name="log")

    live.add(table, [JOBS], lambda seen: seen, views.jobs_table)
