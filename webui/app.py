"""The whole program as one object: builds every part once, owns it, and takes jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL.Image import Image

from webui.catalog.cards import ModelCards
from webui.catalog.catalog import Catalog
from webui.catalog.cover_pictures import cover_picture
from webui.catalog.new_embedding import write_new_embedding
from webui.catalog.new_files import name_new_file, taken
from webui.catalog.watching import FolderWatch
from webui.core.cost import check_cost
from webui.core.desktop import Desktop
from webui.core.errors import InvalidRequest, WebuiError
from webui.core.extras import MAX_NAME, ExtrasRequest, SourcePicture
from webui.core.files import check_room, written_whole
from webui.core.gallery import PictureQuery
from webui.core.images import decode_image
from webui.core.infotext_apply import Pasted, read_paste
from webui.core.interrogation import CAPTIONER
from webui.core.lora_renaming import rename_loras
from webui.core.metadata import PictureMetadata
from webui.core.metadata import read as read_metadata
from webui.core.model_cards import Card, ModelUse, is_named_in, said_in_infotext
from webui.core.model_jobs import DownloadRequest, MergeRequest
from webui.core.new_hypernetwork import NewHypernetwork
from webui.core.paths import Paths
from webui.core.ports import Engine
from webui.core.preprocessors import PREPROCESSORS, Preprocessor, find_preprocessor
from webui.core.request import GenerationRequest
from webui.core.samplers import SAMPLERS, SCHEDULES, Sampler, Schedule, find_sampler, find_schedule
from webui.core.scripts import Desk, Plan, Script, check_size
from webui.core.settings import Settings
from webui.core.settings_store import SettingsStore
from webui.core.styles import StyleStore
from webui.core.upscalers import Upscaler
from webui.core.verdict import Verdict
from webui.core.web import Web
from webui.core.wildcards import Wildcards
from webui.engine.warmup import EngineOptions, WarmingEngine
from webui.jobs.describing import describe, who_describes
from webui.jobs.downloading import settle_download
from webui.jobs.job import Job
from webui.jobs.merging import settle_merge
from webui.jobs.outputs import Outputs
from webui.jobs.picture_index import PictureIndex
from webui.jobs.queue import JobQueue
from webui.jobs.settling import name_models, settle
from webui.jobs.verify import Claim, Verifications
from webui.plugins.host import Host
from webui.plugins.install.installer import Installer
from webui.plugins.own import own_plugins

__all__ = ["App", "Job"]

log = logging.getLogger(__name__)


class App:
    """Owner of settings, catalog, engine, queue and extensions. `api` and `ui` talk to this and nothing behind it.

    engine: another engine than the local one, for tests and remote machines.   watching: look again by itself when model files change.
    web: what downloads may reach, for tests.   desktop: where folders may be shown.
    extension_access: whether extensions may be installed and changed from the page and the API.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        command_line_settings: Mapping[str, Any] | None = None,
        engine_options: EngineOptions | None = None,
        engine: Engine | None = None,
        web: Web | None = None,
        safe_mode: bool = False,
        extension_access: bool = True,
        desktop: Desktop | None = None,
        hashing: bool = True,
        watching: bool = False,
    ) -> None:
        self.paths = paths
        self.desktop = desktop or Desktop()
        self.settings = SettingsStore(paths.config, command_line_settings)
        self.catalog = Catalog(paths, hashing=hashing)
        self.models = ModelCards(self.catalog, paths)
        self._watch = FolderWatch(paths.model_folders, self.catalog.refresh) if watching else None
        self.styles = StyleStore((paths.styles,))
        self.host = Host(paths.extensions, own_plugins(self.styles, Wildcards(paths.wildcards)), safe_mode=safe_mode)
        self._extensions_loaded = False
        self.engine = engine or WarmingEngine(engine_options or EngineOptions(), paths, self.host.engine_side)
        self._verifications = Verifications()
        self.outputs = Outputs(paths, paths.state / "queue.sqlite")
        self.gallery = PictureIndex(paths.outputs, paths.state / "gallery.sqlite")
        self._web = web or Web()
        self.installer = Installer(paths.extensions, self.settings, loaded=self.host.extensions, web=self._web, allowed=extension_access)
        self.queue = JobQueue(paths.state / "queue.sqlite", self.engine, self.outputs, self.catalog, self.host, self.styles, web=self._web)

    def start(self) -> None:
        """Find models, load extensions, warm the engine up in the background, and take up the queue where it was left."""
        self.load_extensions()
        self.catalog.refresh()
        self.host.start(self)
        if isinstance(self.engine, WarmingEngine):
            self.engine.warm_up()
        self.queue.start()
        self.catalog.start_hashing()
        if self._watch:
            self._watch.start()

    def load_extensions(self) -> None:
        """Import what is in extensions/. To be called before a server is built, which asks for routes and tabs. Idempotent."""
        if self._extensions_loaded:
            return
        self._extensions_loaded = True
        self.installer.begin()
        settings = self.settings.snapshot()
        self.host.load(disabled=settings.disabled_extensions, disable_all=settings.disable_all_extensions)
        additions = self.host.additions()
        self.settings.declare({name: field for one in additions for name, field in one.settings.items()})
        upscalers = (Upscaler(one.name) for addition in additions for one in addition.upscalers)
        self.catalog.add(upscalers=upscalers, families=self.host.engine_side.families())

    def close(self) -> None:
        """Put running jobs back into the queue, stop the engine, close files. Idempotent."""
        if self._watch:
            self._watch.close()
        self.installer.close()
        self.queue.close()
        self.engine.close()
        self.host.close()
        self.catalog.close()
        self.outputs.close()
        self.gallery.close()

    def submit(
        self,
        request: GenerationRequest,
        *,
        overrides: Mapping[str, Any] | None = None,
        styles: Sequence[str] = (),
        save: bool | None = None,
        source: str = "api",
        job_id: str | None = None,
    ) -> Job:
        """Queue a job.

        overrides: settings for this job alone.   styles: names of stored styles to put around the prompts; unknown ones are
        remarked on.   save: keep the pictures in outputs/ (None: as the settings say).
        source: who asks ("ui", "api", ...), shown in the queue.   Raises InvalidRequest, NotFound, QueueFull.
        """
        settings = self.settings.with_changes(overrides or {})
        if request.script:
            return self._submit_script(request, settings, tuple(styles), save=save, source=source, job_id=job_id)
        request = self.host.begin(request, settings)
        request = self.host.change_request(request).with_real_seed()
        request, remarks = self.host.prepare(request, settings, styles)
        request = self.host.settle(request, settings)
        request, notes = settle(request, settings, self.catalog)
        check_cost(request, settings)
        wants_saving = settings.samples_save if save is None else save
        return self.queue.submit(request, settings, job_id=job_id, source=source, save=wants_saving, remarks=(*remarks, *notes))

    def change_settings(self, changes: Mapping[str, Any]) -> Settings:
        """Validate and store settings, all or none; models may be named as A1111 names them.  Raises WebuiError."""
        self.installer.check_settings(changes)
        return self.settings.change(name_models(changes, self.catalog))

    def estimate_depth(self, picture: Image, request: GenerationRequest) -> Image:
        """A picture's depth as a job would use it: mode "L", white is near, read as the request wants it.  Raises WebuiError."""
        asked = request.checkpoint
        checkpoint = self.catalog.find_checkpoint(asked or self.settings.snapshot().sd_model_checkpoint, closest=bool(asked))
        return self.engine.depth_of(picture, request, checkpoint.path, self.catalog.depth_model())

    def plan_script(self, request: GenerationRequest, overrides: Mapping[str, Any] | None = None) -> Plan:
        """How much the request's script would draw, before it is submitted.  Raises InvalidRequest when it cannot be."""
        return self._plan_script(request, self.settings.with_changes(overrides or {}))

    def _plan_script(self, request: GenerationRequest, settings: Settings) -> Plan:
        script = self.host.find_script(request.script)
        if script.needs_picture and not request.init_images:
            raise InvalidRequest(f"{script.title} begins with a picture; use it in img2img, and give one.")
        if request.prompts or request.negative_prompts:
            raise InvalidRequest("prompts: a script makes its prompts of one text; send one, or leave the script out.")
        plan = script.plan(request, script.read(request.script_args), self.queue.desk(settings))
        check_size(plan)
        return plan

    def _submit_script(
        self, request: GenerationRequest, settings: Settings, styles: tuple[str, ...], *, save: bool | None, source: str, job_id: str | None
    ) -> Job:
        """Queue a job whose prompts are prepared one by one, as the script makes them."""
        is_random = request.script_random_seed or request.seed == -1
        request = self.host.change_request(request).with_real_seed()
        request, notes = settle(request, settings, self.catalog)
        script = self.host.find_script(request.script)
        request = request.changed(
            script=script.title,
            script_args=script.read(request.script_args).model_dump(mode="json"),
            script_styles=styles or request.script_styles,
            script_random_seed=is_random,
        )
        plan = self._plan_script(request, settings)
        request = request.changed(script_pictures=plan.pictures + plan.grids)
        check_cost(request, settings, draws=plan.draws)
        wants_saving = settings.samples_save if save is None else save
        remarks = (plan.remark, *notes) if plan.remark else notes
        return self.queue.submit(request, settings, job_id=job_id, source=source, save=wants_saving, remarks=remarks)

    @property
    def script_desk(self) -> Desk:
        """What scripts may ask of the program, with the settings as they are."""
        return self.queue.desk(self.settings.snapshot())

    @property
    def scripts(self) -> tuple[Script[Any], ...]:
        """Every script, in the order they are shown."""
        return self.host.scripts()

    def submit_merge(self, request: MergeRequest, *, source: str = "api", job_id: str | None = None) -> Job:
        """Queue a job that merges, converts or prunes checkpoints; its request's `result` names the file to be. Errors as of `submit`."""
        request = settle_merge(request, self.catalog)
        return self.queue.submit(request, self.settings.snapshot(), job_id=job_id, source=source)

    def submit_download(self, request: DownloadRequest, *, source: str = "api", job_id: str | None = None) -> Job:
        """Queue a job that fetches a model file; its request's `result` names the file to be. Errors as of `submit`."""
        settings = self.settings.snapshot()
        request = settle_download(request, settings, self.catalog, self._web)
        return self.queue.submit(request, settings, job_id=job_id, source=source)

    def take_picture(self, data: bytes, *, name: str = "") -> SourcePicture:
        """Keep a picture file for a job of the Extras tab, with what it says of how it was made.  Raises InvalidRequest."""
        image = decode_image(data)
        infotext = read_metadata(data).infotext
        stored = self.queue.inputs.add(image)
        return SourcePicture(image=stored, width=image.width, height=image.height, name=name[-MAX_NAME:], infotext=infotext)

    def submit_extras(self, request: ExtrasRequest, *, save: bool | None = None, source: str = "api", job_id: str | None = None) -> Job:
        """Queue a job that makes pictures larger and mends faces. As `submit`; its pictures lie in `queue.inputs`."""
        settings = self.settings.snapshot()
        found = {name: self.catalog.upscalers.find(getattr(request, name)).name for name in ("upscaler_1", "upscaler_2")}
        request = self.host.settle_extras(request.changed(**found))
        self.catalog.face_files(request.face_restorers)
        self.queue.inputs.files_of(request)
        check_cost(request, settings)
        wants_saving = settings.samples_save if save is None else save
        return self.queue.submit(request, settings, job_id=job_id, source=source, save=wants_saving)

    def uses_of(self, card: Card) -> ModelUse:
        """Where a model is used: the pictures in outputs/ that say so, the styles, and the checkpoints that it belongs to.

        Looks through outputs/ for what has come, which takes its time where nobody has looked before.
        """
        said = said_in_infotext(card)
        self.gallery.refresh()
        _, pictures = self.gallery.find(PictureQuery(text=said, count=0))
        styles = (style.name for style in self.styles.styles() if is_named_in(f"{style.prompt}\n{style.negative_prompt}", card))
        return ModelUse(said, pictures, tuple(styles), self.models.belongs_to(card))

    def create_embedding(self, name: str, vectors: int = 1, *, init_text: str = "*", overwrite: bool = False) -> Path:
        """Make a textual inversion that begins as this text does in the checkpoint of the settings.  Raises WebuiError."""
        checkpoint = self.catalog.find_checkpoint(self.settings.snapshot().sd_model_checkpoint)
        rows = self.engine.token_vectors(init_text, checkpoint.path)
        file = write_new_embedding(self.paths.embeddings[0], name, vectors, rows, overwrite=overwrite)
        self.catalog.refresh()
        return file

    def create_hypernetwork(self, wish: NewHypernetwork, name: str, *, overwrite: bool = False) -> Path:
        """Make a hypernetwork that nobody has trained yet, in A1111's format.  Raises WebuiError."""
        file = name_new_file(self.paths.hypernetworks[0], name, ".pt", overwrite=overwrite)
        try:
            with written_whole(file, overwrite=overwrite) as temporary:
                check_room(temporary.parent, wish.bytes)
                self.engine.write_hypernetwork(wish, file.stem, temporary)
        except FileExistsError:
            raise taken(file) from None
        self.catalog.refresh()
        return file

    def cover_picture(self, file: Path, index: int) -> Image:
        """A picture that a model's trainer has put into its file.  Raises NotFound."""
        return cover_picture(file, index)

    def load_checkpoint(self) -> None:
        """Bring the checkpoint of the settings into memory.  Raises WebuiError."""
        settings = self.settings.snapshot()
        checkpoint = self.catalog.find_checkpoint(settings.sd_model_checkpoint)
        vae = self.catalog.find_vae(settings.sd_vae, checkpoint)
        self.engine.preload(checkpoint.path, vae.path if vae else None)

    @property
    def interrogators(self) -> tuple[str, ...]:
        """Who can put a picture in words: "clip" for a sentence, names of taggers for tags."""
        return who_describes(self.paths.models)

    def interrogate(self, picture: Image, model: str = CAPTIONER) -> str:
        """A picture in words.  model: see `interrogators`; "deepdanbooru" is any tagger.  Raises NotFound saying what to put where."""
        return describe(picture, model, engine=self.engine, models=self.paths.models, settings=self.settings.snapshot())

    def read_paste(self, source: str | PictureMetadata) -> Pasted:
        """What an infotext or a picture that was read would change; its models are looked up here by hash, else by name."""
        infotext = source if isinstance(source, str) else source.infotext
        pasted = read_paste(source, find_checkpoint=self._checkpoint_name, find_vae=self._vae_name)
        return self.host.infotext_pasted(infotext, rename_loras(pasted, infotext, self._lora_of_hash))

    def verify(self, data: bytes, *, source: str = "ui") -> Job:
        """Draw a picture file again, unsaved, from what it says of itself; when the job has ended, `verdict` compares.

        Raises InvalidRequest when the picture cannot be read or says nothing of how it was made, and what `submit` raises.
        """
        metadata = read_metadata(data)
        if not metadata.infotext and metadata.record is None:
            raise InvalidRequest("This picture says nothing of how it was made, so it cannot be drawn again. Choose another one.")
        pasted = self.read_paste(metadata)
        request = GenerationRequest().changed(**pasted.request_changes)
        claim = Claim(decode_image(data), metadata)
        overrides = {**pasted.settings_changes, "samples_format": "png"}  # pixels are compared: none may be lost
        job = self.submit(request, overrides=overrides, save=False, source=source)
        self._verifications.add(job.id, claim)
        return job

    def verdict(self, job_id: str) -> Verdict | None:
        """How near a verified picture came; None while it is being drawn, or when it could not be.  Raises NotFound."""
        job = self.queue.job(job_id)
        pictures = job.result.pictures if job.result else ()
        return self._verifications.verdict(job_id, pictures[0]) if pictures else None

    def _checkpoint_name(self, name: str) -> str | None:
        try:
            return self.catalog.find_checkpoint(name, closest=False).name
        except WebuiError:
            return None

    def _lora_of_hash(self, name: str, digits: str) -> str | None:
        """The name here of the LoRA that is called otherwise elsewhere; None where the name is right, or the file is not known."""
        hashes = {lora.stem: self.catalog.known_lora_hash(lora) for lora in self.catalog.loras()}
        try:
            present = self.catalog.find_lora(name).stem
        except WebuiError:
            present = ""
        if present and not hashes[present]:
            return None  # it has the name, and what it holds is not known yet
        matching = [stem for stem, known in hashes.items() if known.startswith(digits)]
        return None if present in matching else next(iter(matching), None)

    def _vae_name(self, name: str) -> str | None:
        try:
            vae = self.catalog.find_vae(name, self.catalog.find_checkpoint("", closest=True))
        except WebuiError:
            return None
        return vae.name if vae else name

    @property
    def engine_ready(self) -> bool:
        """Whether the engine answers at once; before that, asking it something waits for it."""
        return not isinstance(self.engine, WarmingEngine) or self.engine.ready

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        """Every sampling method, in the order they are shown."""
        return (*SAMPLERS, *(find_sampler(one.name) for addition in self.host.additions() for one in addition.samplers))

    @property
    def preprocessors(self) -> tuple[Preprocessor, ...]:
        """Every preprocessor of ControlNet, in the order they are shown."""
        added = (one for addition in self.host.additions() for one in addition.preprocessors)
        return (*PREPROCESSORS, *(replace(find_preprocessor(one.name), types=one.types) for one in added))

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """Every schedule type, in the order they are shown."""
        return (*SCHEDULES, *(find_schedule(one.name) for addition in self.host.additions() for one in addition.schedules))
