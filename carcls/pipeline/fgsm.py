"""metrics/fgsm.json and plots/fgsm: the selected variant under FGSM and the other attacks."""

from pathlib import Path

from safetensors.numpy import save

from carcls.evaluation import attack
from carcls.evaluation.attacks import ATTACKS
from carcls.evaluation.example import example_arrays, example_rows
from carcls.evaluation.scores import predictions, scores
from carcls.files import write_bytes, write_csv, write_json
from carcls.params import Params
from carcls.pipeline.chosen import load_chosen


def fgsm(params: Params, root: Path) -> None:
    """Attack the test images at params.fgsm.epsilon. Raises InputError like `load_chosen`.

    Writes sweep.csv, the numbers and images of Figure 5, and the predictions on the images of each attack.
    The file of an attack that params disable has no rows.
    """
    chosen, plots, epsilon = load_chosen(params, root), root / "plots/fgsm", params.fgsm.epsilon
    model, images, classes, device = chosen.model, chosen.test, chosen.info.classes, chosen.device
    logits = attack.attack(model, images, sorted({0.0, epsilon, *params.fgsm.sweep}), device)
    places = attack.pick(logits[0.0], images.labels, params.fgsm.examples)
    names = [images.names[place] for place in places]
    examples = attack.examples(model, images, places, names, classes, epsilon, device)
    write_csv(plots / "sweep.csv", attack.sweep(logits, images.labels))
    write_csv(plots / "examples.csv", example_rows(examples))
    write_bytes(root / "data/fgsm_examples.safetensors", save(example_arrays(examples)))
    answers = {"fgsm": logits[epsilon]}
    answers |= attack.answers(model, images, epsilon, params.attack, device, params.seed)
    metrics: dict[str, float] = {}
    for name, answer in answers.items():
        table = predictions(answer, images.labels, images.names, classes)
        write_csv(plots / ATTACKS[name].file, table)
        metrics |= {f"{name}_{key}": value for key, value in scores(answer, images.labels).items()}
    for name in ATTACKS.keys() - answers.keys():
        write_csv(plots / ATTACKS[name].file, table.head(0))
    write_json(root / "metrics/fgsm.json", metrics)
