"""Summarise the scores of an explanation in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Score = Mapping[str, Any]
"""`{"mean", "interval"}`, see `means.mean_interval`."""


def sentences(scores: Mapping[str, Any]) -> list[str]:
    """One sentence for each score, the photos behind it counted; intervals are of 95%.

    Args:
        scores: of `scores.score_classifier` or `scores.score_regions`; empty where nothing was scored.
    """
    said = []
    if scores.get("faithfulness"):
        said += _faithfulness(scores["faithfulness"])
    if scores.get("localization"):
        for name, found in scores["localization"]["by_class"].items():
            said += _on_target(f"Maps of {name} in photos of it", found, "what the label follows from")
    if scores.get("sanity"):
        said.append(_sanity(scores["sanity"]))
    for name, found in scores.get("regions", {}).items():
        said += _on_target(f"Maps of {name}", found, f"what is {name} in truth")
    return said


def _faithfulness(found: Mapping[str, Any]) -> list[str]:
    n = f"n = {found['n']}"
    said = [
        f"Blurring the map's best cells first lowers the probability of the predicted class "
        f"{_against(found['deletion'], -1, 'faster', 'slower')} (area under the curve, {n}).",
        f"Putting its best cells into the blurred photo first raises it "
        f"{_against(found['insertion'], 1, 'faster', 'slower')} ({n}).",
    ]
    road = found["road"]
    if road:
        said.append(
            f"Filled in from their surroundings instead (ROAD), its best cells matter "
            f"{_against(road, 1, 'more', 'less')} (n = {road['n']})."
        )
    if found["flat"]:
        said.append(f"{found['flat']} of {found['n']} maps are the same in every cell, and their order is chance.")
    return said


def _against(found: Mapping[str, Any], good: int, better: str, worse: str) -> str:
    """`faster than in random order, +0.100 [+0.050, +0.150]; ...`; `not measurably` so where the interval holds 0."""
    parts = []
    for key, name in (("cam_minus_random", "in random order"), ("cam_minus_center", "from the centre outwards")):
        score = found[key]
        low, high = score["interval"] or (-1, 1)
        sure = low > 0 or high < 0
        word = (better if score["mean"] * good > 0 else worse) if sure else f"not measurably {better}"
        parts.append(f"{word} than {name}, {_signed(score)}")
    return "; ".join(parts)


def _on_target(what: str, found: Mapping[str, Any], target: str) -> list[str]:
    """Say how much of the maps lies on the evidence; nothing where no photo counts."""
    if not found["n"]:
        return []
    energy, lift, pointing = found["energy"]["cam"], found["lift"]["cam"], found["pointing"]["cam"]
    silent = f"; {found['silent']} of them are 0 everywhere" if found["silent"] else ""
    return [
        f"{what}: {_percent(energy['mean'])} of the map lies on {target}, which covers "
        f"{_percent(found['area']['mean'])} of the photo: {lift['mean']:.2f} times its share{_interval(lift, '.2f')} "
        f"({found['lift']['median']:.2f} in the middle photo); the maximum lies on it in "
        f"{_percent(pointing['mean'])} (n = {found['n']}{silent})."
    ]


def _sanity(found: Mapping[str, Any]) -> str:
    final = found["final"]
    if final is None:
        return "No map has two different values, so there is nothing that could depend on what was learned."
    verdict = "depend on what was learned" if found["passes"] else "hardly depend on what was learned"
    return (
        f"Reset layer by layer to an untrained network, the maps {verdict}: their rank correlation with the network's "
        f"own is then {final['mean']:+.2f}{_interval(final, '+.2f')} (n = {found['n']}, {found['draws']} draws)."
    )


def _signed(score: Score) -> str:
    return f"{score['mean']:+.3f}{_interval(score, '+.3f')}"


def _interval(score: Score, digits: str) -> str:
    if score["interval"] is None:
        return ""
    low, high = score["interval"]
    return f" [{low:{digits}}, {high:{digits}}]"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.1f}%"
