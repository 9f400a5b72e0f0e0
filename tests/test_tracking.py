"""What a run logged is on the server once, whatever happens to server and trainer; training never waits for it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import imagemint
from imagemint.errors import RunError, TrackingError
from imagemint.runs import open_run
from tests.ports import free_port

mlflow = pytest.importorskip("mlflow", reason="mlflow is missing (extra track)")
pytest.importorskip("tensorboard", reason="tensorboard is missing (extra track)")

from imagemint.tracking.follow import following, track  # noqa: E402 (only with the extra)
from imagemint.tracking.news import Position, news_of, read_position  # noqa: E402
from imagemint.tracking.targets import Target, target_of  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of MLflow and what it loads
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TINY: dict[str, Any] = {
    "options": {"width": 8},
    "z_size": 4,
    "batch_size": 32,
    "log_every": 32,
    "watch_every": 320,
    "picture_every": 320,
    "checkpoint_every": 320,
}


class Server:
    """A monitor as a process of its own, which can be stopped and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.port = folder, options, free_port()
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "imagemint", "monitor", "--folder", str(self.folder)]
        command += ["--port", str(self.port), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self.process.poll() is not None:
                raise AssertionError(f"the monitor ended with {self.process.returncode}")
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError("the monitor did not start")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take longer to post than a user waits for at the end of a training."""
    monkeypatch.setattr("imagemint.tracking.follow.GRACE", 600.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("monitor"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> imagemint.Pack:
    return imagemint.pack("digits", tmp_path_factory.mktemp("digits") / "digits.pack")


@pytest.fixture(scope="module")
def trained(digits: imagemint.Pack, tmp_path_factory: pytest.TempPathFactory) -> imagemint.Run:
    return imagemint.train(digits, "demo", tmp_path_factory.mktemp("run") / "first", images=960, **TINY)


@pytest.fixture
def run(trained: imagemint.Run, tmp_path: Path) -> imagemint.Run:
    """A copy that nobody has posted yet."""
    shutil.copytree(trained.path, tmp_path / "first")
    return open_run(tmp_path / "first")


def on_server(server: Server, run: imagemint.Run, experiment: str = "imagemint") -> Any:
    """The server's only run of a folder."""
    client = mlflow.MlflowClient(tracking_uri=server.uri)
    known = client.get_experiment_by_name(experiment)
    name = (run.path / "tracking" / "id").read_text()
    (found,) = client.search_runs([known.experiment_id], f"tags.`imagemint.id` = '{name}'")
    return client, found


def history(client: Any, remote: str, name: str) -> list[tuple[int, float]]:
    return sorted((each.step, each.value) for each in client.get_metric_history(remote, name))


def wanted(run: imagemint.Run, name: str) -> list[tuple[int, float]]:
    return [(line["images_seen"], line[name]) for line in run.log() if name in line]


def same(found: list[tuple[int, float]], run: imagemint.Run, name: str, rel: float = 1e-9) -> bool:
    steps, values = zip(*wanted(run, name), strict=True)
    return [step for step, _ in found] == list(steps) and [each for _, each in found] == pytest.approx(
        list(values), rel=rel
    )


def test_everything_is_there_once_however_often_it_is_posted(server: Server, run: imagemint.Run) -> None:
    assert track(run.path, f"mlflow:{server.uri}") > 0
    assert track(run.path, f"mlflow:{server.uri}") == 0, "nothing is new"
    client, found = on_server(server, run)
    shutil.move(run.path / "tracking" / "id", run.path / "id")
    shutil.rmtree(run.path / "tracking")  # a poster that was killed between posting and noting
    (run.path / "tracking").mkdir()
    shutil.move(run.path / "id", run.path / "tracking" / "id")
    assert track(run.path, f"mlflow:{server.uri}") > 0
    client, again = on_server(server, run)
    assert again.info.run_id == found.info.run_id
    for name in ("loss_d", "loss_g", "logit_real"):
        assert same(history(client, found.info.run_id, name), run, name)
    assert found.data.params["recipe.batch_size"] == "32"
    assert found.data.tags["imagemint.pack"] == run.facts.pack.fingerprint
    assert found.data.tags["imagemint.state"] == "finished" and found.info.status == "FINISHED"
    pictures = {each.path for each in client.list_artifacts(found.info.run_id, "samples")}
    assert pictures == {f"samples/{path.name}" for path in run.samples()}
    assert "logits.png" in {each.path for each in client.list_artifacts(found.info.run_id)}
    assert track(run.path, f"mlflow:{server.uri}", checkpoints=True) == 0
    assert client.list_artifacts(found.info.run_id, f"checkpoints/{run.newest().name}")


def test_a_part_and_the_rest_are_the_whole(trained: imagemint.Run) -> None:
    start = Position(target="x")
    whole = news_of(trained, start)
    half = news_of(trained, start.model_copy(update={"log": 10, "watch": 1, "samples": (trained.samples()[0].name,)}))
    assert {path.name for path in half.samples} == {path.name for path in trained.samples()[1:]}
    assert half.then == whole.then and set(half.values) < set(whole.values)
    assert not news_of(trained, whole.then)


def train_command(pack: imagemint.Pack, run: Path, *more: str) -> list[str]:
    settings = [f"--set={key}={value}" for key, value in TINY.items() if key != "options"]
    command = [sys.executable, "-m", "imagemint", "train", str(pack.path), "--recipe", "demo", "--run", str(run)]
    return [*command, "--set=options.width=8", *settings, *more]


def test_three_trainers_post_to_one_server_at_once(server: Server, digits: imagemint.Pack, tmp_path: Path) -> None:
    folders = [tmp_path / f"run{k}" for k in range(3)]
    targets = ["--track", f"mlflow:{server.uri}", "--track", f"tensorboard:{tmp_path}/board"]
    commands = [train_command(digits, folder, "--images", "960", *targets) for folder in folders]
    trainers = [subprocess.Popen(command) for command in commands]
    assert [each.wait(250) for each in trainers] == [0, 0, 0]
    for folder in folders:
        run = open_run(folder)
        track(folder, f"mlflow:{server.uri}")  # what a busy machine had not posted when the training ended
        client, found = on_server(server, run)
        assert same(history(client, found.info.run_id, "loss_d"), run, "loss_d")
        assert found.info.status == "FINISHED"
        assert same(scalars(tmp_path / "board" / folder.name, "loss_d"), run, "loss_d", 1e-5)


def test_a_training_that_loses_its_server_is_posted_later(digits: imagemint.Pack, tmp_path: Path) -> None:
    own = Server(tmp_path / "monitor")
    run = tmp_path / "run"
    try:
        command = train_command(digits, run, "--images", "16000", "--track", f"mlflow:{own.uri}")
        trainer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        key = target_of(f"mlflow:{own.uri}").key
        while not (run / "tracking" / f"{key}.json").exists():
            assert trainer.poll() is None, "it ended before anything was posted"
            time.sleep(0.1)
        own.stop()
        seen = open_run(run).log()[-1]["images_seen"]
        while open_run(run).log()[-1]["images_seen"] < min(seen + 1600, 16000):
            assert trainer.poll() in (None, 0)
            time.sleep(0.1)
        trainer.kill()  # and the trainer is lost too
        trainer.communicate()
        own.start()
        command = train_command(digits, run, "--images", "16000", "--resume", "--track", f"mlflow:{own.uri}")
        assert subprocess.run(command).returncode == 0
        made = open_run(run)
        client, found = on_server(own, made)
        assert same(history(client, found.info.run_id, "loss_d"), made, "loss_d")
        assert found.data.tags["imagemint.state"] == "finished"
    finally:
        own.stop()


class Answering(BaseHTTPRequestHandler):
    """A server that answers 500, or that is none of MLflow's, or that does not answer at all."""

    status, text, hang = 500, b"", threading.Event()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.server.hangs:  # type: ignore[attr-defined]
            self.hang.wait(60)
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    do_POST = do_GET


@pytest.fixture
def other() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    made.status, made.hangs, made.daemon_threads = 500, False, True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    Answering.hang.set()
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("how", ["500", "hangs", "away"])
def test_training_goes_on_without_the_server(
    how: str, other: Any, digits: imagemint.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagemint.tracking.follow.GRACE", 1.0)
    monkeypatch.setattr("imagemint.tracking.targets._SECONDS", 0.5)
    other.hangs = how == "hangs"
    Answering.hang.clear()
    uri = f"http://127.0.0.1:{free_port() if how == 'away' else other.server_port}"
    with following(tmp_path / "run", [f"mlflow:{uri}"]):
        made = imagemint.train(digits, "demo", tmp_path / "run", images=320, **TINY)
    assert made.images_seen == 320
    plain = imagemint.train(digits, "demo", tmp_path / "plain", images=320, **TINY)
    assert made.checkpoint_hash == plain.checkpoint_hash and made.log() == plain.log()
    with pytest.raises(TrackingError, match="post later"):
        track(made.path, f"mlflow:{uri}")


def test_python_posts_as_the_command_line_does(
    digits: imagemint.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run, and its values on the board; of several processes the first alone posts."""
    board = f"tensorboard:{tmp_path}/board"
    made = imagemint.train(digits, "demo", tmp_path / "run", images=320, track=board, **TINY)
    plain = imagemint.train(digits, "demo", tmp_path / "plain", images=320, **TINY)
    assert made.checkpoint_hash == plain.checkpoint_hash
    (folder,) = (tmp_path / "board").iterdir()
    assert same(scalars(folder, "loss_d"), made, "loss_d", rel=1e-5)
    monkeypatch.setenv("RANK", "1")
    with following(tmp_path / "run", f"tensorboard:{tmp_path}/second"):
        pass
    assert not (tmp_path / "second").exists()
    monkeypatch.delenv("RANK")
    with pytest.raises(TrackingError, match="check the spelling"):
        imagemint.train(digits, "demo", tmp_path / "refused", track="mlfow", **TINY)
    assert not (tmp_path / "refused").exists()


def test_what_can_never_be_posted_to_is_refused_before_training(other: Any, tmp_path: Path) -> None:
    other.status = 200
    for wrong, words in {
        "mlfow": "mlflow, mlflow:URI, tensorboard",
        "mlflow:htp://monitor:5000": "check the spelling",
        "mlflow:monitor:5000": "check the spelling",
        f"mlflow:http://127.0.0.1:{other.server_port}": "no MLflow server",
        "tensorboard:/dev/null/x": "folder",
    }.items():
        with pytest.raises(TrackingError, match=words), following(tmp_path / "run", [wrong]):
            raise AssertionError("it began")
    with pytest.raises(RunError, match="neither"):
        track(tmp_path, f"tensorboard:{tmp_path}/board")
    with pytest.raises(RunError, match="refused"), following(tmp_path / "run", [f"tensorboard:{tmp_path}/board"]):
        raise RunError("refused", "before the first file", "nothing is left")
    assert not list(tmp_path.iterdir())


def test_the_state_of_a_training_that_fails_or_is_stopped(server: Server, run: imagemint.Run) -> None:
    for error, state in ((ValueError("no more memory"), "FAILED"), (KeyboardInterrupt(), "KILLED")):
        with pytest.raises(type(error)), following(run.path, [f"mlflow:{server.uri}"]):
            raise error
        _, found = on_server(server, run)
        assert found.info.status == state
    with following(run.path, [f"mlflow:{server.uri}"]):
        pass
    _, found = on_server(server, run)
    assert found.info.status == "FINISHED"


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0}).Reload()
    return [(each.step, each.value) for each in events.Scalars(name)]


def test_tensorboard_has_everything_once(run: imagemint.Run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from imagemint.tracking import follow

    board = tmp_path / "board"
    for _ in range(2):
        track(run.path, f"tensorboard:{board}")
        follow._POSTERS.clear()  # as another process
        follow._WRITTEN.clear()
    folder = board / run.path.name
    assert same(scalars(folder, "loss_d"), run, "loss_d", 1e-5)
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0}).Reload()
    assert [each.step for each in events.Images("samples")] == [int(path.stem) for path in run.samples()]
    assert len(events.Histograms("logits/real")) == len(run.lines("watch.jsonl"))


def test_a_study_is_one_experiment(server: Server, digits: imagemint.Pack, tmp_path: Path) -> None:
    parts = imagemint.split(digits, tmp_path / "parts", test=0.3)
    options: dict[str, Any] = {"arms": "classic,mix+classic", "budgets": "5", "repeats": 1, "classifier_images": 64}
    study = imagemint.study(parts["train"], parts["test"], "ppca", tmp_path / "mine", classifier_epochs=1, **options)
    assert track(study.path, f"mlflow:{server.uri}") > 0
    assert track(study.path, f"mlflow:{server.uri}") == 0
    client = mlflow.MlflowClient(tracking_uri=server.uri)
    known = client.get_experiment_by_name("study mine")
    found = {each.info.run_name: each for each in client.search_runs([known.experiment_id])}
    assert set(found) == {"mine", "5-0"}
    values = {f"{row.arm}.{row.budget}".replace("+", "_"): row.accuracy for row in study.rows}
    assert found["mine"].data.metrics == pytest.approx(values)
    assert "report.html" in {each.path for each in client.list_artifacts(found["mine"].info.run_id)}


def test_monitor_refuses_a_port_in_use_and_a_folder_that_cannot_be(server: Server, tmp_path: Path) -> None:
    from imagemint.tracking.monitor import monitor

    with pytest.raises(TrackingError, match="--port"):
        monitor(tmp_path / "m", port=server.port)
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="choose another"):
        monitor(tmp_path / "file" / "m", port=free_port())


def test_postgresql(digits: imagemint.Pack, run: imagemint.Run, tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is missing (extra track)")
    initdb = shutil.which("initdb") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed")
    bins, port = Path(initdb).resolve().parent, free_port()
    user: dict[str, Any] = {"user": "nobody"} if os.getuid() == 0 else {}  # PostgreSQL does not run as root
    home = tempfile.mkdtemp()
    if user:
        shutil.chown(home, "nobody")
    data = Path(home) / "data"
    init = [str(bins / "initdb"), "-D", str(data), "-U", "mlflow", "-A", "trust"]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)
    options = ["-D", str(data), "-p", str(port), "-k", home, "-c", "listen_addresses=127.0.0.1"]
    postgres = subprocess.Popen([bins / "postgres", *options], stderr=subprocess.DEVNULL, cwd="/", **user)
    try:
        for _ in range(200):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        time.sleep(0.5)
        made = Server(tmp_path / "m", "--backend", f"postgresql://mlflow@127.0.0.1:{port}/postgres")
        try:
            assert track(run.path, f"mlflow:{made.uri}") > 0
            client, found = on_server(made, run)
            assert same(history(client, found.info.run_id, "loss_d"), run, "loss_d")
            assert not (tmp_path / "m" / "mlflow.db").exists()
        finally:
            made.stop()
    finally:
        postgres.send_signal(signal.SIGINT)
        postgres.wait(30)
        shutil.rmtree(home)


def test_a_full_disk_stops_no_training_and_posts_nothing_twice(
    digits: imagemint.Pack, run: imagemint.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagemint import files
    from imagemint.tracking import follow

    write = files.write_json

    def full(path: Path, *values: Any, **options: Any) -> None:
        if path.parent.name == "tracking":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *values, **options)

    target = target_of(f"tensorboard:{tmp_path}/board")
    ended = threading.Event()
    ended.set()
    monkeypatch.setattr(files, "write_json", full)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # that of the tests stays as it is
    with following(run.path, str(target)):
        made = imagemint.train(digits, "demo", tmp_path / "run", images=320, **TINY)
    assert made.images_seen == 320
    with pytest.raises(ValueError, match="of its own"), following(run.path, str(target)):
        raise ValueError("of its own")
    (run.path / "tracking" / f"{target.key}.json").unlink(missing_ok=True)  # of the posters of the two blocks
    for _ in range(2):
        assert follow.follow(run.path, target, ended) != 0
    monkeypatch.setattr(files, "write_json", write)
    assert follow.follow(run.path, target, ended) == 0
    assert same(scalars(tmp_path / "board" / run.path.name, "loss_d"), run, "loss_d", 1e-5)
    assert read_position(run.path, str(target), target.key).log == len(run.log())
    assert track(run.path, target) == 0


def test_a_run_that_is_deleted_while_it_is_posted_ends_the_poster(
    run: imagemint.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagemint.tracking import follow

    monkeypatch.setattr(os, "nice", lambda _: 0)  # that of the tests stays as it is
    target, ended = target_of(f"tensorboard:{tmp_path}/board"), threading.Event()
    gone = tmp_path / "gone"
    shutil.copytree(run.path, gone)
    statuses: list[int] = []
    poster = threading.Thread(target=lambda: statuses.append(follow.follow(gone, target, ended)))
    poster.start()
    while not (tmp_path / "board" / "gone").exists():
        time.sleep(0.05)
    gone.rename(tmp_path / "elsewhere")  # all at once, while the poster may be writing into it
    ended.set()
    poster.join(30)
    assert len(statuses) == 1, "it ended, by a status and not by an error"
    with pytest.raises(RunError, match="nothing at"):
        track(gone, target)


def test_a_position_of_another_target_is_not_taken(run: imagemint.Run) -> None:
    (run.path / "tracking").mkdir(exist_ok=True)
    (run.path / "tracking" / "mlflow-x.json").write_text('{"target": "mlflow:http://a", "log": 5}')
    assert read_position(run.path, "mlflow:http://b", "mlflow-x").log == 0
    assert read_position(run.path, "mlflow:http://a", "mlflow-x").log == 5
    assert str(Target("mlflow", "http://a")) == "mlflow:http://a"
