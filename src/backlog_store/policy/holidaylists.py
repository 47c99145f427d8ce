"""
Public holidays by country and region, from the package `holidays`: one file of days among the files of a policy.
"""

from __future__ import annotations

from backlog_store.policy.findings import nearest

__all__ = ["YEARS", "holiday_list", "why_none"]

#: The years that a list holds. Fixed, so that the same release of the package always makes the same list.
YEARS = range(2020, 2051)
_MISSING = "the list of holidays needs a package: pip install 'backlog-store[calendars]'"


def holiday_list(code: str) -> str | None:
    """
    Return the holidays of a country (``DE``) or region (``DE-BE``), a day and its name a line; ``None`` if not known.
    """
    try:
        import holidays
    except ImportError:
        return None
    country, _, region = code.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=region or None, years=YEARS)
    except NotImplementedError:
        return None
    return "".join(f"{day} {' '.join(found[day].split())}\n" for day in sorted(found))


def why_none(code: str) -> tuple[str, str]:
    """
    Return why there is no list for a country or region, and what was probably meant.
    """
    try:
        import holidays
    except ImportError:
        return _MISSING, ""
    known = holidays.list_supported_countries()
    country, _, region = code.partition("-")
    if country not in known:
        return f"no holidays are known of a country {country!r}", nearest(country, sorted(known))
    if region and region not in known[country]:
        regions = sorted(known[country])
        close = nearest(region, regions)
        rest = "" if close or not regions else f"; known are {', '.join(regions)}"
        return f"no holidays are known of a region {region!r} of {country}{rest}", f"{country}-{close}" if close else ""
    return f"the list of the holidays of {code} was not handed in with the policy", ""
