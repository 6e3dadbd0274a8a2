"""Settings of prices and names; what a price book is made of.

The overlay file is named here and read by `collector.config`: pricing opens no file.
"""

from typing import Literal

import msgspec

from collector.pricing.names import Deployment
from collector.pricing.overlay import Written


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What calls cost beside the price list, and what is done about calls that do not say their usage."""

    overlay: str | None = None
    """YAML file of dated prices and discounts that stand before the price list (docs/prices.md). A relative
    path is taken from the directory of this configuration."""

    deployments: tuple[Deployment, ...] = ()
    """Names of your own for models, such as Azure deployments: a list of {provider, name, server, model, region}."""

    unmetered: Literal["list", "estimate"] = "list"
    """What becomes of a call whose emitter sends no token counts: `list` reports it with an unknown cost,
    `estimate` also books the cost of the two counts below, marked as estimated."""

    estimate_input_tokens: int = 2000
    """Input tokens of a call under `unmetered: estimate`."""

    estimate_output_tokens: int = 500
    """Output tokens of the same."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a price book is made of; plain, so that one process can hand it to another."""

    rows: tuple[Written, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    estimate: tuple[int, int] | None = None
    """Input and output tokens of a call that does not say them, or `None`."""
