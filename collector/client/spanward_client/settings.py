"""Environment variables → one frozen `Settings`.

| variable | default | meaning |
|---|---|---|
| `SPANWARD_ENDPOINT` | `http://127.0.0.1:4320` | address of the control endpoint |
| `SPANWARD_API_KEY` | the key in `OTEL_EXPORTER_OTLP_HEADERS` | the agent's key |
| `SPANWARD_FAIL_MODE` | `closed` | `closed`: no answer means no; `open`: no answer means yes |
| `SPANWARD_TIMEOUT` | `5` | seconds each step of an ask (connect, send, wait) may take |
| `SPANWARD_AGENT` | empty | id of the agent, for a tenant's key |
| `SPANWARD_FEEDBACK` | `on` | `off`: do not follow kills, only ask |
| `SPANWARD_POLL_INTERVAL` | `2` | seconds between polls for kills while the stream is broken |

An agent that already exports to Spanward has its key in `OTEL_EXPORTER_OTLP_HEADERS`, so nothing
has to be set twice. Invariant: a setting that cannot be used is a `SettingsError` that names it.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, cast
from urllib.parse import unquote, urlsplit

from spanward_client.errors import SettingsError

DEFAULT_ENDPOINT = "http://127.0.0.1:4320"
DEFAULT_TIMEOUT_S = 5.0
DEFAULT_POLL_INTERVAL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach the control endpoint, and what no answer means. The key is never printed."""

    endpoint: str = DEFAULT_ENDPOINT
    api_key: str = field(default="", repr=False)
    fail_mode: Literal["closed", "open"] = "closed"
    timeout_s: float = DEFAULT_TIMEOUT_S
    agent: str = ""
    feedback: Literal["on", "off"] = "on"
    poll_interval_s: float = DEFAULT_POLL_INTERVAL_S

    def __post_init__(self) -> None:
        """Refuse what cannot work before the first question is asked."""
        try:
            parts = urlsplit(self.endpoint)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise SettingsError(
                f"The endpoint {self.endpoint!r} is not an http address.",
                fix=f"Set SPANWARD_ENDPOINT to something like {DEFAULT_ENDPOINT}.",
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise SettingsError(
                "The key has characters no key has.", fix="Copy SPANWARD_API_KEY again, without line breaks."
            )
        if self.fail_mode not in ("closed", "open"):
            raise SettingsError(
                f"The fail mode {self.fail_mode!r} is unknown.", fix="Set SPANWARD_FAIL_MODE to closed or open."
            )
        if self.feedback not in ("on", "off"):
            raise SettingsError(
                f"The feedback setting {self.feedback!r} is unknown.", fix="Set SPANWARD_FEEDBACK to on or off."
            )
        for name, seconds in (("TIMEOUT", self.timeout_s), ("POLL_INTERVAL", self.poll_interval_s)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise SettingsError(
                    f"SPANWARD_{name} is {seconds}, which is not usable.",
                    fix=f"Set SPANWARD_{name} to seconds, such as 2.5.",
                )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the variables above; raises `SettingsError`."""
        env = os.environ if environ is None else environ
        return cls(
            endpoint=env.get("SPANWARD_ENDPOINT") or DEFAULT_ENDPOINT,
            api_key=env.get("SPANWARD_API_KEY") or key_in_otlp_headers(env.get("OTEL_EXPORTER_OTLP_HEADERS", "")),
            fail_mode=cast(Literal["closed", "open"], env.get("SPANWARD_FAIL_MODE") or "closed"),
            timeout_s=_seconds("SPANWARD_TIMEOUT", env) or DEFAULT_TIMEOUT_S,
            agent=env.get("SPANWARD_AGENT", ""),
            feedback=cast(Literal["on", "off"], env.get("SPANWARD_FEEDBACK") or "on"),
            poll_interval_s=_seconds("SPANWARD_POLL_INTERVAL", env) or DEFAULT_POLL_INTERVAL_S,
        )


def key_in_otlp_headers(text: str) -> str:
    """The key an OTLP exporter would send: `x-api-key`, else the token of `authorization: Bearer`.

    The format is `name=value,name=value` with percent-encoded values (OpenTelemetry specification,
    "Specifying headers via environment variables"). Empty when there is no key.
    """
    pairs = (item.split("=", 1) for item in text.split(",") if "=" in item)
    headers = {name.strip().lower(): unquote(value).strip() for name, value in pairs}
    if headers.get("x-api-key"):
        return headers["x-api-key"]
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _seconds(name: str, env: Mapping[str, str]) -> float | None:
    """The variable as seconds; `None` when it is not set. Zero is refused, not replaced by the default."""
    text = env.get(name)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise SettingsError(f"{name} is {text!r}, not a number above zero.", fix="Set it to seconds, such as 2.5.")
    return seconds
