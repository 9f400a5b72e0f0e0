"""Are wrong signs and constants noticed? Random mutants of the modules that every number depends on, one by one.

    pip install -e '.[dev,mutants]'
    python benchmarks/mutants.py --sample 300 --seed 0 --out mutants.jsonl     # goes on where it stopped
    python benchmarks/mutants.py --out mutants.jsonl --again                   # the survivors, with new tests
    python benchmarks/mutants.py --out mutants.jsonl --report

Operators are cosmic-ray's; a sample is drawn evenly from all that they can do to all modules, type annotations and
`if __name__` aside. Each is tried in a copy of the working tree, against the tests of its module alone, which stop at
the first failure. A mutant is noticed if a test fails, or if the tests take ten times as long as without it.

Tests run in forks of this process, which has imported torch and the like once: that is most of what a mutant costs.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from imagemint.files import append_line, read_lines

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/imagemint")
# What every fork has already imported: nothing of imagemint's own, which must come from the mutated copy.
SHARED = ("torch", "pytest", "pydantic", "typer", "scipy.stats", "sklearn.linear_model", "torchmetrics")
# What is mutated -> the tests that must notice, the quickest first. Of several rows for a file the last counts.
TESTS: dict[str, str] = {
    "seeds.py": "tests/test_seeds.py tests/data/test_batches.py tests/data/test_split.py",
    "losses.py": "tests/test_losses.py tests/training/test_semi.py tests/training/test_step.py "
    "tests/training/test_rules.py",
    "augment.py": "tests/test_augment.py",
    "training/step.py": "tests/training/test_step.py tests/test_losses.py tests/training/test_semi.py "
    "tests/training/test_optimisers.py tests/training/test_loop.py",
    "training/choice.py": "tests/training/test_choice.py",
    "training/watch/*.py": "tests/training/test_rules.py tests/training/test_measure.py tests/training/test_watch.py",
    "data/split.py": "tests/data/test_split.py",
    "data/duplicates.py": "tests/data/test_duplicates.py tests/data/test_inspection.py tests/data/test_split.py "
    "tests/studies/test_leaks.py",
    "classifiers/*.py": "tests/classifiers/test_kinds.py tests/classifiers tests/metrics/test_measures.py",
    "classifiers/outside.py": "tests/classifiers/test_outside.py tests/classifiers/test_kinds.py",
    "metrics/*.py": "tests/metrics/test_comparison.py tests/metrics",
    "metrics/copies.py": "tests/metrics/test_copies.py tests/metrics/test_screen.py tests/metrics/test_measures.py",
    "metrics/nearest.py": "tests/metrics/test_copies.py tests/metrics/test_screen.py tests/metrics/test_measures.py",
    "metrics/screen.py": "tests/metrics/test_screen.py",
    "metrics/scores.py": "tests/metrics/test_scores.py tests/metrics/test_distances.py",
    "metrics/frechet.py": "tests/metrics/test_frechet.py tests/metrics/test_distances.py",
    "metrics/kernel.py": "tests/metrics/test_distances.py",
    "metrics/manifold.py": "tests/metrics/test_distances.py",
    "metrics/features.py": "tests/metrics/test_measures.py",
    "metrics/judge.py": "tests/metrics/test_measures.py",
    "metrics/measures.py": "tests/metrics/test_comparison.py tests/metrics/test_measures.py",
    "studies/*.py": "tests/studies/test_reading.py tests/studies/test_setup.py tests/studies/test_teaching.py "
    "tests/studies",
    "studies/statistics.py": "tests/studies/test_statistics.py tests/studies/test_verdict.py tests/studies",
    "studies/verdict.py": "tests/studies/test_verdict.py tests/studies",
    "studies/advice.py": "tests/studies/test_advice.py tests/studies",
    "studies/saturation.py": "tests/studies/test_saturation.py tests/studies",
    "studies/plan.py": "tests/studies/test_reading.py tests/studies/test_plan.py tests/studies",
    "studies/discriminators.py": "tests/studies/test_discriminators.py tests/studies",
    "studies/arms.py": "tests/studies/test_reading.py tests/studies/test_arms.py tests/studies",
}


class Mutant(NamedTuple):
    """One change of one file."""

    file: str
    operator: str
    occurrence: int
    line: int
    known_as: str = ""  # the key under which it was tried first

    @property
    def key(self) -> str:
        return self.known_as or f"{self.file}:{self.line} {self.operator} {self.occurrence}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--most", type=int, default=10**9, help="mutants to try before it stops, of those not yet tried"
    )
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON line per mutant")
    parser.add_argument("--only", default="", help="files whose path holds this text")
    parser.add_argument("--again", action="store_true", help="try the survivors of --out again, and nothing else")
    parser.add_argument(
        "--quick", action="store_true", help="run the test files named in TESTS alone, not the folders after them"
    )
    parser.add_argument("--report", action="store_true", help="print what is in --out, and try nothing")
    options = parser.parse_args()
    if not options.report:
        files = {file: tests for pattern, tests in TESTS.items() for file in sorted((ROOT / SOURCE).glob(pattern))}
        names = {
            file.relative_to(ROOT).as_posix(): tests for file, tests in files.items() if file.name != "__init__.py"
        }
        if options.quick:  # a tenth of the time; what survives may be noticed by the folder
            names = {name: only_files(tests) for name, tests in names.items()}
        if options.again:
            survivors = [line for line in newest(options.out) if not line["noticed"] and options.only in line["file"]]
            drawn = [found for line in survivors for found in same_change(line)]
        else:
            every = [mutant for name in names for mutant in mutants(name)]
            drawn = random.Random(options.seed).sample(every, min(options.sample, len(every)))
            print(f"{len(drawn)} of {len(every)} mutants of {len(names)} files", flush=True)
        try_all([mutant for mutant in drawn if options.only in mutant.file], names, options)
    report(newest(options.out))


def only_files(tests: str) -> str:
    """Without the folders, if any file is named.

    >>> only_files("tests/studies/test_plan.py tests/studies")
    'tests/studies/test_plan.py'
    """
    return " ".join(each for each in tests.split() if each.endswith(".py")) or tests


def newest(out: Path) -> list[dict[str, Any]]:
    """The last line of every mutant."""
    return list({line["key"]: line for line in (read_lines(out) if out.exists() else [])}.values())


def same_change(line: dict[str, Any]) -> list[Mutant]:
    """The mutant of a line of results, in a file whose lines may have moved since; none where that code is gone."""
    where, operator, _ = line["key"].split()
    wanted = int(where.rpartition(":")[2])
    found = [each for each in mutants(line["file"]) if each.operator == operator]
    found.sort(key=lambda each: abs(each.line - wanted))
    for each in found:
        if changed(each) == line["change"]:
            return [each._replace(known_as=line["key"])]
    print(f"no longer there: {line['key']}: {line['change']}")
    return []


def changed(mutant: Mutant) -> str:
    """The line as the mutant has it."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    code = (ROOT / mutant.file).read_text(encoding="utf-8")
    mutated = mutate_code(code, plugins.get_operator(mutant.operator)(), mutant.occurrence)
    assert mutated is not None, mutant
    return str(mutated.splitlines()[mutant.line - 1].strip())


