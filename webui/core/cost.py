"""What a job costs, before it is begun: so that a server can say how much one request may ask for."""

from __future__ import annotations

from webui.core.errors import InvalidRequest
from webui.core.extras import ExtrasRequest, PictureRequest
from webui.core.settings import Settings

MEGA = 1e6


def cost_of(request: PictureRequest, *, draws: int | None = None) -> float:
    """Megapixels times steps times pictures, of both passes of a hires fix; in Extras, megapixels of all results, once for each upscaler.

    draws: how many pictures a script draws. They count as the request that it is given, though it may change their steps.
    """
    if isinstance(request, ExtrasRequest):
        sizes = [request.target(picture) for picture in request.pictures]
        return sum(size.width * size.height for size in sizes) * max(1, len(request.upscalers)) / MEGA
    one = request.width * request.height * request.steps
    if request.enable_hr:
        size = request.hires_size
        one += size.width * size.height * (request.hr_second_pass_steps or request.steps)
    return one * (request.images if draws is None else draws) / MEGA


def check_cost(request: PictureRequest, settings: Settings, *, draws: int | None = None) -> None:
    """Raises InvalidRequest for a job that costs more than the settings allow."""
    limit, cost = settings.max_job_cost, cost_of(request, draws=draws)
    if limit and cost > limit:
        raise InvalidRequest(
            f"This job would cost {cost:.1f} megapixel-steps, and {limit:g} may be asked for at once. "
            "Ask for fewer or smaller pictures, or fewer steps."
        )
