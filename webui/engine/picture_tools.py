"""What a drawing job does to pictures, not latents, by its settings: enlarge them with any upscaler, mend the faces in them."""

from __future__ import annotations

from PIL import Image

from webui.core.errors import InvalidRequest, UnknownName
from webui.core.ports import Work
from webui.core.upscalers import NO_UPSCALER, OWN_UPSCALERS, Upscaler
from webui.engine.faces import mend_faces
from webui.engine.image_models import ImageModels
from webui.engine.upscale import Enlarging, tiling_of, upscale, upscaling


class PictureTools:
    """Of one job.  models: loads the files that the job names; None where none can be."""

    def __init__(self, work: Work, models: ImageModels | None) -> None:
        self._work = work
        self._models = models

    def enlarging(self, name: str, image: Image.Image, width: int, height: int) -> Enlarging:
        """The picture at this size by the upscaler of that name, a tile at a time.  Raises UnknownName, ModelError, OutOfMemory."""
        upscaler = self._upscaler(name)
        return upscaling(image, upscaler, width, height, models=self._models, tiling=tiling_of(upscaler, self._work.settings))

    def enlarge(self, name: str, image: Image.Image, width: int, height: int) -> Image.Image:
        """As `enlarging`, at once."""
        upscaler = self._upscaler(name)
        return upscale(image, upscaler, width, height, models=self._models, tiling=tiling_of(upscaler, self._work.settings))

    def before_drawing_over(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """A picture that img2img is to bring to a larger size, enlarged by the upscaler of the settings so that it covers that size."""
        factor = max(width / image.width, height / image.height)
        name = self._work.settings.upscaler_for_img2img
        if name == NO_UPSCALER or factor <= 1:
            return image
        return self.enlarge(name, image, max(width, round(image.width * factor)), max(height, round(image.height * factor)))

    def with_faces_mended(self, image: Image.Image) -> Image.Image:
        """A drawn picture; as it is, unless the settings ask for face restoration."""
        settings, faces = self._work.settings, self._work.faces
        if not settings.face_restoration:
            return image
        if faces is None or self._models is None:
            raise InvalidRequest("face_restoration: the files that mend faces were not given with the job.")
        weight = settings.code_former_weight
        return mend_faces(image, faces, settings.face_restoration_model, models=self._models, weight=weight).image

    def _upscaler(self, name: str) -> Upscaler:
        found = self._work.upscalers.get(name) or (Upscaler(name) if name in OWN_UPSCALERS else None)
        if found is None:
            raise UnknownName("upscaler", name, self._work.upscalers or OWN_UPSCALERS)
        return found
