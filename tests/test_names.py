"""The names that users type or read: commands, options, params, stages, outputs and metrics.

A name that changes breaks somebody's script. `python tests/test_names.py > tests/names.txt` accepts a change.
"""

import argparse
import difflib
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from carcls.cli import program
from carcls.results import folder

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = Path(__file__).with_name("names.txt")


def leaves(content: dict, prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def commands() -> Iterator[str]:
    """Each command with its arguments and options, in their order."""
    [action] = [action for action in program._parser()._actions if action.choices]
    for name, parser in action.choices.items():
        assert isinstance(parser, argparse.ArgumentParser)
        yield f"carcls {name}"
        for option in parser._actions:
            yield f"carcls {name} {' '.join(option.option_strings) or option.metavar}"


def stages(graph: dict) -> Iterator[str]:
    """Each stage with the files that it writes."""
    for name, stage in graph["stages"].items():
        yield name
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            yield f"{name} {out if isinstance(out, str) else next(iter(out))}"


def names() -> str:
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    metrics = sorted((ROOT / "metrics").glob("*.json"))
    parts = {
        "commands and options": commands(),
        "params": leaves(yaml.safe_load((ROOT / "params.yaml").read_text())),
        "stages and outputs": stages(graph),
        "metrics": (f"{path.name} {key}" for path in metrics for key in json.loads(path.read_text())),
        "artifacts": graph["artifacts"],
        "files of a results folder": [*folder.KEPT.values(), folder.MODEL, folder.METRICS, folder.HISTORY],
    }
    return "\n".join(line for title, lines in parts.items() for line in (f"# {title}", *lines, ""))


def test_names_equal_the_snapshot():
    before, now = SNAPSHOT.read_text().splitlines(), names().splitlines()
    changes = [line for line in difflib.ndiff(before, now) if line[0] in "+-"]
    assert not changes, "\n".join([__doc__, *changes])


if __name__ == "__main__":
    print(names(), end="")