def mutants(name: str) -> list[Mutant]:
    """Every change that cosmic-ray's operators can make to a file, but for those in annotations."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    code = (ROOT / name).read_text(encoding="utf-8")
    silent = annotations(code)
    tree, found = get_ast(code), []
    for operator in sorted(plugins.operator_names()):
        kind = plugins.get_operator(operator)
        if kind.arguments():
            continue
        places = ((start, end) for node in ast_nodes(tree) for start, end in kind().mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not any(first <= start < last for first, last in silent):
                found.append(Mutant(name, operator, occurrence, start[0]))
    return found


def annotations(code: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where a file says types, (line, column) of start and end: nothing evaluates them."""
    found: list[Any] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns:
            found.append(node.returns)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found.append(node)
    return [((each.lineno, each.col_offset), (each.end_lineno, each.end_col_offset)) for each in found]


def try_all(drawn: list[Mutant], tests: dict[str, str], options: argparse.Namespace) -> None:
    done = set() if options.again else {line["key"] for line in newest(options.out)}
    missing = [mutant for mutant in drawn if mutant.key not in done][: options.most]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "imagemint"
        skipped = shutil.ignore_patterns(".git", ".venv", "experiments", "__pycache__", "*.egg-info", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=skipped)
        usual: dict[str, float] = {}
        for number, mutant in enumerate(missing, 1):  # as drawn: what is done so far is a sample too
            command = tests[mutant.file]
            if command not in usual:
                started = time.monotonic()
                assert run(copy, command, 3600) == 0, f"without any mutant, {command} fails"
                usual[command] = time.monotonic() - started
            line = tried(copy, mutant, command, 10 * usual[command] + 30)
            append_line(options.out, line)
            print(f"{number}/{len(missing)} {'noticed ' if line['noticed'] else 'SURVIVED'} {mutant.key}", flush=True)


def tried(copy: Path, mutant: Mutant, command: str, limit: float) -> dict[str, Any]:
    from cosmic_ray import plugins
    from cosmic_ray.mutating import use_mutation

    operator = plugins.get_operator(mutant.operator)()
    with use_mutation(copy / mutant.file, operator, mutant.occurrence) as (_, mutated):
        assert mutated is not None, mutant
        change = mutated.splitlines()[mutant.line - 1].strip()
        status = run(copy, command, limit)
    return {"key": mutant.key, "file": mutant.file, "noticed": status != 0, "change": change, "tests": command}


def run(copy: Path, tests: str, limit: float) -> int:
    """The exit status of pytest in the copy; 124 where it takes too long."""
    for name in SHARED:
        importlib.import_module(name)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = in_the_fork(copy, tests)
        finally:
            os._exit(status)
    started = time.monotonic()
    while time.monotonic() - started < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return abs(os.waitstatus_to_exitcode(status))
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


def in_the_fork(copy: Path, tests: str) -> int:
    import pytest

    os.setsid()  # what the tests start ends with them
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(copy), str(copy / "src")]
    for name in [name for name in sys.modules if name.partition(".")[0] == "imagemint"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests.split()]))


def report(lines: list[dict[str, Any]]) -> None:
    """Noticed of tried, by room; then every survivor."""
    rooms = Counter(Path(line["file"]).relative_to(SOURCE).parts[0] for line in lines)
    noticed = Counter(Path(line["file"]).relative_to(SOURCE).parts[0] for line in lines if line["noticed"])
    for room, tried in sorted(rooms.items()):
        print(f"{room}: {noticed[room]} of {tried} noticed")
    print(f"all: {sum(noticed.values())} of {len(lines)} noticed")
    for line in lines:
        if not line["noticed"]:
            print(f"survived: {line['key']}: {line['change']}")


if __name__ == "__main__":
    main()
