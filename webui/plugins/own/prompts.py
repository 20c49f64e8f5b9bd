"""What the program does to prompts before a job is queued, in A1111's order: styles, comments, wildcards. Each is a plugin of its own.

What extensions do to prompts in the same hook comes behind the comments and before the wildcards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from webui.core.errors import InvalidRequest
from webui.core.prompt_syntax import without_comments
from webui.core.request import GenerationRequest
from webui.core.settings import Settings
from webui.core.styles import StyleStore, apply_styles
from webui.core.wildcards import Wildcards, has_wildcards
from webui.plugins.hookspecs import hookimpl

# Characters read and options weighed for all pictures together: a few seconds.
MAX_WORK_OF_A_JOB = 1_500_000

# So that a negative prompt does not draw what the prompt of the same seed draws.
NEGATIVE_OFFSET = 2**64

Tell = Callable[[str], None]


class StylesPlugin:
    """Puts stored styles, as they are on disk now, around prompts."""

    def __init__(self, styles: StyleStore) -> None:
        self._styles = styles

    @hookimpl(tryfirst=True)
    def prepare_prompts(self, request: GenerationRequest, styles: Sequence[str], tell: Tell) -> GenerationRequest | None:
        """The request with styles around all its prompts; of one that is not there the user is told."""
        if not styles:
            return None
        known = {style.name: style for style in self._styles.styles()}
        chosen = [known[name] for name in styles if name in known]
        if unknown := [name for name in styles if name and name not in known]:
            tell(f"There is no style {', '.join(map(repr, unknown))}; drawn without.")
        return _with_pairs(request, lambda prompt, negative: apply_styles(prompt, negative, chosen))


class CommentsPlugin:
    """Leaves out what stands behind a #."""

    @hookimpl(tryfirst=True)
    def prepare_prompts(self, request: GenerationRequest, settings: Settings) -> GenerationRequest | None:
        """The request without comments, unless the settings keep them."""
        if not settings.enable_prompt_comments:
            return None
        return _with_pairs(request, lambda prompt, negative: (without_comments(prompt), without_comments(negative)))


class WildcardsPlugin:
    """Draws prompts from templates."""

    def __init__(self, wildcards: Wildcards) -> None:
        self._wildcards = wildcards

    @hookimpl
    def prepare_prompts(self, request: GenerationRequest, settings: Settings, tell: Tell) -> GenerationRequest | None:
        """The request with every picture's own prompts, drawn by its seeds, and the templates kept.

        Raises InvalidRequest when a template asks for too much.
        """
        if not settings.wildcards or not any(map(has_wildcards, (request.prompt, request.negative_prompt))) or request.prompts:
            return None
        remarks: dict[str, None] = {}
        work = 0

        def drawn(template: str, index: int, offset: int = 0) -> str:
            nonlocal work
            seeds = request.seeds_of_image(index)
            expanded = self._wildcards.expand(template, seeds["subseed" if request.subseed_strength else "seed"] + offset)
            remarks.update(dict.fromkeys(expanded.remarks))
            work += expanded.work
            if work > MAX_WORK_OF_A_JOB:
                count = request.images
                raise InvalidRequest(
                    f"The wildcards of this prompt take too much work for {count} pictures. Use fewer, or draw fewer pictures."
                )
            return expanded.text

        prompts = [drawn(request.prompt, index) for index in range(request.images)]
        negatives = [drawn(request.negative_prompt, index, NEGATIVE_OFFSET) for index in range(request.images)]
        for remark in remarks:
            tell(remark)
        return request.changed(
            prompt=prompts[0],
            negative_prompt=negatives[0],
            prompts=prompts if len(set(prompts)) > 1 else (),
            negative_prompts=negatives if len(set(negatives)) > 1 else (),
            prompt_template=request.prompt if prompts[0] != request.prompt else "",
            negative_template=request.negative_prompt if negatives[0] != request.negative_prompt else "",
        )


def _with_pairs(request: GenerationRequest, change: Callable[[str, str], tuple[str, str]]) -> GenerationRequest:
    """The request with its prompts and negative prompts changed, those of single pictures too."""
    prompt, negative = change(request.prompt, request.negative_prompt)
    changes: dict[str, object] = {"prompt": prompt, "negative_prompt": negative}
    if request.prompts or request.negative_prompts:
        prompts = request.prompts or (request.prompt,) * request.images
        negatives = request.negative_prompts or (request.negative_prompt,) * request.images
        pairs = [change(*pair) for pair in zip(prompts, negatives, strict=True)]
        changes |= {"prompts": [pair[0] for pair in pairs], "negative_prompts": [pair[1] for pair in pairs]}
    return request.changed(**changes)
