"""MLflow's page in a real browser: a run that imagemint posted shows its curves and its samples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="tracking needs the extra: pip install 'imagemint[track]'")
from imagemint.tracking.follow import track
from tests.test_tracking import Server, digits, on_server, run, server, trained  # noqa: F401 (fixtures)

CHROMIUM = Path("/usr/bin/chromium")
SOON = 120_000  # milliseconds


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_curves_and_samples_are_seen(
    server: Server,  # noqa: F811
    run: Any,  # noqa: F811
    request: pytest.FixtureRequest,
) -> None:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the browser tests need playwright: pip install 'imagemint[dev]'"
    )
    if not CHROMIUM.is_file():
        pytest.skip(f"the browser tests need Debian's chromium at {CHROMIUM}")
    track(run.path, f"mlflow:{server.uri}")
    _, posted = on_server(server, run)
    away: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(SOON)
        page.on("request", lambda asked: away.append(asked.url) if "//127.0.0.1" not in asked.url else None)
        home = f"{server.uri}/#/experiments/{posted.info.experiment_id}/runs/{posted.info.run_id}"
        page.goto(f"{home}/model-metrics")
        page.get_by_text(re.compile("^loss_d")).first.wait_for()
        page.locator(".js-plotly-plot, svg.main-svg, canvas").first.wait_for()
        shots = request.config.rootpath / "screenshots"
        if shots.is_dir():  # `mkdir screenshots` to look at them
            page.wait_for_timeout(3000)
            page.screenshot(path=str(shots / "mlflow-curves.png"))
        newest = run.samples()[-1].name
        page.goto(f"{home}/artifacts/samples/{newest}")
        page.get_by_text(newest).first.wait_for()
        picture = page.locator("img[src^='blob:'], img[src*='get-artifact'], .image-outer-container img").first
        picture.wait_for()
        assert picture.evaluate("each => each.naturalWidth") > 100, "the grid itself, and no broken picture"
        if shots.is_dir():
            page.wait_for_timeout(1000)
            page.screenshot(path=str(shots / "mlflow-samples.png"))
        browser.close()
    assert not [url for url in away if not url.startswith(("data:", "blob:"))]
