"""Times with their zones, as files and people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from streetlab.errors import UserError, did_you_mean

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


def parse_zone(text: str) -> tzinfo:
    """The zone `Europe/Amsterdam` or the offset `+02:00`.

    Raises:
        UserError: no such zone.
    """
    if match := _OFFSET.fullmatch(text):
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = did_you_mean(text, available_timezones())
        raise UserError(f"time_zone: no zone '{text}'{near} (Europe/Amsterdam, or an offset as +02:00)") from None


def parse_time(text: str, zone: tzinfo | None) -> datetime:
    """A time in ISO 8601, in UTC where it or `zone` gives the zone, else without one.

    Raises:
        ValueError: the text is no time.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        if zone is None:
            return moment
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)


def time_with_zone(key: str, text: str, zone: tzinfo | None) -> datetime:
    """The time that a key holds, in UTC.

    Raises:
        UserError: it is no time, or has no zone and there is none.
    """
    try:
        moment = parse_time(text, zone)
    except ValueError:
        raise UserError(f"{key}: '{text}' is not a time in ISO 8601 (2025-03-14T08:00:00Z)") from None
    if moment.tzinfo is None:
        raise UserError(f"{key}: the time {text} has no zone; give time_zone=Europe/Amsterdam, or end it with +02:00")
    return moment
