"""Recognise train, val and test in the name of a folder.

There are many spellings: `Training`, `seg_train`, `train_images`, `02-Validation`, `testset`, `prueba`,
`测试集`. A name is divided into words. One of them names the split; it may have other words beside it.
"""

import re
import unicodedata
from typing import NamedTuple

WORDS = {
    "train": """
        train training trains trn tr learn learning trainval
        entrenamiento treino treinamento addestramento allenamento apprentissage entrainement trainings
        trainingsdaten lerndaten opleiding egitim uczenie обучение обучающая тренировка
        訓練 训练 学習 훈련 학습
    """,
    "val": """
        val valid validation validate validating vali vld dev devel validacion validacao validazione
        validierung validierungsdaten validatie dogrulama walidacja валидация проверка
        検証 验证 驗證 검증
    """,
    "test": """
        test testing tests tst te holdout unseen eval evaluation evaluate
        prueba pruebas teste testes prova essai evaluacion testdaten sinama sınama тест тестирование тестовая
        測試 测试 評価 テスト 테스트 시험 평가
    """,
}
# words that do not change the meaning of a split name
FILLERS = set(
    """
    set sets data dataset datasets image images img imgs photo photos picture pictures pic pics folder folders
    file files sample samples split splits full final new all the of for my jpg jpeg png crop
    crops cropped resized labeled labelled datos daten conjunto dati imagenes imagens bilder 集 数据集 數據集
    """.split()
)
PARTS = {"fold", "folds", "part", "parts", "batch", "batches", "chunk", "shard", "subset"}
_SPLITS = {word: split for split, words in WORDS.items() for word in words.split()}
_SUFFIX = re.compile(
    r"(sets?|data|datasets?|images?|imgs?|photos?|pictures?|pics?|samples?|split|集|数据集|數據集|データ)$"
)


class SplitName(NamedTuple):
    """The split in a folder name, and the other words, which must be the same in the names of all splits."""

    split: str
    other_words: frozenset[str]


def parse_split(name: str) -> SplitName | None:
    """The split in `name`; None if there is none or more than one (`train_or_test`)."""
    splits, others = set(), set()
    for word in _words(name):
        short = _SUFFIX.sub("", word)
        if word in _SPLITS or short in _SPLITS:
            splits.add(_SPLITS.get(word) or _SPLITS[short])
        elif word not in FILLERS:
            others.add(word)
    if splits == {"train", "val"}:  # as in Pascal VOC, val is taken from `train_val`
        splits = {"train"}
    return SplitName(splits.pop(), frozenset(others)) if len(splits) == 1 else None


def split_of(name: str) -> str:
    """The split in `name`, or ""."""
    parsed = parse_split(name)
    return parsed.split if parsed else ""


def is_part(name: str) -> bool:
    """Whether `name` is the name of a part of a data set that is not a split, such as `fold_3`."""
    return not PARTS.isdisjoint(_words(name))


def is_filler(name: str) -> bool:
    """Whether `name` has no meaning, such as `images` or `new_data (2)`."""
    return all(word in FILLERS for word in _words(name))


def _words(name: str) -> list[str]:
    """The words of `name` in lower case without accents.

    Words end at characters that are not letters, including digits (`train2017`), and before a capital that
    follows a small letter.
    """
    cut = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = unicodedata.normalize("NFKD", cut).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", plain))
