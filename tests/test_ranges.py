"""No command uses a number outside its range."""

import inspect
import math
import pkgutil
import types
import typing
from collections.abc import Iterator

import pytest

from srulight import encoders, tasks
from srulight.runtime.errors import InputError, check_range
from srulight.tasks.pose_estimation.heads import HeadSizes

NEEDED: dict[str, dict[str, object]] = {
    "FlatFiles": {"train": "a", "labels": ["no", "yes"], "test": "b"},
    "HeatMapHead": {"sizes": HeadSizes(8, 3, 16, 16, 4)},
    "RegressionHead": {"sizes": HeadSizes(8, 3, 16, 16, 4)},
    "TextFiles": {"val": "a"},
}
# A bonus may be a malus, and Python's generators of random numbers take any whole number.
ANY = {
    ("SpeechRecognition", "word_bonus"),
    ("BeamSearch", "word_bonus"),
    ("SRU", "highway_bias"),
    ("ConvSRU", "highway_bias"),
    ("SRUpp", "highway_bias"),
    *(
        (name, "seed")
        for name in (
            "FSDD", "Grammar", "GrammarText", "Squad", "SyntheticDTMF", "SyntheticNumbers",
            "SyntheticStories",
        )
    ),
}  # fmt: skip


def numbers() -> Iterator[tuple[type, str, float]]:
    folders = [
        vars(tasks)[info.name] for info in pkgutil.iter_modules(tasks.__path__) if info.ispkg
    ]
    for module in (encoders, *folders):
        for cls in vars(module).values():
            if not inspect.isclass(cls) or inspect.isabstract(cls) or issubclass(cls, tuple):
                continue
            for name, hint in typing.get_type_hints(cls.__init__).items():
                is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
                kinds = typing.get_args(hint) if is_union else (hint,)
                wrong = [math.nan, math.inf] if float in kinds else []
                if name == "input_size":  # no setting: a task says it
                    continue
                if {int, float} & set(kinds) and (cls.__name__, name) not in ANY:
                    wrong.append(-1)
                if (cls.__name__, name) == ("BeamSearch", "threshold"):
                    wrong.remove(math.inf)  # prunes nothing
                yield from ((cls, name, number) for number in wrong)


@pytest.mark.parametrize(("cls", "name", "number"), list(numbers()))
def test_every_setting_refuses_a_number_out_of_range(cls: type, name: str, number: float) -> None:
    takes_size = "input_size" in inspect.signature(cls).parameters
    needed = {"input_size": 8} if takes_size else NEEDED.get(cls.__name__, {})
    with pytest.raises(ValueError, match=name):
        cls(**needed, **{name: number})


def test_a_number_is_compared_with_its_range() -> None:
    check_range(1, 3, a=1, b=3, c=None, d=2.5)
    check_range(0, a=10**400)
    for number in (0, 4, math.nan, math.inf, -math.inf):
        with pytest.raises(InputError, match=f"b must be 1 to 3, got {number}"):
            check_range(1, 3, a=1, b=number)
    with pytest.raises(InputError, match="b must be at least 1, got inf"):
        check_range(1, b=math.inf)
