import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.core.comfy_workflow import read_comfy

PLAIN = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 156680208700286, "steps": 20, "cfg": 8, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/v1-5-pruned-emaonly.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a galaxy, bottle", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}  # fmt: skip
PLAIN_TEXT = (
    "a galaxy, bottle\nNegative prompt: text, watermark\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 8, "
    "Seed: 156680208700286, Size: 512x768, Model: v1-5-pruned-emaonly, RNG: CPU"
)


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def changed(sampler=(), **nodes):
    """The plain graph with other inputs of its sampler and other nodes, n4 for "4"."""
    graph = {**PLAIN, **{name.removeprefix("n"): content for name, content in nodes.items()}}
    graph["3"] = node("KSampler", **{**PLAIN["3"]["inputs"], **dict(sampler)})
    return graph


def read(graph, key="prompt"):
    return read_comfy({key: json.dumps(graph)})


def test_a_plain_graph_gives_its_parameters():
    found = read(PLAIN)
    assert (found.program, found.infotext, found.remarks) == ("ComfyUI", PLAIN_TEXT, ())


def test_loras_become_tags_in_the_order_they_are_applied():
    graph = changed(
        {"model": ["11", 0]},
        n10=node("LoraLoader", lora_name="one.safetensors", strength_model=0.8, strength_clip=0.8, model=["4", 0], clip=["4", 1]),
        n11=node("LoraLoaderModelOnly", lora_name="x/two.safetensors", strength_model=0.5, model=["12", 0]),
        n12=node("LoraLoader", lora_name="three.safetensors", strength_model=1, strength_clip=0.3, model=["10", 0], clip=["10", 1]),
    )
    text = read(graph).infotext
    assert text.startswith("a galaxy, bottle <lora:one:0.8> <lora:three:0.3:1> <lora:two:0:0.5>\n")
    assert "Model: v1-5-pruned-emaonly" in text


def test_text_and_numbers_are_followed_through_links():
    graph = changed(
        {"seed": ["20", 0], "steps": ["21", 0]},
        n6=node("CLIPTextEncode", text=["22", 0], clip=["4", 1]),
        n20=node("Seed (rgthree)", seed=77),
        n21=node("PrimitiveInt", value=33),
        n22=node("ShowText|pysssss", text=["23", 0]),
        n23=node("StringConstant", string="from afar"),
    )
    assert read(graph).infotext.startswith("from afar\nNegative prompt: text, watermark\nSteps: 33,")
    assert "Seed: 77," in read(graph).infotext


def test_the_first_of_two_passes_is_read():
    second = {**PLAIN["3"]["inputs"], "seed": 5, "denoise": 0.45, "latent_image": ["11", 0]}
    graph = {"2": node("KSampler", **second), **PLAIN, "11": node("LatentUpscaleBy", scale_by=1.5, samples=["3", 0])}
    found = read(graph)
    assert found.infotext == PLAIN_TEXT
    assert len(found.remarks) == 1


def test_joined_prompts_are_put_one_after_the_other():
    graph = changed(
        {"positive": ["12", 0]},
        n12=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["13", 0]),
        n13=node("CLIPTextEncode", text="stars", clip=["4", 1]),
    )
    assert read(graph).infotext.startswith("a galaxy, bottle, stars\n")
    assert len(read(graph).remarks) == 1


@pytest.mark.parametrize(
    ("inputs", "text"),
    [({"text_g": "big", "text_l": "small"}, "big"), ({"text_g": "", "text_l": "small"}, "small"), ({"text": ""}, "")],
)
def test_encoders_of_other_families_are_read(inputs, text):
    prompt = read(changed(n6=node("CLIPTextEncodeSDXL", **inputs))).infotext.split("Negative prompt:")[0]
    assert prompt.strip() == text


def test_a_prompt_goes_through_a_control_net():
    graph = changed(
        {"positive": ["12", 0], "negative": ["12", 1]},
        n12=node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["13", 0]),
    )
    assert read(graph).infotext == PLAIN_TEXT


def test_vae_clip_skip_rescale_and_denoise_are_read():
    graph = changed(
        {"denoise": 0.6, "model": ["14", 0]},
        n6=node("CLIPTextEncode", text="p", clip=["13", 0]),
        n8=node("VAEDecode", samples=["3", 0], vae=["12", 0]),
        n12=node("VAELoader", vae_name="kl-f8.vae.pt"),
        n13=node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
        n14=node("RescaleCFG", multiplier=0.7, model=["4", 0]),
    )
    assert read(graph).infotext.endswith("VAE: kl-f8.vae, Denoising strength: 0.6, Clip skip: 2, RNG: CPU, CFG rescale: 0.7")


def test_the_advanced_sampler_is_read():
    inputs = {key: value for key, value in PLAIN["3"]["inputs"].items() if key not in ("seed", "denoise")}
    graph = {**PLAIN, "3": node("KSamplerAdvanced", **inputs, noise_seed=9, add_noise="enable", start_at_step=0, end_at_step=10000)}
    assert read(graph).infotext == PLAIN_TEXT.replace("156680208700286", "9")


