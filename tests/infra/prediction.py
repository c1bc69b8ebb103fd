"""What a configuration deploys, as the committed snapshot predicts it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.bicep import CONFIGURATIONS


@dataclass(frozen=True)
class Resource:
    """One resource of a deployment; `body` is what is sent to Azure."""

    id: str
    type: str
    name: str
    body: dict[str, Any]

    @property
    def properties(self) -> dict[str, Any]:
        """Its properties; empty where the template gives none."""
        found: dict[str, Any] = self.body.get("properties", {})
        return found


@dataclass(frozen=True)
class Prediction:
    """All that one configuration deploys."""

    name: str
    resources: tuple[Resource, ...]
    outputs: dict[str, Any]

    def all(self, resource_type: str) -> list[Resource]:
        """The resources of a type, in any number."""
        return [r for r in self.resources if r.type == f"Microsoft.{resource_type}"]

    def one(self, resource_type: str) -> Resource:
        """The only resource of a type."""
        (resource,) = self.all(resource_type)
        return resource

    def settings(self) -> dict[str, dict[str, str]]:
        """App settings of each host that is deployed: `flex`, `container`."""
        lists = {
            "flex": [
                site.properties["siteConfig"]["appSettings"] for site in self.all("Web/sites")
            ],
            "container": [
                app.properties["template"]["containers"][0]["env"]
                for app in self.all("App/containerApps")
            ],
        }
        return {
            host: {setting["name"]: setting["value"] for setting in found[0]}
            for host, found in lists.items()
            if found
        }


def read_prediction(configuration: Path) -> Prediction:
    """Read the snapshot beside a configuration."""
    snapshot = json.loads(configuration.with_suffix(".snapshot.json").read_text())
    return Prediction(
        name=configuration.stem,
        resources=tuple(
            Resource(id=r["id"], type=r["type"], name=r["name"], body=r)
            for r in snapshot["predictedResources"]
        ),
        outputs=snapshot["outputs"],
    )


PREDICTIONS = {c.stem: read_prediction(c) for c in CONFIGURATIONS}
