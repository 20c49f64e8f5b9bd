import base64
import json
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from torch import nn

from tests.catalog.embedding_pictures import hide_in_pixels
from tests.engine.adapters.torch_files import write_torch
from webui.core.errors import ModelError
from webui.engine.adapters.embeddings import Embedding, EmbeddingIndex, embedding_from_tensors, encode_with, injected, read_embedding
from webui.engine.tokenizer import END, START, token_ids

WIDTH = 32


@pytest.fixture
def vectors():
    return torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(2))


# --- files


def a1111(vectors, **more):
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "inner", "step": 7, "sd_checkpoint_name": "m", **more}


WRITERS = {
    "a1111.pt": lambda path, vectors: write_torch(path, a1111(vectors)),
    "parameter.pt": lambda path, vectors: write_torch(path, a1111(nn.Parameter(vectors))),
    "parameters.pt": lambda path, vectors: write_torch(path, a1111(vectors) | {"string_to_param": nn.ParameterDict({"*": vectors})}),
    "diffusers.bin": lambda path, vectors: write_torch(path, {"<cat-toy>": vectors}),
    "emb.safetensors": lambda path, vectors: save_file({"emb_params": vectors}, path),
    "other.safetensors": lambda path, vectors: save_file({"<cat-toy>": vectors}, path),
    "half.safetensors": lambda path, vectors: save_file({"emb_params": vectors.half()}, path),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_vectors_are_read_from_every_kind_of_file(tmp_path, vectors, name):
    WRITERS[name](tmp_path / name, vectors)
    embedding = read_embedding(tmp_path / name)
    assert embedding.name == name.rpartition(".")[0]
    assert embedding.vectors.dtype == torch.float32
    assert torch.equal(embedding.vectors, vectors.half().float() if name.startswith("half") else vectors)
    assert embedding.width == WIDTH


def test_training_notes_of_a1111_are_kept(tmp_path, vectors):
    embedding = read_embedding(write_torch(tmp_path / "a.pt", a1111(vectors)))
    assert (embedding.step, embedding.checkpoint) == (7, "m")


def test_a_single_vector_may_lack_its_first_dimension(tmp_path, vectors):
    embedding = read_embedding(write_torch(tmp_path / "a.bin", {"<x>": vectors[0]}))
    assert torch.equal(embedding.vectors, vectors[:1])


def test_an_sdxl_file_keeps_both_encoders_vectors(tmp_path, vectors):
    save_file({"clip_l": vectors, "clip_g": torch.ones(3, 40)}, tmp_path / "xl.safetensors")
    embedding = read_embedding(tmp_path / "xl.safetensors")
    assert torch.equal(embedding.vectors, vectors)
    assert embedding.second.shape == (3, 40)
    assert embedding.width == WIDTH + 40


def test_an_embedding_fits_a_text_encoder_of_its_width_and_sdxls_fits_none_alone(tiny, vectors):
    assert Embedding("a", vectors).fits(tiny.text_encoder)
    assert not Embedding("a", torch.ones(2, WIDTH + 1)).fits(tiny.text_encoder)
    assert not Embedding("a", vectors, vectors).fits(tiny.text_encoder)


def json_of(vectors, **more):
    return json.dumps(a1111({"TORCHTENSOR": vectors.tolist()}, **more))


def test_an_embedding_is_read_from_a_png_text(tmp_path, vectors):
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(json_of(vectors).encode()).decode())
    Image.new("RGB", (8, 8)).save(tmp_path / "shot.png", pnginfo=info)
    embedding = read_embedding(tmp_path / "shot.png")
    assert embedding.name == "inner"
    assert read_embedding(tmp_path / "shot.png", "given").name == "given"
    torch.testing.assert_close(embedding.vectors, vectors)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_embedding_is_read_from_the_pixels_beside_a_picture(tmp_path, vectors, suffix):
    picture = np.random.default_rng(1).integers(1, 255, (64, 48, 3), np.uint8)
    hidden = hide_in_pixels(picture, zlib.compress(json_of(vectors).encode()))
    Image.fromarray(hidden).save(tmp_path / f"shot{suffix}", lossless=True)
    embedding = read_embedding(tmp_path / f"shot{suffix}")
    assert embedding.name == "inner"
    torch.testing.assert_close(embedding.vectors, vectors)


