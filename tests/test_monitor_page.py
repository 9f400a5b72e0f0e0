"""MLflow's page in a real browser: a run that imagemint posted shows its curves and its samples."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="tracking needs the extra: pip install 'imagemint[track]'")
from imagemint.tracking.follow import track
from tests.browser import browser_page, shots
from tests.test_tracking import Server, digits, on_server, run, server, trained  # noqa: F401 (fixtures)

SOON = 120_000  # milliseconds


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_curves_and_samples_are_seen(
    server: Server,  # noqa: F811
    run: Any,  # noqa: F811
    request: pytest.FixtureRequest,
) -> None:
    track(run.path, f"mlflow:{server.uri}")
    _, posted = on_server(server, run)
    folder = shots(request)
    with browser_page(milliseconds=SOON, console=False) as page:
        home = f"{server.uri}/#/experiments/{posted.info.experiment_id}/runs/{posted.info.run_id}"
        page.goto(f"{home}/model-metrics")
        page.get_by_text(re.compile("^loss_d")).first.wait_for()
        page.locator(".js-plotly-plot, svg.main-svg, canvas").first.wait_for()
        if folder:
            page.wait_for_timeout(3000)
            page.screenshot(path=str(folder / "mlflow-curves.png"))
        newest = run.samples()[-1].name
        page.goto(f"{home}/artifacts/samples/{newest}")
        page.get_by_text(newest).first.wait_for()
        picture = page.locator("img[src^='blob:'], img[src*='get-artifact'], .image-outer-container img").first
        picture.wait_for()
        assert picture.evaluate("each => each.naturalWidth") > 100, "the grid itself, and no broken picture"
        if folder:
            page.wait_for_timeout(1000)
            page.screenshot(path=str(folder / "mlflow-samples.png"))
