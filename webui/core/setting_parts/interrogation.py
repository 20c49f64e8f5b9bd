"""How pictures are put in words."""

from __future__ import annotations

from webui.core.parameters import Declared, parameter


class InterrogationSettings(Declared):
    """The settings of captioner and taggers, under A1111's names."""

    interrogate_return_ranks: bool = parameter(
        False, title="Write how sure it is", section="Interrogate", help="A tag is written as (tag:0.873), which is emphasis in a prompt."
    )
    interrogate_clip_num_beams: int = parameter(
        1,
        title="Beams",
        minimum=1,
        maximum=16,
        step=1,
        section="Interrogate",
        help="How many captions are followed at once.",
    )
    interrogate_clip_min_length: int = parameter(
        24, title="Shortest caption", minimum=1, maximum=128, step=1, section="Interrogate", help="In tokens."
    )
    interrogate_clip_max_length: int = parameter(
        48, title="Longest caption", minimum=1, maximum=256, step=1, section="Interrogate", help="In tokens."
    )
    interrogate_deepbooru_score_threshold: float = parameter(
        0.5, title="Threshold of tags", minimum=0.0, maximum=1.0, step=0.01, section="Interrogate",
        help="How sure a tagger must be of a tag; of a character at least 0.85. WD taggers are made for 0.35.",
    )  # fmt: skip
    deepbooru_sort_alpha: bool = parameter(
        True, title="Sort tags by letters", section="Interrogate", help="Otherwise the surest come first."
    )
    deepbooru_use_spaces: bool = parameter(True, title="Spaces in tags", section="Interrogate", help="Write red hair, not red_hair.")
    deepbooru_escape: bool = parameter(
        True, title="Escape brackets", section="Interrogate", help="Write \\( and \\), so that brackets in a tag are no emphasis."
    )
    deepbooru_filter_tags: str = parameter(
        "", title="Tags to leave out", max_length=10_000, section="Interrogate", help="With commas between them."
    )
