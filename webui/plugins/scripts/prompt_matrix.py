"""Prompt matrix: a prompt with parts that may be there or not, drawn with every combination of them."""

from __future__ import annotations

from webui.core.errors import InvalidRequest
from webui.core.infotext import with_pairs
from webui.core.parameters import parameter
from webui.core.request import GenerationRequest
from webui.core.scripts import Desk, Draw, DrawFailed, DrawingEnded, Give, Plan, Script, ScriptArguments, Shot, Steps, Tell
from webui.plugins.scripts.grids import Label, Legend, Sheet, paste_grid

# 2**10 pictures.
MOST_PARTS = 10


class PromptMatrixArguments(ScriptArguments):
    """Which prompt, and how its parts are put together."""

    put_at_start: bool = parameter(False, title="Put variable parts at start of prompt", help="Before the part that is always there.")
    different_seeds: bool = parameter(False, title="Use different seed for each picture", help="Off: only the prompt differs.")
    prompt_type: str = parameter("positive", title="Prompt with the parts", help="Which of the two.", choices=("positive", "negative"))
    variations_delimiter: str = parameter("comma", title="Joining char", help="What stands between two parts.", choices=("comma", "space"))
    margin_size: int = parameter(0, title="Grid margins (px)", help="Between the pictures of the grid.", minimum=0, maximum=500, step=2)


class PromptMatrix(Script[PromptMatrixArguments]):
    """The parts are between "|"; one within brackets belongs to them and parts nothing."""

    title = "Prompt matrix"
    arguments = PromptMatrixArguments

    def plan(self, request: GenerationRequest, arguments: PromptMatrixArguments, desk: Desk) -> Plan:
        """One picture a combination."""
        parts = len(split_parts(_template(request, arguments))) - 1
        if parts > MOST_PARTS:
            raise InvalidRequest(f"Prompt matrix: got {parts} parts, which are {2**parts} pictures; use at most {MOST_PARTS} parts.")
        drawn = 2**parts
        return Plan(drawn, drawn, drawn, grids=1)

    def run(self, request: GenerationRequest, arguments: PromptMatrixArguments, desk: Desk) -> Steps:
        """Combination n has the parts whose bits are set in n."""
        first, *parts = split_parts(_template(request, arguments))
        field = "prompt" if arguments.prompt_type == "positive" else "negative_prompt"
        base = request.changed(batch_count=1, batch_size=1)
        shots: dict[int, Shot] = {}
        try:
            for number in range(2 ** len(parts)):
                chosen = [part.strip().strip(",") for bit, part in enumerate(parts) if number >> bit & 1]
                together = [*chosen, first] if arguments.put_at_start else [first, *chosen]
                prompt = (", " if arguments.variations_delimiter == "comma" else " ").join(together)
                changes: dict[str, object] = {field: prompt}
                if arguments.different_seeds:
                    changes |= request.seeds_of_image(number)
                try:
                    (shots[number],) = yield Draw(base.changed(**changes), place=number)
                except DrawFailed as error:
                    yield Tell(f"Combination {number + 1} was not drawn: {error}")
        except DrawingEnded:
            pass
        if shots:
            sheet = _sheet(shots, parts, arguments.margin_size)
            yield Give(paste_grid(sheet), with_pairs(shots[min(shots)].infotext, {"Script": self.title}), is_grid=True)


def split_parts(prompt: str) -> list[str]:
    """What is between the "|" that stand outside of all brackets: [a|b] alternates, {a|b} is a wildcard."""
    parts, depth = [""], 0
    for character in prompt:
        depth += (character in "[{(") - (character in "]})")
        if character == "|" and depth <= 0:
            parts.append("")
            depth = 0
        else:
            parts[-1] += character
    return parts


def _template(request: GenerationRequest, arguments: PromptMatrixArguments) -> str:
    return request.prompt if arguments.prompt_type == "positive" else request.negative_prompt


def _sheet(shots: dict[int, Shot], parts: list[str], margin: int) -> Sheet:
    """The first half of the parts across, the other half down; what a row or a column lacks is struck out in its legend."""
    across = (len(parts) + 1) // 2
    columns, rows = 2**across, 2 ** (len(parts) - across)
    images = {number: shot.image for number, shot in shots.items()}
    pictures = [[images.get(row * columns + column) for column in range(columns)] for row in range(rows)]
    return Sheet.of(
        pictures,
        columns=[_legend(number, parts[:across]) for number in range(columns)],
        rows=[_legend(number, parts[across:]) for number in range(rows)],
        margin=margin,
    )


def _legend(number: int, parts: list[str]) -> Legend:
    return tuple(Label(part.strip(), bool(number >> bit & 1)) for bit, part in enumerate(parts))
