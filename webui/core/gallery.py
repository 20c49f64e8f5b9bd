"""Pictures in outputs/ as they are looked for and found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IndexedPicture:
    """One picture.  path: below outputs/, with "/".   mtime: seconds since the epoch.   width, height: pixels, 0 where unknown."""

    id: str
    path: str
    mtime: float
    width: int
    height: int
    infotext: str
    favourite: bool


@dataclass(frozen=True)
class PictureQuery:
    """text: words that all stand in infotext or path, or begin words there; "in quotes": one after another.

    first, count: which of those found.
    """

    text: str = ""
    favourites: bool = False
    oldest_first: bool = False
    first: int = 0
    count: int = 60
