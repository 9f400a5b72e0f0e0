"""What the pages of the studio share: errors as one sentence, choices, and what keeps itself up to date."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from imagemint.errors import ImagemintError, mendable
from imagemint.studio import paths
from imagemint.studio.actions import Studio
from imagemint.studio.jobs import Seen

Action = Callable[..., Any]
JOBS = "jobs"  # among the inputs of what follows the folder: the jobs, seen once for all of them


def sentence(action: Action) -> Action:
    """What a user can mend becomes one sentence on the page; a bug stays one, with its traceback in the terminal."""

    @functools.wraps(action)
    def checked(*given: Any, **named: Any) -> Any:
        try:
            return action(*given, **named)
        except ImagemintError as error:
            raise gr.Error(str(error), title="This cannot be done", print_exception=False) from None
        except OSError as error:
            words = mendable(error)
            if words is None:
                raise
            raise gr.Error(str(words), title="This cannot be done", print_exception=False) from None

    return checked


class Live:
    """Components that follow the folder: looked at every few seconds, sent only where something has changed."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._rows: list[tuple[Any, Sequence[Any], Action, Action]] = []

    def add(self, component: Any, inputs: Sequence[Any], key: Action, make: Action) -> None:
        """`component` becomes `make(*inputs)` whenever `key(*inputs)`, which is cheap, has another value.

        `inputs` are components and JOBS, which stands for all jobs as they were at the beginning of the look.
        """
        self._rows.append((component, inputs, key, make))

    def choice(self, kind: paths.Kind, label: str, prefer: str = "", minted: bool | None = None) -> Any:
        """A list of the packs, runs or studies that are there; whatever is new is chosen, until a person chooses.

        What a person has chosen stays while it is there; whoever chooses the newest follows the newest again.

        `prefer`: how the name ends of what is rather chosen, such as "/test". `minted`: whether minted packs are
        rather chosen, or any others; None for no difference.
        """
        folder = self.studio.folder

        def newest() -> str | None:
            liked = paths.names(folder, kind)
            if minted is not None:
                liked = [each for each in liked if paths.is_minted(folder, each) == minted] or liked
            liked = [each for each in liked if each.endswith(prefer)] or liked
            return max(liked, key=lambda name: paths.made(folder, kind, name), default=None)

        def followed(kept: str | None) -> Any:
            there = paths.names(folder, kind)
            return gr.update(choices=there, value=kept if kept in there else newest())

        known = paths.names(folder, kind)
        made = gr.Dropdown(known, value=newest(), label=label, allow_custom_value=True, interactive=True)
        kept = gr.State(None)  # what a person has chosen in place of the newest
        made.input(
            lambda chosen: None if chosen == newest() else chosen,
            made,
            kept,
            show_progress="hidden",
            api_visibility="private",
        )
        self.add(made, [kept], lambda kept: tuple(paths.names(folder, kind)), followed)
        return made

    def bind(self, timer: Any, page: Any) -> None:
        """Look at everything now, and at every tick."""
        inputs = list(dict.fromkeys(each for _, given, _, _ in self._rows for each in given if each is not JOBS))
        place = {id(each): k for k, each in enumerate(inputs)}
        seen = gr.State([None] * len(self._rows))

        def look(before: list[Any], *values: Any) -> list[Any]:
            jobs, keys, out = self.studio.jobs.seen(), [], []
            for (_, given, key, make), old in zip(self._rows, before, strict=True):
                own = [jobs if each is JOBS else values[place[id(each)]] for each in given]
                try:
                    now = (key(*own), *(each for each in own if each is not jobs))
                    out.append(gr.skip() if now == old else make(*own))
                except (ImagemintError, FileNotFoundError, NotADirectoryError) as error:
                    now = (type(error), str(error))  # such as a folder that was removed while it is shown
                    out.append(gr.skip() if now == old else gr.update(value=_gone(error)))
                keys.append(now)
            return [keys, *out]

        outputs = [seen, *(component for component, _, _, _ in self._rows)]
        for event in (timer.tick, page.load):
            event(
                look,
                [seen, *inputs],
                outputs,
                show_progress="hidden",
                api_visibility="private",
                trigger_mode="once",
                concurrency_limit=4,
            )


def newest(jobs: Sequence[Seen], *verbs: str) -> Seen | None:
    """The newest job of these verbs."""
    return next((each for each in jobs if each.asked.verb in verbs), None)


def _gone(error: Exception) -> str:
    from imagemint.pages.html import element

    text = (
        str(error) if isinstance(error, ImagemintError) else "What was shown here is no longer there; choose another."
    )
    return element("p", text, class_="im-soft")
