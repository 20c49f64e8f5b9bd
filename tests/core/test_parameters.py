import pytest
from pydantic import BaseModel, ValidationError

from webui.core.parameters import parameter, parameters_of


class Example(BaseModel):
    plain: str = parameter("a", title="Plain", help="A text.")
    count: int = parameter(3, title="Count", help="A number.", minimum=1, maximum=9, step=2, multiple_of=3, api="n", infotext="Count of it")
    share: float = parameter(0.5, title="Share", help="A share.", minimum=0, maximum=1, slider=(0.25, 0.75), section="Shares")
    mode: str = parameter("x", title="Mode", help="One of two.", choices=("x", "y"), max_length=1)


def test_a_declaration_is_read_back_whole():
    count = parameters_of(Example)["count"]
    assert (count.name, count.type, count.default, count.title, count.help) == ("count", int, 3, "Count", "A number.")
    assert (count.minimum, count.maximum, count.step, count.api, count.infotext) == (1, 9, 2, "n", "Count of it")


def test_parameters_come_in_order_of_declaration():
    assert list(parameters_of(Example)) == ["plain", "count", "share", "mode"]


def test_what_is_not_declared_has_its_plain_value():
    plain = parameters_of(Example)["plain"]
    assert (plain.api, plain.infotext, plain.section, plain.choices, plain.slider, plain.minimum) == ("plain", None, "", None, None, None)


def test_a_slider_spans_the_whole_range_unless_it_is_narrowed():
    assert parameters_of(Example)["count"].slider == (1, 9)
    assert parameters_of(Example)["share"].slider == (0.25, 0.75)


@pytest.mark.parametrize("values", [{"count": 0}, {"count": 12}, {"count": 4}, {"share": 1.1}, {"mode": "xy"}])
def test_a_declared_bound_is_a_rule(values):
    with pytest.raises(ValidationError):
        Example(**values)


def test_the_json_schema_says_what_was_declared():
    count = Example.model_json_schema()["properties"]["count"]
    assert (count["title"], count["description"]) == ("Count", "A number.")
    assert (count["minimum"], count["maximum"], count["multipleOf"]) == (1, 9, 3)
    assert list(Example.model_json_schema()["properties"]["mode"]["choices"]) == ["x", "y"]
