"""Regular expressions that are compiled at their first use.

A server's modules have fifty. Compiling all took a thirtieth of the processor time of its start, and most servers use few.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


def lazy_pattern(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern that is compiled when one of its attributes is first used."""
    return cast("re.Pattern[AnyStr]", LazyPattern(pattern, flags))


class LazyPattern:
    """Stands for a compiled pattern. After the first use it has the attributes of that pattern itself."""

    def __init__(self, pattern: str | bytes, flags: int) -> None:
        self._source: tuple[Any, int] = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(*self._source)
        for each in ("pattern", "flags", "match", "fullmatch", "search", "sub", "findall", "finditer", "split"):
            setattr(self, each, getattr(compiled, each))
        return getattr(compiled, name)
