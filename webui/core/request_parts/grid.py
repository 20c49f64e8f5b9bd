"""A picture of all pictures of a job."""

from __future__ import annotations

from webui.core.parameters import parameter
from webui.core.request_parts.base import RequestPart


class GridParameters(RequestPart):
    """Whether a job's pictures are shown together as well; settings say how, and for which jobs."""

    make_grid: bool = parameter(False, title="Grid", help="Show the job's pictures together in one as well, as the settings say.")
