"""Test the imports between packages, and that importing a module has no side effects."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module

import pytest
from conftest import ROOT

# from the bottom up: a module imports only from its own layer and those before it
LAYERS = [
    ["carcls.errors", "carcls.files", "carcls.experiment"],
    ["carcls.base"],
    ["carcls.params"],
    ["carcls.imageset"],
    ["carcls.data"],
    ["carcls.learning"],
    ["carcls.demo"],
    ["carcls.evaluation"],
    ["carcls.inference"],
    ["carcls.study"],
    ["carcls.pipeline"],
    ["carcls.results"],
    ["carcls.web", "carcls.cli"],
    ["stages"],
]
PACKAGES = [name for names in LAYERS[:-1] for name in names if (ROOT / name.replace(".", "/")).is_dir()]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("carcls", "stages")
    for path in (ROOT / folder).rglob("*.py")
)


def imported(module: str) -> set[str]:
    """The modules of the project that `module` imports, also within functions."""
    stem = ROOT / module.replace(".", "/")
    path = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return (found & set(MODULES)) - {"carcls", module}


def layer(module: str) -> int:
    return next(
        number
        for number, names in enumerate(LAYERS)
        if any(module == name or module.startswith(f"{name}.") for name in names)
    )


def order(package: str) -> list[str]:
    """The modules that the docstring of the package lists, from the bottom up."""
    return re.findall(r"^    (\w+)  ", import_module(package).__doc__, re.MULTILINE)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "carcls"])
def test_modules_import_only_from_lower_layers(module):
    assert [other for other in imported(module) if layer(other) > layer(module)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_lists_its_modules_and_each_imports_only_those_before_it(package):
    found = {module.split(".")[2] for module in MODULES if module.startswith(f"{package}.")} - {"__main__"}
    listed = order(package)
    assert sorted(listed) == sorted(found)
    for module in MODULES:
        if module.startswith(f"{package}.") and not module.endswith("__main__"):
            own = module.split(".")[2]
            below = {other.split(".")[2] for other in imported(module) if other.startswith(f"{package}.")}
            assert below - {own} <= set(listed[: listed.index(own)]), module


SETTINGS = """
import json, os, sys
from importlib import import_module
import cv2, torch

def settings():
    names = ("CUBLAS_WORKSPACE_CONFIG", "HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "GRADIO_RUN_HISTORY")
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        cv2.getNumThreads(),
        torch.get_num_threads(),
        {name: os.environ.get(name) for name in names},
    ]

found = [settings()]
for name in sys.argv[1:]:
    import_module(name)
found.append(settings())
from carcls.base.startup import set_up
set_up()
print(json.dumps([*found, settings()]))
"""


def test_settings_change_only_in_set_up():
    modules = [name for name in MODULES if name.startswith("carcls") and "sources.kaggle" not in name]
    run = subprocess.run(
        [sys.executable, "-c", SETTINGS, *modules], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, after, once_set = json.loads(run.stdout.splitlines()[-1])
    assert after == before
    assert once_set[:3] == [True, False, 1] and once_set[4]["CUBLAS_WORKSPACE_CONFIG"]


def test_a_stage_sets_up_before_it_computes(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("stages._check_library", lambda: None)
    monkeypatch.setattr(sys, "argv", ["stages/any.py"])
    monkeypatch.chdir(tmp_path)

    @import_module("stages").stage(lambda: calls.append("set up"))
    def main() -> None:
        calls.append("main")

    main()
    assert calls == ["set up", "main"]


def test_prediction_and_training_import_no_heavy_packages():
    code = (
        "import sys, stages.train, carcls.inference.classifier, carcls.cli.program;"
        "print(*{'sklearn', 'pandas', 'matplotlib', 'dvc', 'gradio'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


@pytest.mark.parametrize("module", MODULES)
def test_no_function_is_longer_than_40_lines(module):
    stem = ROOT / module.replace(".", "/")
    path = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 40] == []
