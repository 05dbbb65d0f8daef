"""What the name of a folder says of train, val and test.

People write these in many ways: `Training`, `seg_train`, `train_images`, `02-Validation`, `testset`,
`prueba`, `测试集`. A name is cut into words; one word names the split, others may stand beside it.
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
# said beside the word of a split, these tell nothing else
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


class Said(NamedTuple):
    """The split that a name says, and the words beside it, in which the names of other splits agree."""

    split: str
    beside: frozenset[str]


def said(name: str) -> Said | None:
    """What `name` says; None where it says nothing, or contradicts itself (`train_or_test`)."""
    splits, beside = set(), set()
    for word in _words(name):
        short = _SUFFIX.sub("", word)
        if word in _SPLITS or short in _SPLITS:
            splits.add(_SPLITS.get(word) or _SPLITS[short])
        elif word not in FILLERS:
            beside.add(word)
    if splits == {"train", "val"}:  # `train_val` is what validation is taken from, as in Pascal VOC
        splits = {"train"}
    return Said(splits.pop(), frozenset(beside)) if len(splits) == 1 else None


def split_of(name: str) -> str:
    """The split that `name` says; "" where it says none."""
    words = said(name)
    return words.split if words else ""


def says_part(name: str) -> bool:
    """Whether `name` is one of several that divide a set otherwise, as `fold_3`."""
    return not PARTS.isdisjoint(_words(name))


def is_filler(name: str) -> bool:
    """Whether `name` tells nothing, as `images` or `new_data (2)`."""
    return all(word in FILLERS for word in _words(name))


def _words(name: str) -> list[str]:
    """`name` in lower case without accents, cut at all that is no letter and where a capital follows a small
    letter; numbers, as in `train2017` or `test (1)`, say nothing.
    """
    cut = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    plain = unicodedata.normalize("NFKD", cut).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", plain))
