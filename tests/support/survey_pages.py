"""What a survey's page in Chromium shows."""

from __future__ import annotations

from typing import Any


def drawn(page: Any) -> dict[str, tuple[str, str]]:
    """Layer and colour by the id of each street that the map has drawn."""
    features = page.evaluate(
        """() => {
          const {map} = document.getElementById("map");
          const layers = ["unseen", "streets", "unsure"];
          for (const id of layers) {
            const paint = JSON.stringify(map.getPaintProperty(id, "line-color"));
            if (paint !== '["get","color"]') throw new Error(`${id} has the colour ${paint}`);
          }
          return map.queryRenderedFeatures({layers}).map(({layer, properties}) =>
            [properties.segment, layer.id, properties.color]);
        }"""
    )
    return {street: (layer, color) for street, layer, color in features}


def listed(page: Any) -> list[str]:
    return page.locator("#streets button").all_text_contents()


def wait_until_drawn(page: Any, layer: str = "severity") -> None:
    page.wait_for_selector(f"#map[data-drawn={layer}]", timeout=60_000)
