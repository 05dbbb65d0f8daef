"""The variants of the study: each is an architecture in one of the configurations of the paper's Table 1."""

from itertools import product

ARCHS = ("resnet18", "resnet34")
CONFIGS = ("scratch", "pretrained", "freeze6", "freeze8")


def variant_name(arch: str, config: str) -> str:
    return f"{arch}-{config}"


def cells(arch: str, config: str) -> list[tuple[str, str]]:
    """The cells (arch, config) of the stage `train` in dvc.yaml if `arch` and `config` are selected.

    The eight cells of the paper come first, in its order. The others follow, sorted.
    """
    paper = list(product(ARCHS, CONFIGS))
    others = sorted(set(product((*ARCHS, arch), (*CONFIGS, config))) - set(paper))
    return paper + others
