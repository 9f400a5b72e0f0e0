"""A search in place of a grid: settings proposed by Optuna's samplers, which learn from the rows so far."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from imagemint import seeds
from imagemint.errors import SweepError
from imagemint.metrics.measures import Measure
from imagemint.sweeps.plan import Between, Cell, SweepPlan


class Searcher:
    """Proposals for one pack, recipe and variant. The same seed and the same answers give the same proposals."""

    def __init__(self, plan: SweepPlan, base: Cell) -> None:
        optuna, search = load_optuna(), plan.search
        assert search is not None
        self._optuna, self._plan, self._base = optuna, plan, base
        seed = seeds.derive(search.seed, f"sweep {base.words}") >> 32
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        direction = "minimize" if plan.metric.direction == "lower" else "maximize"
        self._study = optuna.create_study(sampler=samplers[search.sampler](seed=seed), direction=direction)
        self._space = {key: self._distribution(values) for key, values in search.space.items()}
        self._asked: list[Any] = []

    def ask(self, count: int) -> list[Cell]:
        """The next settings to try."""
        self._asked = [self._study.ask(self._space) for _ in range(count)]
        base = self._base
        return [Cell(base.pack, base.recipe, base.variant, dict(each.params)) for each in self._asked]

    def tell(self, found: Sequence[Sequence[Measure | None]]) -> None:
        """What came of each, in the order of `ask`: the measures of its seeds, None where a trial failed."""
        for asked, measures in zip(self._asked, found, strict=True):
            values = [each.value for each in measures if each is not None]
            if len(values) == len(measures):
                self._study.tell(asked, fmean(values))
            else:
                self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)

    def _distribution(self, values: Between | tuple[Any, ...]) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(values, Between):
            return kinds.CategoricalDistribution(values)
        whole = isinstance(values.low, int) and isinstance(values.high, int)
        kind = kinds.IntDistribution if whole else kinds.FloatDistribution
        return kind(values.low, values.high, log=values.log)


def load_optuna() -> Any:
    """The module optuna, silenced. Raises SweepError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise SweepError(
            "a plan with search, and optuna is not installed", "the extra cluster", "pip install 'imagemint[cluster]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
