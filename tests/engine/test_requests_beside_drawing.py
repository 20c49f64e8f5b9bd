"""What the API asks of the engine beside pictures: memory let go, rows of token tables, and pictures in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

from tests.engine.tiny_models import TinyModel
from tests.engine.tiny_taggers import write_wd_tagger
from webui.catalog.new_embedding import write_new_embedding
from webui.catalog.taggers import list_taggers
from webui.core.errors import InvalidRequest, ModelError
from webui.core.new_hypernetwork import new_hypernetwork
from webui.core.paths import Paths
from webui.core.settings import Settings
from webui.engine.adapters.hypernetworks import read_hypernetwork
from webui.engine.captions import caption
from webui.engine.engine import LocalEngine
from webui.engine.pipeline_manager import PipelineSpec
from webui.engine.tokenizer import token_ids
from webui.engine.warmup import EngineOptions

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[ENC]", "[DEC]", "a", "picture", "of", "red"]


@pytest.fixture
def engine(paths: Paths) -> Iterator[LocalEngine]:
    opened = LocalEngine(EngineOptions(device="cpu"), paths)
    yield opened
    opened.close()


@pytest.fixture
def captioner(tmp_path: Path) -> Path:
    """A real BLIP of a few thousand random weights, as transformers saves one."""
    folder = tmp_path / "BLIP"
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**size, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "bos_token_id": 6, "sep_token_id": 3, "pad_token_id": 0}
    torch.manual_seed(1)
    config = BlipConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 16}, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def test_a_checkpoint_is_brought_into_memory_and_let_go(engine: LocalEngine, tiny: TinyModel) -> None:
    engine.preload(tiny.path, None)
    assert engine.pipelines.resident(PipelineSpec(tiny.path))
    engine.unload()
    assert not engine.pipelines.resident(PipelineSpec(tiny.path))


def test_a_new_embedding_has_the_token_tables_own_rows(engine: LocalEngine, tiny: TinyModel, tmp_path: Path) -> None:
    rows = engine.token_vectors("red cat", tiny.path)
    table = next(tensor for name, tensor in load_file(tiny.path).items() if name.endswith("token_embedding.weight"))
    expected = table[token_ids(engine._tokenizer, ["red cat"])[0]].float()
    assert torch.equal(torch.from_numpy(rows["emb_params"]), expected)
    file = write_new_embedding(tmp_path, "new", 2, rows, overwrite=False)
    assert torch.equal(load_file(file)["emb_params"], expected)
    facts = engine.embedding_facts(file)
    assert (facts.vectors, facts.width) == (2, expected.shape[1])
    empty = write_new_embedding(tmp_path, "empty", 3, engine.token_vectors("", tiny.path), overwrite=False)
    assert not load_file(empty)["emb_params"].any()
    with pytest.raises(InvalidRequest, match="already exists"):
        write_new_embedding(tmp_path, "new", 2, rows, overwrite=False)


def test_a_picture_becomes_words_of_the_captioner(engine: LocalEngine, captioner: Path) -> None:
    said = engine.caption(Image.new("RGB", (48, 40), "red"), captioner, Settings())
    assert set(said.split()) <= set(WORDS)
    short = Settings().changed({"interrogate_clip_min_length": 1, "interrogate_clip_max_length": 2})
    assert len(engine.caption(Image.new("RGB", (48, 40), "red"), captioner, short).split()) <= 2
    assert said == engine.caption(Image.new("RGB", (48, 40), "red"), captioner, Settings())


def test_a_captioner_that_cannot_be_used_says_so_and_runs_none_of_its_code(captioner: Path) -> None:
    (captioner / "evil.py").write_text("raise SystemExit('ran')")
    config = (captioner / "config.json").read_text()
    (captioner / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoTokenizer": ["evil.T", null]},', 1))
    (captioner / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="captioner"):
        caption(Image.new("RGB", (8, 8)), captioner, torch.device("cpu"), Settings())
    (captioner / "model.safetensors").unlink()
    torch.save({}, captioner / "pytorch_model.bin")
    with pytest.raises(ModelError, match="captioner"):
        caption(Image.new("RGB", (8, 8)), captioner, torch.device("cpu"), Settings())


def test_the_engine_writes_a_hypernetwork_that_it_can_read(engine: LocalEngine, tmp_path: Path) -> None:
    engine.write_hypernetwork(new_hypernetwork(sizes=(32,)), "new", tmp_path / "new.pt")
    assert list(read_hypernetwork(tmp_path / "new.pt").networks) == [32]


def test_a_picture_becomes_tags_of_the_tagger(engine: LocalEngine, tmp_path: Path) -> None:
    write_wd_tagger(tmp_path / "Taggers" / "wd-tiny")
    tags = engine.tags(Image.new("RGB", (48, 48), "lime"), list_taggers(tmp_path)[0])
    assert [tag.name for tag in tags if tag.share > 0.9] == ["red_hair"]
