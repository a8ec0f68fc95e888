"""A date as a cell writes it; `DATES` is the table of its forms: a new one is one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

_TIME = (
    r"(?:[T ]\s*(?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<s>\d\d)(?:[.,]\d+)?)?\s*(?P<half>[AaPp][Mm])?"
    r"\s*(?P<zone>Z|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d\d)?|UTC|GMT)?)?"
)
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? )?"
_MONTHS = {name: k for k, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)}

DATES = (
    r"(?P<y>\d{4})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})",
    r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d\d)",
    r"(?P<d>\d{1,2})[-/. ]*(?P<name>[A-Za-z]{3})[a-z]*[-/., ]*(?P<y>\d{4}|\d\d)",
    r"(?P<name>[A-Za-z]{3})[a-z]*[-/. ]+(?P<d>\d{1,2})[-/., ]+(?P<y>\d{4})",
    r"(?P<y>\d{4})[-/](?P<m>0[1-9]|1[0-2])",
    r"(?P<name>[A-Za-z]{3})[a-z]*[-/., ]+(?P<y>\d{4})",
)
"""Forms of a date, each with or without a time of day; of `a` and `b` one is the day and one the month. Where there is
no day it is the first."""

_ZONE = re.compile(r"(?:UTC|GMT)?(?P<sign>[+-])(?P<h>\d{1,2}):?(?P<min>\d\d)?")
_DATE_PATTERNS = [re.compile(_WEEKDAY + date + _TIME) for date in DATES]


def date_parts(cell: str) -> dict[str, str] | None:
    """The parts of a date by their names; None if the cell writes none."""
    if not 6 <= len(cell) <= 40:
        return None
    found = next((match for pattern in _DATE_PATTERNS if (match := pattern.fullmatch(cell))), None)
    parts = None if found is None else {key: value for key, value in found.groupdict().items() if value}
    if parts is None or ("name" in parts and parts["name"].lower() not in _MONTHS):
        return None
    if "a" in parts and not all(0 < int(parts[key]) <= 31 for key in "ab"):
        return None  # "18.00.00" is a time
    return parts


def moment_of(parts: Mapping[str, str], dayfirst: bool) -> datetime | None:
    """The moment (UTC where a zone is named); None where there is no such day."""
    if "name" in parts:
        day, month = parts.get("d", "1"), str(_MONTHS[parts["name"].lower()])
    elif "a" in parts:
        day, month = (parts["a"], parts["b"]) if dayfirst else (parts["b"], parts["a"])
    else:
        day, month = parts.get("d", "1"), parts["m"]
    year = int(parts["y"])
    if len(parts["y"]) == 2:
        year += 1900 if year >= 69 else 2000  # POSIX: 69 to 99 are of the twentieth century
    hour = int(parts.get("h", 0))
    if "half" in parts:
        hour = hour % 12 + 12 * (parts["half"].lower() == "pm")
    try:
        moment = datetime(year, int(month), int(day), hour, int(parts.get("min", 0)), int(parts.get("s", 0)))
        zone = _ZONE.fullmatch(parts.get("zone", "Z"))
        if zone is not None:
            offset = timedelta(hours=int(zone["h"]), minutes=int(zone["min"] or 0))
            moment -= offset if zone["sign"] == "+" else -offset
    except (ValueError, OverflowError):
        return None
    return moment
