"""The stages that each key of params.yaml reruns, in the graph as DVC reads it."""

from itertools import product

import networkx as nx
import pytest
import yaml
from conftest import ROOT
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from carcls.base.variants import ARCHS, CONFIGS, cells, variant_name
from carcls.study import paper

FROM_TRAIN = {"train", "evaluate", "fgsm", "corruptions", "robustness", "report"}
FROM_WEIGHTS = {"weights"} | FROM_TRAIN
FROM_AUGMENT = {"augment"} | FROM_TRAIN
FROM_SPLIT = {"split"} | FROM_AUGMENT
FROM_DOWNLOAD = {"download"} | FROM_SPLIT

INVALIDATES = {  # for a key, the longest matching prefix counts
    "seed": FROM_SPLIT,
    "data.source": {"watch_photographs"} | FROM_DOWNLOAD,
    "data.folder": {"watch_photographs"} | FROM_DOWNLOAD,
    "data.labels": {"watch_photographs"} | FROM_DOWNLOAD,
    "data.kaggle": FROM_DOWNLOAD,
    "data.demo": FROM_DOWNLOAD,
    "data.skip_unreadable": FROM_DOWNLOAD,
    "data.image_size": FROM_AUGMENT | FROM_WEIGHTS,
    "split": FROM_SPLIT,
    "split.val": {"variants"} | FROM_SPLIT,
    "augment": FROM_AUGMENT,
    "weights": {"watch_weights"} | FROM_WEIGHTS,
    "pretrain": FROM_WEIGHTS,
    "model": {"variants", "evaluate", "fgsm", "corruptions", "robustness", "report"},
    "configs": {"train", "robustness", "report"},
    "configs.pretrained": FROM_TRAIN,  # the selected variant
    "train": FROM_TRAIN,
    "train.device": FROM_WEIGHTS,
    "train.precision": FROM_WEIGHTS,
    "fgsm": {"fgsm", "robustness", "report"},
    "attack": {"fgsm", "robustness", "report"},
}


def leaves(content: dict, prefix: str = "") -> list[str]:
    keys = []
    for name, value in content.items():
        keys += leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return keys


KEYS = leaves(yaml.safe_load((ROOT / "params.yaml").read_text()))


@pytest.fixture(scope="module")
def graph() -> nx.DiGraph:
    """The graph of stages in DVC, with an edge from each stage to those on which it depends."""
    with Repo(ROOT) as repo:
        return repo.index.graph


def begins(key: str, prefix: str) -> bool:
    return f"{key}.".startswith(f"{prefix}.")


def invalidated(graph: nx.DiGraph, key: str) -> set[str]:
    """The addresses (STAGE or STAGE@CELL) of the stages that depend on `key`, and of all after them."""
    first = [
        stage
        for stage in graph
        for dependency in stage.deps
        if isinstance(dependency, ParamsDependency) and any(begins(key, name) for name in dependency.params)
    ]
    return {stage.addressing for source in first for stage in {source} | nx.ancestors(graph, source)}


@pytest.mark.parametrize("key", KEYS)
def test_each_key_invalidates_exactly_the_stages_of_the_table(graph, key):
    entry = max((prefix for prefix in INVALIDATES if begins(key, prefix)), key=len)
    assert {address.partition("@")[0] for address in invalidated(graph, key)} == INVALIDATES[entry]


def test_every_key_of_the_table_is_in_params():
    assert [entry for entry in INVALIDATES if not any(begins(key, entry) for key in KEYS)] == []


def test_a_configuration_trains_its_own_variants_only(graph):
    trained = {name for name in invalidated(graph, "configs.freeze6.frozen_layers") if "train@" in name}
    assert trained == {"train@resnet18-freeze6", "train@resnet34-freeze6"}


def test_changing_lr_reruns_no_data_or_weights_stage(graph):
    assert not {"download", "split", "augment", "weights@resnet18"} & invalidated(graph, "train.lr")


def test_dvc_yaml_names_the_variants_of_the_registry():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    archs, configs = [*ARCHS, "${model.arch}"], [*CONFIGS, "${model.config}"]
    assert stages["train"]["matrix"] == {"arch": archs, "config": configs}
    assert stages["weights"]["matrix"] == {"arch": archs}
    variants = [f"{arch}-{config}" for arch in archs for config in configs]
    for name, pattern in (
        ("robustness", "models/{}.safetensors"),
        ("report", "metrics/train/{}.json"),
        ("report", "plots/history/{}.csv"),
    ):
        assert {pattern.format(variant) for variant in variants} <= set(stages[name]["deps"])
    for path in ("params.yaml", "presets/paper.yaml"):
        assert tuple(yaml.safe_load((ROOT / path).read_text())["configs"])[: len(CONFIGS)] == CONFIGS
    assert list(paper.VARIANTS) == [variant_name(*cell) for cell in cells("resnet18", "scratch")]
    assert tuple(paper.CONFIGS) == CONFIGS


def test_cells_list_each_variant_once_with_the_papers_first():
    assert cells("resnet34", "freeze8") == list(product(ARCHS, CONFIGS))
    wider = cells("resnet50", "freeze4")
    assert len(wider) == len(set(wider)) == 15 and wider[:8] == cells("resnet18", "scratch")
