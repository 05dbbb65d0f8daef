"""metrics/fgsm.json and plots/fgsm: the chosen model under the Fast Gradient Sign Method."""

from pathlib import Path

from carcls import params
from carcls.data.archive import read_columns
from carcls.files import write_bytes, write_csv, write_json
from carcls.learning.attack import attack, examples, pick, sweep
from carcls.learning.device import resolve_device
from carcls.learning.evaluation import predictions, scores
from carcls.learning.example import example_rows
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import check_classes, load_model
from carcls.study.figures import fgsm_examples, png
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    epsilon = settings.fgsm.epsilon
    device = resolve_device(settings.train.device)
    path = Path(f"models/{settings.model.arch}-{settings.model.config}.safetensors")
    (model, info), test = load_model(path), ArchiveSet(Path("data/images/test.tar"))
    check_classes(path, info, sorted(set(read_columns(Path("data/images/val.tar"))["class"])))
    logits = attack(model, test, sorted({0.0, epsilon, *settings.fgsm.sweep}), device)
    places = pick(logits[0.0], test.labels, settings.fgsm.examples)
    names = [test.names[place] for place in places]
    rows = examples(model, test, places, names, info.classes, epsilon, device)
    write_csv(Path("plots/fgsm/sweep.csv"), sweep(logits, test.labels))
    write_csv(Path("plots/fgsm/examples.csv"), example_rows(rows))
    write_bytes(Path("plots/fgsm/examples.png"), png(fgsm_examples(rows)))
    answers = logits[epsilon], test.labels
    write_csv(Path("plots/fgsm/predictions.csv"), predictions(*answers, test.names, info.classes))
    write_json(Path("metrics/fgsm.json"), {f"fgsm_{key}": value for key, value in scores(*answers).items()})


if __name__ == "__main__":
    main()
