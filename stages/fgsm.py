"""metrics/fgsm.json and plots/fgsm: the chosen model under the Fast Gradient Sign Method."""

from pathlib import Path

from carcls import params
from carcls.archive import read_index
from carcls.attack import attack, example_rows, examples, pick, sweep
from carcls.device import resolve_device
from carcls.evaluation import predictions, scores
from carcls.figures import fgsm_examples, png
from carcls.files import write_bytes, write_csv, write_json
from carcls.loading import ArchiveSet
from carcls.model import check_classes, load_model
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    device = resolve_device(settings.train.device)
    path = Path(f"models/{settings.model.arch}-{settings.model.config}.safetensors")
    model, info = load_model(path)
    test = ArchiveSet(Path("data/images/test.tar"))
    check_classes(path, info, sorted(read_index(Path("data/images/val.tar"))["class"].unique()))
    epsilon = settings.fgsm.epsilon
    logits = attack(model, test, sorted({0.0, epsilon, *settings.fgsm.sweep}), device)
    places = pick(logits[0.0], test.labels, settings.fgsm.examples)
    rows = examples(model, test, places, test.index["name"][places].tolist(), info.classes, epsilon, device)
    write_csv(Path("plots/fgsm/sweep.csv"), sweep(logits, test.labels))
    write_csv(Path("plots/fgsm/examples.csv"), example_rows(rows))
    write_bytes(Path("plots/fgsm/examples.png"), png(fgsm_examples(rows)))
    answers = predictions(logits[epsilon], test.labels, test.index["name"], info.classes)
    write_csv(Path("plots/fgsm/predictions.csv"), answers)
    attacked = scores(logits[epsilon], test.labels)
    write_json(Path("metrics/fgsm.json"), {f"fgsm_{name}": value for name, value in attacked.items()})


if __name__ == "__main__":
    main()
