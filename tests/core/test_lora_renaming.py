from __future__ import annotations

import pytest

from webui.core.infotext_apply import read_paste
from webui.core.lora_renaming import rename_loras

HERE = {("there", "aaaaaaaaaaaa"): "here", ("b,b", "bbbbbbbbbbbb"): None, ("bb", "bbbbbbbbbbbb"): "an=ot"}


def pasted(prompt: str, hashes: str = '"there: aaaaaaaaaaaa, bb: bbbbbbbbbbbb"'):
    infotext = f"{prompt}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Lora hashes: {hashes}, Version: v1.10.1"
    return rename_loras(read_paste(infotext), infotext, lambda name, digits: HERE.get((name, digits)))


@pytest.mark.parametrize(
    ("prompt", "renamed"),
    [
        ("a <lora:there:0.8> cat", "a <lora:here:0.8> cat"),
        ("<lyco:there>", "<lyco:here>"),
        ("<lora:there:0.5:te=0.2> <lora:there:1>", "<lora:here:0.5:te=0.2> <lora:here:1>"),
        ("<lora:te=0.2:there:0.5>", "<lora:te=0.2:here:0.5>"),
        ("<lora:b,b:1>", "<lora:an=ot:1>"),
        ("<lora:other:1> <hypernet:there:1> there", "<lora:other:1> <hypernet:there:1> there"),
        ("no tags, there", "no tags, there"),
        ("<lora:there", "<lora:there"),
    ],
)
def test_a_lora_is_asked_for_by_the_name_that_its_file_has_here(prompt: str, renamed: str) -> None:
    assert pasted(prompt).request_changes["prompt"] == renamed


def test_the_user_is_told() -> None:
    assert "The LoRA 'there' is called 'here' here." in pasted("<lora:there:1>").remarks


@pytest.mark.parametrize(
    "hashes", ["there", '"there: "', '"there: xyz"', '": aaaaaaaaaaaa"', '"there: aaaaaaaaaaaaaaaaaaaa"', '"elsewhere: cccccccccccc"']
)
def test_what_is_no_hash_or_no_file_here_changes_nothing(hashes: str) -> None:
    infotext = f"<lora:there:1>\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Lora hashes: {hashes}, Version: v1.10.1"
    before = read_paste(infotext)
    assert rename_loras(before, infotext, lambda name, digits: HERE.get((name, digits))) == before


def test_the_prompts_of_a_batch_and_of_the_second_pass_are_renamed_too() -> None:
    infotext = 'x\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Lora hashes: "there: aaaaaaaaaaaa", Version: v1.10.1'
    before = read_paste(infotext)
    more = type(before)({**before.request_changes, "prompts": ("<lora:there:1>", "y"), "hr_prompt": "<lora:there:2>"})
    after = rename_loras(more, infotext, lambda name, digits: HERE.get((name, digits))).request_changes
    assert (after["prompts"], after["hr_prompt"]) == (("<lora:here:1>", "y"), "<lora:here:2>")
