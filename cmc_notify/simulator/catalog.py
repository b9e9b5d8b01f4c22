"""The controller's features that can be pushed, and its appliances by site."""

from dataclasses import dataclass
from typing import Any

_FEATURES = (
    ("networking", "Networking", "Interfaces, routes and host settings"),
    ("path_selection", "Path Selection", "Paths and the traffic steered over them"),
    ("qos", "QoS", "Classes, profiles and bandwidth"),
    ("optimization_policy", "Optimization Policy", "In-path rules and protocol settings"),
    ("secure_transport", "Secure Transport", "Encryption between sites"),
    ("web_proxy", "Web Proxy", "Caching of web content"),
    ("host_settings", "Host Settings", "DNS, NTP and proxies"),
    ("snmp_settings", "SNMP Settings", "Traps and views"),
)

_CITIES = (
    "amsterdam", "athens", "barcelona", "berlin", "bordeaux", "brussels", "dublin", "gdansk", "geneva",
    "hamburg", "helsinki", "krakow", "lisbon", "london", "lyon", "madrid", "milan", "munich", "nantes",
    "oslo", "paris", "porto", "prague", "riga", "rome", "sofia", "stockholm", "tallinn", "vienna", "zurich",
)  # fmt: skip

_MODELS = (("CX570", "EX"), ("CX770", "EX"), ("CX3070", "CX"), ("VCX-90", "VCX"))

PER_SITE = 4
"""Appliances at one site."""


@dataclass(frozen=True)
class SimulatedAppliance:
    """One appliance of the inventory."""

    number: int
    serial: str
    hostname: str
    site_id: int
    model: str
    product_code: str

    def document(self) -> dict[str, Any]:
        """Return the appliance as ``brief_appliances`` shows it."""
        return {
            "id": self.number,
            "serial": self.serial,
            "uuid": f"00000000-0000-4000-8000-{self.number:012d}",
            "model": self.model,
            "product_code": self.product_code,
            "hostname": self.hostname,
            "address": f"10.{self.site_id // 256}.{self.site_id % 256}.{self.number % 200 + 10}",
            "health": "Healthy",
        }


class Catalog:
    """The features, and any number of appliances."""

    def __init__(self) -> None:
        self.features: list[dict[str, Any]] = []
        self.appliances: list[SimulatedAppliance] = []
        for number, (name, label, description) in enumerate(_FEATURES, 1):
            self.add_feature(number, name, label, description)

    def add_feature(self, number: int, name: str, label: str, description: str = "") -> None:
        """Add a feature that can be pushed."""
        self.features.append({
            "id": number,
            "name": name,
            "pretty_name": label,
            "description": description,
            "push_enable": True,
        })  # fmt: skip

    def grow(self, count: int) -> list[SimulatedAppliance]:
        """Create appliances until there are ``count``, and return the first ``count``."""
        for number in range(len(self.appliances) + 1, count + 1):
            site = (number - 1) // PER_SITE
            city, district = _CITIES[site % len(_CITIES)], site // len(_CITIES)
            place = f"{city}{district + 1}" if district else city
            model, code = _MODELS[site % len(_MODELS)]
            hostname = f"{place}-edge-{(number - 1) % PER_SITE + 1}"
            appliance = SimulatedAppliance(number, f"V2AB{number:05d}", hostname, site + 1, model, code)
            self.appliances.append(appliance)
        return self.appliances[:count]