def test_a_sampler_made_of_parts_is_read():
    graph = {
        **PLAIN,
        "3": node("SamplerCustomAdvanced", noise=["30", 0], guider=["31", 0], sampler=["32", 0], sigmas=["33", 0], latent_image=["5", 0]),
        "30": node("RandomNoise", noise_seed=42),
        "31": node("CFGGuider", cfg=3.5, model=["34", 0], positive=["6", 0], negative=["7", 0]),
        "32": node("KSamplerSelect", sampler_name="euler"),
        "33": node("BasicScheduler", scheduler="simple", steps=12, denoise=1.0, model=["4", 0]),
        "34": node("LoraLoaderModelOnly", lora_name="l", strength_model=1, model=["35", 0]),
        "35": node("UNETLoader", unet_name="flux1-dev.safetensors"),
    }
    assert read(graph).infotext == (
        "a galaxy, bottle <lora:l:0:1>\nNegative prompt: text, watermark\nSteps: 12, Sampler: Euler, Schedule type: Simple, "
        "CFG scale: 3.5, Seed: 42, Size: 512x768, Model: flux1-dev, RNG: CPU"
    )


def test_a_guider_without_a_negative_prompt_is_read():
    graph = {
        **PLAIN,
        "3": node("SamplerCustomAdvanced", guider=["31", 0], noise=["30", 0], latent_image=["5", 0]),
        "30": node("RandomNoise", noise_seed=42),
        "31": node("BasicGuider", conditioning=["32", 0], model=["4", 0]),
        "32": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
    }
    assert read(graph).infotext.startswith("a galaxy, bottle\nSeed: 42,")


# --- the page's form

WORKFLOW = {
    "nodes": [
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["sd/v1-5-pruned-emaonly.safetensors"], "inputs": []},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [512, 768, 1]},
        {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a galaxy, bottle"], "inputs": [{"name": "clip", "link": 3}]},
        {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["text, watermark"], "inputs": [{"name": "clip", "link": 5}]},
        {
            "id": 3,
            "type": "KSampler",
            "widgets_values": [156680208700286, "randomize", 20, 8, "dpmpp_2m", "karras", 1],
            "inputs": [
                {"name": name, "link": link} for name, link in (("model", 1), ("positive", 4), ("negative", 6), ("latent_image", 2))
            ],
        },
        {"id": 99, "type": "Note", "widgets_values": ["hello"], "mode": 0},
    ],
    "links": [
        [1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"], [4, 6, 0, 3, 1, "C"], [5, 4, 1, 7, 0, "CLIP"],
        [6, 7, 0, 3, 2, "C"],
    ],
    "version": 0.4,
}  # fmt: skip


def test_the_pages_form_gives_the_same():
    assert read(WORKFLOW, "workflow").infotext == PLAIN_TEXT


def test_links_of_the_newer_form_are_read():
    links = [
        {"id": link[0], "origin_id": link[1], "origin_slot": link[2], "target_id": link[3], "target_slot": link[4]}
        for link in WORKFLOW["links"]
    ]
    assert read({**WORKFLOW, "links": links}, "workflow").infotext == PLAIN_TEXT


def test_what_was_run_is_read_before_the_page():
    found = read_comfy({"prompt": json.dumps(changed({"seed": 1})), "workflow": json.dumps(WORKFLOW)})
    assert "Seed: 1," in found.infotext


# --- hostile graphs


def test_links_in_a_circle_end():
    graph = changed(
        {"model": ["3", 0], "positive": ["6", 0], "latent_image": ["40", 0], "seed": ["41", 0]},
        n6=node("CLIPTextEncode", text=["6", 0], clip=["6", 0]),
        n40=node("LatentUpscale", samples=["40", 0]),
        n41=node("Seed", seed=["41", 0]),
    )
    assert read(graph).infotext.startswith("Negative prompt: text, watermark")


@pytest.mark.parametrize("graph", [{}, {"1": node("LoadImage", image="x")}, {"1": 5}, {"1": {"class_type": "KSampler"}}, {"1": node(5)}])
def test_a_graph_without_a_sampler_is_none(graph):
    assert read(graph) is None
    assert read(graph, "workflow") is None


@pytest.mark.parametrize("start", ["positive", "model", "latent_image", "seed"])
def test_a_graph_of_thousands_of_links_is_read_in_a_moment(start):
    links = ("text", "conditioning", "model", "clip", "samples", "seed")
    chain = {str(number): node("X", **{key: [str(number + 1), 0] for key in links}) for number in range(100, 9_900)}
    started = time.process_time()
    assert read(changed({start: ["100", 0]}) | chain) is not None
    assert time.process_time() - started < 10


values = st.none() | st.integers() | st.floats() | st.text(max_size=6) | st.lists(st.sampled_from(["3", "4", "6", 0, 3, None]), max_size=3)
inputs = st.dictionaries(
    st.sampled_from([*PLAIN["3"]["inputs"], "text", "clip", "noise", "guider", "lora_name", "ckpt_name", "width"]), values
)
graphs = st.dictionaries(
    st.sampled_from(list(PLAIN)),
    st.fixed_dictionaries({"class_type": st.sampled_from(["KSampler", "LoraLoader", "VAEDecode", ""]), "inputs": inputs}),
)


@settings(deadline=None, max_examples=200)
@given(graphs)
def test_any_graph_is_read_without_failing(graph):
    for found in (read(graph), read({"nodes": list(graph.values()), "links": list(graph.values())}, "workflow")):
        assert found is None or found.infotext.encode() is not None


pages = st.fixed_dictionaries({
    "nodes": st.lists(st.fixed_dictionaries({
        "id": st.integers(0, 5) | values, "type": st.sampled_from(["KSampler", "CLIPTextEncode"]),
        "widgets_values": st.lists(values, max_size=8) | values,
        "inputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["model", "positive"]), "link": values}), max_size=3) | values,
    }), max_size=4) | values,
    "links": st.lists(st.lists(values, max_size=6) | values, max_size=4) | values,
})  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(pages)
def test_any_page_is_read_without_failing(page):
    read(page, "workflow")
