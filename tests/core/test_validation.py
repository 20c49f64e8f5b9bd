import pytest

from webui.core.request import read_request
from webui.core.validation import keep_valid


@pytest.mark.parametrize(
    ("values", "accepted", "refused"),
    [
        ({}, {}, set()),
        ({"steps": "30", "cfg_scale": 5}, {"steps": 30, "cfg_scale": 5.0}, set()),
        ({"steps": 0, "seed": "7", "sampler": "nonsense"}, {"seed": 7}, {"steps", "sampler"}),
        ({"unheard": 1, "seed": 3}, {"seed": 3}, {"unheard"}),
    ],
)
def test_good_values_are_kept_typed_and_the_others_named(values, accepted, refused):
    kept, reasons = keep_valid(values, read_request)
    assert (kept, set(reasons)) == (accepted, refused)
    assert all(reasons.values())


def test_values_that_contradict_each_other_are_all_refused():
    kept, reasons = keep_valid({"batch_count": 2, "negative_prompts": ("a",), "prompts": ("a", "b")}, read_request)
    assert kept.keys() <= {"batch_count"}
    assert "negative_prompts: got 1 texts" in " ".join(reasons.values()) or "prompts: got 2 texts" in " ".join(reasons.values())
