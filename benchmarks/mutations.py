"""Mutation testing: the share of random changes of a package's code that the tests of the package notice.

    python -m benchmarks.mutations study results [--count 20] [--seed 1] [--results logs/mutations.csv]

The script draws a kind of change, all equally often, then a place for it. It makes one change at a time in a
copy of the project. There it runs the files in tests/PACKAGE that import the changed module (all files if
none imports it) until the first failure. They must pass without a change. Each result is appended to the CSV
file at once. A change whose result is in the file is not tested again: to try new tests, delete the lines
that say "survived".
"""

import argparse
import ast
import csv
import difflib
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2  # noqa: F401 - these modules are imported once for the tests of all changes
import pandas  # noqa: F401
import pytest
import sklearn.metrics  # noqa: F401
import torchvision  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
MEMORY = 6 << 30  # bytes of each process: a changed loop may allocate forever
COMPARISONS = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
ARITHMETIC = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr},
}


def changed(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The kind of each possible change of `node`, and the replacement."""
    match node:
        case ast.Compare(left, [op, *ops], right) if type(op) in COMPARISONS:
            yield "comparison", ast.Compare(left, [COMPARISONS[type(op)](), *ops], right)
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield "arithmetic", ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op, values):
            yield "and/or", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield "not", operand
        case ast.Constant(bool(value)):
            yield "boolean", ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield from (("constant", ast.Constant(value + step)) for step in (-1, 1))
        case ast.If(test) | ast.IfExp(test) | ast.While(test):
            rest = {name: value for name, value in ast.iter_fields(node) if name != "test"}
            yield "condition", type(node)(test=ast.UnaryOp(ast.Not(), test), **rest)
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield "statement", ast.Pass()
        case ast.Call(func, args, keywords):
            for place in range(len(keywords)):
                yield "keyword", ast.Call(func, args, keywords[:place] + keywords[place + 1 :])
            if len(args) > 1:
                yield "arguments", ast.Call(func, [args[1], args[0], *args[2:]], keywords)
            if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call | ast.Subscript):
                yield "method", func.value


def places(tree: Any) -> Iterator[Any]:
    """The nodes of `tree`, without those of annotations and decorators."""
    yield tree
    for name, field in ast.iter_fields(tree):
        if name not in ("annotation", "returns", "decorator_list"):
            for node in field if isinstance(field, list) else [field]:
                yield from places(node) if isinstance(node, ast.AST) else ()


class Replacing(ast.NodeTransformer):
    """Replaces the node `old` by `new`."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def draw(package: str, count: int, seed: int) -> Iterator[tuple[tuple[str, ...], Path, str]]:
    """`count` changes: package, seed, place, kind, before and after; the module's path; its new source."""
    found: dict[str, list[tuple[Path, int, int]]] = {}
    for path in sorted((ROOT / "carcls" / package).rglob("*.py")):
        for number, node in enumerate(places(ast.parse(path.read_text()))):
            for which, (kind, _) in enumerate(changed(node)):
                found.setdefault(kind, []).append((path, number, which))
    rng = random.Random(f"{package} {seed}")
    for number in range(count):
        kind = sorted(found)[number % len(found)]
        path, place, which = found[kind].pop(rng.randrange(len(found[kind])))
        tree = ast.parse(path.read_text())
        old = list(places(tree))[place]
        _, new = list(changed(old))[which]
        before = ast.unparse(tree)
        after = ast.unparse(ast.fix_missing_locations(Replacing(old, new).visit(tree)))
        lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "-+"]
        texts = ("; ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
        module = path.relative_to(ROOT)
        yield (package, str(seed), f"{module}:{old.lineno}", kind, *texts), module, after


def tests_of(package: str, module: str) -> list[str]:
    """The test files in tests/PACKAGE that import `module`, or all of them if none does."""
    importing = re.compile(rf"^(from|import) carcls.*\b{module}\b", re.MULTILINE)
    files = sorted((ROOT / "tests" / package).glob("test_*.py"))
    found = [path for path in files if importing.search(path.read_text())] or files
    return [str(path.relative_to(ROOT)) for path in found]


def run_tests(copy: Path, tests: list[str], limit: float) -> str:
    """The outcome of `tests` in the project `copy`, ended at the first failure or after `limit` seconds."""
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(copy, tests))
    process.start()
    process.join(limit)
    result = "noticed" if process.exitcode else "survived" if process.exitcode == 0 else "timeout"
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)  # including processes that a test left running
    process.join()
    return result


def _pytest(copy: Path, tests: list[str]) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    # otherwise, a module of the same size and modification second would be loaded from the cache
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    sys.exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={copy}/.temp", *tests]))


def measure(package: str, arguments: argparse.Namespace, copy: Path) -> Counter:
    """How many of the drawn changes of `package` ended in each way."""
    told: Counter[str] = Counter()
    known = {}
    if arguments.results.exists():
        with arguments.results.open(newline="") as file:
            known = {tuple(row[:-1]): row[-1] for row in csv.reader(file)}
    for change, module, source in draw(package, arguments.count, arguments.seed):
        result = known.get(change)
        if result is None:
            original = (copy / module).read_text()
            (copy / module).write_text(source)
            result = run_tests(copy, tests_of(package, module.stem), arguments.limit)
            (copy / module).write_text(original)
            with arguments.results.open("a", newline="") as file:
                csv.writer(file).writerow((*change, result))
        told[result] += 1
        print(f"{change[2]}: {change[4]} -> {change[5]}: {result}", flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    parser.add_argument("--count", type=int, default=20, help="changes per package")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600, help="seconds for the tests of a change")
    parser.add_argument("--results", type=Path, default=Path("logs/mutations.csv"))
    arguments = parser.parse_args()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with TemporaryDirectory() as temporary:
        copy = Path(temporary)
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")[:-1]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
        for package in arguments.packages:
            told = measure(package, arguments, copy)
            share = f"{told['noticed'] / told.total():.0%}"
            rows.append((package, *(told[result] for result in ("noticed", "survived", "timeout")), share))
    print("| package | noticed | survived | timeout | share noticed |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
