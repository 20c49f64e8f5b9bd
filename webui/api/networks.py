"""LoRAs, hypernetworks, textual inversions and styles over HTTP; new ones to train elsewhere, and what is said of training."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from webui.api.errors import ErrorBody, error_response
from webui.app import App
from webui.core.errors import InvalidRequest, ModelError
from webui.core.new_hypernetwork import USUAL_SIZES, new_hypernetwork

NO_TRAINER = "This version has no trainer. Train with another program, and put the file into the folder of its kind."
# How wide the vectors for a checkpoint of these families are; A1111 lists those of another width as skipped.
WIDTHS = (("sd1", 768), ("sd2", 1024), ("sdxl", 2048))


class LoraItem(BaseModel):
    """One LoRA.  alias: what its trainer called it."""

    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


class PathItem(BaseModel):
    """A name and a file."""

    name: str
    path: str


class StyleItem(BaseModel):
    """One stored style."""

    name: str
    prompt: str | None
    negative_prompt: str | None


class EmbeddingItem(BaseModel):
    """One textual inversion.  shape: the width of its vectors.   vectors: how many there are."""

    step: int | None
    sd_checkpoint: str | None
    sd_checkpoint_name: str | None
    shape: int
    vectors: int


class EmbeddingsResponse(BaseModel):
    """loaded: for the checkpoint of the settings.   skipped: for others."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class CreateEmbedding(BaseModel):
    """A textual inversion to begin with."""

    model_config = ConfigDict(extra="ignore")

    name: str
    num_vectors_per_token: int = 1
    overwrite_old: bool = False
    init_text: str = "*"


class CreateHypernetwork(BaseModel):
    """A hypernetwork to begin with. Of the lists, A1111's page sends texts, such as "1, 2, 1"."""

    model_config = ConfigDict(extra="ignore")

    name: str
    enable_sizes: tuple[int, ...] = USUAL_SIZES
    overwrite_old: bool = False
    layer_structure: list[float] | str | None = None
    activation_func: str | None = None
    weight_init: str | None = None
    add_layer_norm: bool = False
    use_dropout: bool = False
    dropout_structure: list[float] | str | None = None


class CreateResponse(BaseModel):
    """info: what was done, or why not."""

    info: str


class Networks:
    """The handlers."""

    def __init__(self, app: App) -> None:
        self._app = app

    def add_routes(self, server: FastAPI) -> None:
        """Put the handlers under A1111's paths."""
        for path, handler in (
            ("loras", self.loras),
            ("hypernetworks", self.hypernetworks),
            ("embeddings", self.embeddings),
            ("prompt-styles", self.styles),
        ):
            server.add_api_route(f"/sdapi/v1/{path}", handler, methods=["GET"], tags=["models"])
        for kind in ("loras", "embeddings"):
            server.add_api_route(f"/sdapi/v1/refresh-{kind}", self.refresh, methods=["POST"], tags=["models"], name=f"refresh_{kind}")
        server.add_api_route("/sdapi/v1/create/embedding", self.create_embedding, methods=["POST"], tags=["training"])
        server.add_api_route("/sdapi/v1/create/hypernetwork", self.create_hypernetwork, methods=["POST"], tags=["training"])
        answer: dict[int | str, Any] = {501: {"model": ErrorBody, "description": "There is no trainer."}}
        for path in ("train/embedding", "train/hypernetwork"):
            server.add_api_route(
                f"/sdapi/v1/{path}", no_trainer, methods=["POST"], tags=["training"], responses=answer, name=path.replace("/", "_")
            )

    def loras(self) -> list[LoraItem]:
        """Every LoRA, with what its trainer wrote into it."""
        return [
            LoraItem(name=one.stem, alias=one.alias, path=str(one.path), metadata=dict(one.identity.metadata))
            for one in self._app.catalog.loras()
        ]

    def hypernetworks(self) -> list[PathItem]:
        """Every hypernetwork."""
        return [PathItem(name=one.stem, path=str(one.path)) for one in self._app.catalog.hypernetworks()]

    def styles(self) -> list[StyleItem]:
        """Every stored style."""
        return [StyleItem(name=one.name, prompt=one.prompt, negative_prompt=one.negative_prompt) for one in self._app.styles.styles()]

    def embeddings(self) -> EmbeddingsResponse:
        """Every textual inversion that can be read, by its word."""
        loaded: dict[str, EmbeddingItem] = {}
        skipped: dict[str, EmbeddingItem] = {}
        width = self._width()
        for one in self._app.catalog.embeddings():
            try:
                facts = self._app.engine.embedding_facts(one.path)
            except ModelError:
                continue  # the catalog lists it as broken, with the reason
            item = EmbeddingItem(
                step=facts.step, sd_checkpoint=None, sd_checkpoint_name=facts.checkpoint, shape=facts.width, vectors=facts.vectors
            )
            fits = width is None or facts.width == width or facts.width not in dict(WIDTHS).values()
            (loaded if fits else skipped)[one.word] = item
        return EmbeddingsResponse(loaded=loaded, skipped=skipped)

    def refresh(self) -> None:
        """Look again what is in the folders."""
        self._app.catalog.refresh()

    def create_embedding(self, wish: CreateEmbedding) -> CreateResponse:
        """Make a textual inversion that begins as a text does. As in A1111, what is wrong is told in `info`."""
        try:
            file = self._app.create_embedding(wish.name, wish.num_vectors_per_token, init_text=wish.init_text, overwrite=wish.overwrite_old)
        except InvalidRequest as error:
            return CreateResponse(info=f"create embedding error: {error}")
        return CreateResponse(info=f"create embedding filename: {file}")

    def create_hypernetwork(self, wish: CreateHypernetwork) -> CreateResponse:
        """Make a hypernetwork that nobody has trained yet. As in A1111, what is wrong is told in `info`."""
        given = {
            "sizes": wish.enable_sizes,
            "structure": wish.layer_structure,
            "activation": wish.activation_func,
            "weight_init": wish.weight_init,
            "dropouts": wish.dropout_structure if wish.use_dropout else None,
        }
        try:
            asked = new_hypernetwork(layer_norm=wish.add_layer_norm, **{name: one for name, one in given.items() if one is not None})
            file = self._app.create_hypernetwork(asked, wish.name, overwrite=wish.overwrite_old)
        except InvalidRequest as error:
            return CreateResponse(info=f"create hypernetwork error: {error}")
        return CreateResponse(info=f"create hypernetwork filename: {file}")

    def _width(self) -> int | None:
        catalog = self._app.catalog
        try:
            family = catalog.find_checkpoint(self._app.settings.snapshot().sd_model_checkpoint).identity.family
        except InvalidRequest:
            return None
        return dict(WIDTHS).get(family.partition("-")[0])


def no_trainer() -> JSONResponse:
    """Training, which this version cannot do."""
    return error_response(501, "NotImplementedError", NO_TRAINER)