REFUSED = {
    "two words": (lambda path, v: write_torch(path, a1111(v) | {"string_to_param": {"a": v, "b": v}}), "several, or none"),
    "no words": (lambda path, v: write_torch(path, a1111(v) | {"string_to_param": {}}), "several, or none"),
    "two tensors": (lambda path, v: write_torch(path, {"a": v, "b": v}), "2 tensors"),
    "no tensors": (lambda path, v: write_torch(path, {"a": 1}), "0 tensors"),
    "a list": (lambda path, v: write_torch(path, [v]), "no vectors"),
    "three dimensions": (lambda path, v: write_torch(path, {"a": v[None]}), r"shape \(1, 3, 32\)"),
    "no vectors": (lambda path, v: write_torch(path, {"a": v[:0]}), r"shape \(0, 32\)"),
    "far too many": (lambda path, v: write_torch(path, {"a": torch.zeros(2000, 4)}), r"shape \(2000, 4\)"),
    "not finite": (lambda path, v: write_torch(path, {"a": v / 0}), "not finite"),
    "a word": (lambda path, v: write_torch(path, a1111("cat")), "not made of numbers"),
    "uneven encoders": (lambda path, v: write_torch(path, {"clip_l": v, "clip_g": v[:2]}), "3 vectors for one"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_embedding_is_refused_with_its_reason(tmp_path, vectors, case):
    write, reason = REFUSED[case]
    with pytest.raises(ModelError, match=rf"a\.pt .*{reason}"):
        read_embedding(write(tmp_path / "a.pt", vectors))


def test_a_picture_without_an_embedding_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ModelError, match=r"a\.png is a picture without an embedding"):
        read_embedding(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.png"])
def test_a_missing_or_damaged_file_is_a_model_error(tmp_path, name):
    with pytest.raises(ModelError, match=name):
        read_embedding(tmp_path / name)
    (tmp_path / name).write_bytes(b"half a file")
    with pytest.raises(ModelError, match=name):
        read_embedding(tmp_path / name)


def test_vectors_do_not_share_memory_with_what_they_were_read_from(vectors):
    embedding = embedding_from_tensors("a", {"emb_params": vectors}, None)
    vectors.zero_()
    assert embedding.vectors.any()


# --- words


def index(tokenizer, *names):
    return EmbeddingIndex([Embedding(name, torch.ones(1, WIDTH)) for name in names], tokenizer)


def find_all(tokenizer, names, text):
    """The words found, going through a text as the chunker does."""
    search, (tokens,) = index(tokenizer, *names), token_ids(tokenizer, [text])
    found, at = [], 0
    while at < len(tokens):
        hit = search.find(tokens, at)
        found += [hit[0].name] if hit else []
        at += hit[1] if hit else 1
    return found


@pytest.mark.parametrize(("names", "text", "found"), [
    (["easynegative"], "bad, easynegative, blurry", ["easynegative"]),
    (["easynegative"], "EasyNegative", ["easynegative"]),
    (["EasyNegative"], "easynegative", ["EasyNegative"]),
    (["style"], "in the style of", ["style"]),
    (["holdti", "holdti3"], "holdti and holdti3", ["holdti", "holdti3"]),
    (["art", "art by someone"], "art by someone, art", ["art by someone", "art"]),
    (["art by someone", "art"], "art by nobody", ["art"]),
    (["cat"], "a dog", []),
    (["cat"], "concatenate", []),
    (["a-b_c"], "x a-b_c y", ["a-b_c"]),
    (["  "], "a cat", []),
    ([], "a cat", []),
])  # fmt: skip
def test_words_are_found_as_token_sequences_the_longest_first(tokenizer, names, text, found):
    assert find_all(tokenizer, names, text) == found


def test_of_two_embeddings_with_one_name_the_later_counts(tokenizer):
    first, second = (Embedding("cat", torch.full((1, WIDTH), value)) for value in (1.0, 2.0))
    (tokens,) = token_ids(tokenizer, ["cat"])
    assert EmbeddingIndex([first, second], tokenizer).find(tokens, 0) == (second, 1)


# --- putting vectors in


@pytest.fixture
def tokens():
    return torch.tensor([[START, *range(300, 310), *[END] * 66], [START, *range(400, 404), *[END] * 72]])


def rows_of(encoder, tokens, changes):
    """The encoder's first layer's input made by hand, in the same way as its own embeddings."""
    rows = nn.functional.embedding(tokens, encoder.embeddings.token_embedding.weight).clone()
    for row, place, vector in changes:
        rows[row, place] = vector
    return rows


def first_layer_input(encoder, run):
    seen = []
    hook = encoder.encoder.layers[0].register_forward_pre_hook(lambda module, args, kwargs: seen.append(args[0]), with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return seen[0]


def test_without_vectors_the_encoder_gives_the_same_bits(tiny, tokens):
    with torch.inference_mode():
        plain = tiny.text_encoder(tokens, output_hidden_states=True)
        ours = encode_with(tiny.text_encoder, tokens, [[], []], output_hidden_states=True)
    assert torch.equal(plain.last_hidden_state, ours.last_hidden_state)
    assert all(torch.equal(left, right) for left, right in zip(plain.hidden_states, ours.hidden_states, strict=True))


def test_vectors_stand_in_the_place_of_tokens_behind_the_start_mark(tiny, tokens, vectors):
    encoder = tiny.text_encoder
    with torch.inference_mode():
        seen = first_layer_input(encoder, lambda: encode_with(encoder, tokens, [[(0, vectors), (6, vectors[:1])], [(2, vectors[:2])]]))
        changes = [(0, place + 1, vectors[place]) for place in range(3)]
        changes += [(0, 7, vectors[0]), (1, 3, vectors[0]), (1, 4, vectors[1])]
        positions = encoder.embeddings.position_embedding.weight[:77]
        assert torch.equal(seen, rows_of(encoder, tokens, changes) + positions)


def test_vectors_equal_to_a_tokens_own_change_nothing(tiny, tokens):
    own = tiny.text_encoder.embeddings.token_embedding.weight[[303, 304]]
    with torch.inference_mode():
        plain = tiny.text_encoder(tokens).last_hidden_state
        assert torch.equal(encode_with(tiny.text_encoder, tokens, [[(3, own)], []]).last_hidden_state, plain)


def test_what_does_not_fit_into_the_row_is_cut_off(tiny, tokens, vectors):
    encoder = tiny.text_encoder
    with torch.inference_mode():
        seen = first_layer_input(encoder, lambda: encode_with(encoder, tokens, [[(74, vectors)], [(80, vectors)]]))
        changes = [(0, 75, vectors[0]), (0, 76, vectors[1])]
        assert torch.equal(seen, rows_of(encoder, tokens, changes) + encoder.embeddings.position_embedding.weight[:77])


def test_vectors_are_gone_again_afterwards_even_after_a_failure(tiny, tokens, vectors):
    embedding = tiny.text_encoder.embeddings.token_embedding
    weight = embedding.weight.clone()
    with injected(tiny.text_encoder, [[(0, vectors)], []]):
        assert embedding._forward_hooks
    assert not embedding._forward_hooks
    with pytest.raises(RuntimeError, match="stop"), injected(tiny.text_encoder, [[(0, vectors)], []]):
        raise RuntimeError("stop")
    assert not embedding._forward_hooks
    assert torch.equal(embedding.weight, weight)


def test_vectors_of_another_width_are_an_error_and_not_a_wrong_picture(tiny, tokens):
    with torch.inference_mode(), pytest.raises(RuntimeError):
        encode_with(tiny.text_encoder, tokens, [[(0, torch.ones(1, WIDTH + 1))], []])
