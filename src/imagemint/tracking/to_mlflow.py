"""Posting to MLflow. What is posted twice is there once: runs are found by a tag, values by name, step and time."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from imagemint.runs import Run
from imagemint.tracking.news import News, Position, Value, identity, parameters, tags
from imagemint.tracking.targets import Unreachable
from imagemint.words import first_line, shown

EXPERIMENT = "imagemint"  # of runs, unless MLFLOW_EXPERIMENT_NAME says another
_ID = "imagemint.id"
_VALUES, _PARAMETERS = 1000, 100  # most per request that MLflow takes
_STATES = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_SETTINGS = {  # of MLflow's client, where nobody has set them
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # we try again ourselves
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Mlflow:
    """A client of one server (or database) and one experiment."""

    def __init__(self, uri: str, experiment: str = "") -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)

    def post(self, run: Run, news: News, *, checkpoints: bool = False) -> Position:
        """Send all news of a run; what the position is then. Raises Unreachable."""
        with in_words():
            remote, begun = self.begin(run.path, news.then, tags(run), parameters(run))
            self.values(remote, news.values, begun)
            for path in news.samples:
                self.client.log_artifact(remote, str(path), "samples")
            if news.looks:
                self._picture(remote, "logits.png", _logits(run.lines("watch.jsonl")))
            findings = run.findings()
            if news.findings:
                self.client.log_text(remote, "\n".join(map(str, findings)) + "\n", "findings.txt")
                self._tags(remote, {f"finding.{each.name}": shown(str(each))[:500] for each in news.findings})
            if checkpoints:
                self.client.log_artifacts(remote, str(run.newest()), f"checkpoints/{run.newest().name}")
            self.end(remote, news.state.state, news.state.reason, run.images_seen, run.target)
        return news.then.model_copy(update={"remote": remote, "begun": begun})

    def begin(
        self, folder: Path, position: Position, tags: Mapping[str, str], parameters: Mapping[str, str]
    ) -> tuple[str, int]:
        """The server's id of a folder's run, and when it began; made if the server has none."""
        if position.remote:
            return position.remote, position.begun
        name = identity(folder)
        experiment = self._experiment()
        found = self.client.search_runs([experiment], f"tags.`{_ID}` = '{name}'", max_results=1)
        if found:
            return str(found[0].info.run_id), int(found[0].info.start_time)
        begun = int(time.time() * 1000)
        made = self.client.create_run(experiment, begun, {_ID: name, **tags}, folder.absolute().name)
        remote = str(made.info.run_id)
        self._parameters(remote, parameters)
        return remote, begun

    def values(self, remote: str, values: Sequence[Value], begun: int) -> None:
        """Values by images seen. The time of each follows from its images, so that twice the same is once."""
        from mlflow.entities import Metric

        metrics = [Metric(_key(name), value, begun + seen, seen) for name, seen, value in values]
        for start in range(0, len(metrics), _VALUES):
            self.client.log_batch(remote, metrics=metrics[start : start + _VALUES])

    def end(self, remote: str, state: str, reason: str, seen: int, target: int) -> None:
        """State and progress."""
        self._tags(
            remote,
            {"imagemint.state": state, "imagemint.reason": reason, "imagemint.progress": f"{seen:,} of {target:,}"},
        )
        if state == "running":
            self.client.update_run(remote, status="RUNNING")
        else:
            self.client.set_terminated(remote, _STATES[state])

    def text(self, remote: str, text: str, name: str) -> None:
        """A file of text."""
        self.client.log_text(remote, text, name)

    def file(self, remote: str, path: Path) -> None:
        """A file as it is."""
        self.client.log_artifact(remote, str(path))

    def _tags(self, remote: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(remote, tags=[RunTag(_key(key), value) for key, value in tags.items()])

    def _parameters(self, remote: str, parameters: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        params = [Param(_key(key), value) for key, value in parameters.items()]
        for start in range(0, len(params), _PARAMETERS):
            self.client.log_batch(remote, params=params[start : start + _PARAMETERS])

    def _picture(self, remote: str, name: str, png: bytes) -> None:
        with TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(png)
            self.client.log_artifact(remote, str(Path(folder) / name))

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(self.client.create_experiment(self.experiment))
            except MlflowException:  # another trainer has just made it
                found = self.client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        return str(found.experiment_id)


@contextmanager
def in_words() -> Iterator[None]:
    """Whatever the server or the network says against it, as Unreachable."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (MlflowException, RequestException, ConnectionError, TimeoutError) as error:
        raise Unreachable(first_line(error)) from None


def _key(name: str) -> str:
    """A name with the letters that MLflow takes."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-./ ") else "_" for letter in name)


def _logits(looks: Sequence[Mapping[str, Any]]) -> bytes:
    """D's logits over the training as on the run's page, as PNG."""
    from matplotlib.figure import Figure

    from imagemint.pages.run_figures import SIDES, draw_logits

    figure = Figure((8, 4), layout="constrained")
    for axes, side in zip(figure.subplots(1, 2), SIDES, strict=True):
        draw_logits(axes, looks, side)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()
