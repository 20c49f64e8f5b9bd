import pickle

import pytest

from webui.core import errors
from webui.core.errors import InvalidRequest, UnknownName, WebuiError

EVERY = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, WebuiError)]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: error.__name__)
def test_every_error_is_in_the_tree_of_the_docstring(error):
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("error", [each for each in EVERY if each is not UnknownName], ids=lambda error: error.__name__)
def test_an_error_survives_pickling(error):
    again = pickle.loads(pickle.dumps(error("why")))
    assert type(again) is error
    assert str(again) == "why"


def test_an_unknown_name_survives_pickling():
    again = pickle.loads(pickle.dumps(UnknownName("sampler", "x", ["xy"])))
    assert (type(again), again.kind, again.name) == (UnknownName, "sampler", "x")
    assert str(again) == str(UnknownName("sampler", "x", ["xy"]))
    assert isinstance(again, InvalidRequest)


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("eulr", ["Euler", "DPM++ 2M"], "Unknown thing 'eulr'. Did you mean 'Euler'?"),
        ("zzz", ["Euler", "Heun"], "Unknown thing 'zzz'. Known: Euler, Heun."),
        ("zzz", [], "Unknown thing 'zzz'. There is none."),
    ],
)
def test_an_unknown_name_offers_a_way_out(name, known, told):
    assert str(UnknownName("thing", name, known)) == told


def test_a_long_list_of_names_is_cut():
    assert str(UnknownName("thing", "zzz", [f"a{number}" for number in range(100)])).endswith("a29, ...")
