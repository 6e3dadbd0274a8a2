"""Key and bytes in, an object under COMPLIANCE retention out: S3 with Object Lock.

It keeps the contract of `contract.py` on a bucket that passes `check.py`, also against whoever holds
the writer's credential. Object Lock lets anybody put a new version or a delete marker over a locked
name; so the first version is what counts here, and the verifier reports the others. Nothing rests
on object metadata or tags, which some stores let change.

The client is `minio`. Two of its calls are not usable as they are, and are made through its own
signed request instead (`_send`): its `put_object` knows no `If-None-Match`, and its listing stops at
times with nine digits.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import urllib3
from minio import Minio
from minio.credentials.providers import AWSConfigProvider, ChainedProvider, EnvAWSProvider, IamAwsProvider
from minio.error import MinioException, S3Error
from urllib3.response import BaseHTTPResponse

from collector.stores.contract import Exists, Found, Held
from schemas.errors import ConfigError, Fatal, Retryable

LOCK_MODE = "x-amz-object-lock-mode"
LOCK_UNTIL = "x-amz-object-lock-retain-until-date"
_SKEW_S = 300
_TIMEOUT_S = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class S3Store:
    """The objects below `s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]`.

    Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), the AWS
    configuration file, or the machine's role. Raises `ConfigError` for an address that is none.
    """

    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        query = parse_qs(url.query)
        endpoint = urlsplit(query.get("endpoint", ["https://s3.amazonaws.com"])[0])
        if url.scheme != "s3" or not url.netloc or endpoint.scheme not in {"http", "https"} or not endpoint.netloc:
            raise ConfigError(
                f"{address!r} is not the address of a bucket.",
                fix="It reads s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME.",
            )
        self.bucket = url.netloc
        self.prefix = f"{url.path.strip('/')}/" if url.path.strip("/") else ""
        self._skew_s = 0.0
        try:
            self.client = Minio(
                endpoint.netloc,
                secure=endpoint.scheme == "https",
                region=query.get("region", ["us-east-1"])[0],
                credentials=ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider()]),
                # Its own client would retry for minutes; here the journal keeps what waits.
                http_client=urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S, maxsize=16),
            )
        except ValueError as error:
            raise ConfigError(f"{address!r} is not the address of a bucket: {error}.") from None

    def put_new(self, key: str, data: bytes, retain_until_ns: int) -> None:
        """Create a locked object and read it back; see `ObjectStore.put_new`."""
        if abs(self._skew_s) > _SKEW_S:
            raise Retryable(
                f"The store's clock and this machine's are {self._skew_s:.0f} s apart.",
                fix="Set the clock; nothing is lost, and nothing is sealed with a wrong time.",
                retry_after_s=5,
            )
        until = _date(retain_until_ns)
        headers = {
            "If-None-Match": "*",
            LOCK_MODE: "COMPLIANCE",
            LOCK_UNTIL: until,
            "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
        }
        try:
            answer = self._send("PUT", key, body=data, headers=headers)
        except S3Error as error:
            if error.code == "PreconditionFailed":
                raise Exists(key) from None
            raise _away(f"Putting {key}", error) from error
        self._confirm(key, answer.headers.get("x-amz-version-id") or "", data, until)

    def get(self, key: str) -> bytes | None:
        """Read the first version; see `ObjectStore.get`."""
        found = self.find(key)
        held = self.read(found) if found else None
        return None if held is None else held.data

    def find(self, key: str) -> Found | None:
        """Look for one name; see `EvidenceStore.find`."""
        return next((found for found in self.inventory(key) if found.key == key), None)

    def inventory(self, prefix: str) -> list[Found]:
        """Every name below a prefix with its versions; see `EvidenceStore.inventory`."""
        found: dict[str, Found] = {}
        query = {"versions": "", "prefix": self.prefix + prefix, "max-keys": "1000"}
        while True:
            try:
                page = ET.fromstring(self._send("GET", None, query=query).data)  # noqa: S314 - the store's own answer
            except (S3Error, ET.ParseError) as error:
                raise _away(f"Listing {prefix}", error) from error
            for element in page:
                kind = element.tag.rpartition("}")[2]
                if kind in {"Version", "DeleteMarker"}:
                    self._note(found, element, hidden=kind == "DeleteMarker")
            if _text(page, "IsTruncated") != "true":
                return sorted(found.values())
            query["key-marker"] = _text(page, "NextKeyMarker")
            query["version-id-marker"] = _text(page, "NextVersionIdMarker")

    def read(self, found: Found) -> Held | None:
        """Read a listed version; see `EvidenceStore.read`."""
        if not found.version:
            return None
        try:
            answer = self._send("GET", found.key, query={"versionId": found.version})
        except S3Error as error:
            if error.code in {"NoSuchKey", "NoSuchVersion"}:
                return None
            raise _away(f"Reading {found.key}", error) from error
        lock = answer.headers.get(LOCK_MODE), answer.headers.get(LOCK_UNTIL)
        mode, until = lock if lock[0] else self._retention(found)
        return Held(answer.data, _nanoseconds(until or "") if mode == "COMPLIANCE" else 0)

    def _retention(self, found: Found) -> tuple[str, str]:
        """Mode and date of a version's lock, for stores that do not tell them with the object."""
        try:
            answer = self._send("GET", found.key, query={"versionId": found.version, "retention": ""})
            lock = ET.fromstring(answer.data)  # noqa: S314 - the store's own answer
        except (S3Error, ET.ParseError):
            return "", ""
        return _text(lock, "Mode"), _text(lock, "RetainUntilDate")

    def hold(self, found: Found, *, on: bool) -> None:
        """Put a legal hold on a version, or release it. Raises `Retryable` if the store refuses."""
        act = self.client.enable_object_legal_hold if on else self.client.disable_object_legal_hold
        try:
            act(self.bucket, self.prefix + found.key, version_id=found.version)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _away(f"A legal hold on {found.key}", error) from error

    def _confirm(self, key: str, version: str, data: bytes, until: str) -> None:
        """What is there now is what was put, and it is kept: a put is believed after it was read back."""
        held = self.read(Found(key, version or "null"))
        if held is None or held.data != data or (held.retain_until or 0) < _nanoseconds(until):
            raise Fatal(
                f"The store took {key} and does not keep it as it was told to, under COMPLIANCE until {until}.",
                fix="Use a bucket with Object Lock; `spanward store check` says what it lacks.",
            )

    def _note(self, found: dict[str, Found], element: ET.Element, *, hidden: bool) -> None:
        key = _text(element, "Key").removeprefix(self.prefix)
        before = found.get(key, Found(key, versions=0))
        if hidden:
            found[key] = before._replace(hidden=True)
            return
        put_at = _nanoseconds(_text(element, "LastModified"))
        first = not before.version or (before.put_at or 0) >= put_at
        found[key] = before._replace(
            versions=before.versions + 1,
            version=_text(element, "VersionId") if first else before.version,
            put_at=put_at if first else before.put_at,
        )

    def _send(
        self,
        method: str,
        key: str | None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        """One signed request. The only use of a private call of the client: `test_s3.py` pins it."""
        name = None if key is None else self.prefix + key
        try:
            answer = self.client._execute(  # noqa: SLF001 - see above
                method, self.bucket, name, body=body, headers=dict(headers or {}), query_params=dict(query or {})
            )
        except S3Error:
            raise
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _away(f"{method} {name or self.bucket}", error) from error
        with suppress(ValueError, TypeError):
            self._skew_s = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() - time.time()
        return answer

    def list(self, prefix: str) -> list[str]:
        """See `ObjectStore.list`; hidden names too."""
        return [each.key for each in self.inventory(prefix)]


def _text(element: ET.Element, name: str) -> str:
    return next((child.text or "" for child in element if child.tag.rpartition("}")[2] == name), "")


def _date(nanoseconds: int) -> str:
    # Up to the next whole second: stores keep no fractions, and less than was promised is too little.
    moment = _EPOCH + timedelta(seconds=-(-nanoseconds // 10**9))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _nanoseconds(text: str) -> int:
    """A time of the store, in any number of digits; 0 for none."""
    whole, _, rest = text.rstrip("Z").partition(".")
    try:
        moment = datetime.fromisoformat(f"{whole}+00:00")
    except ValueError:
        return 0
    digits = rest if rest.isdigit() else ""
    return (moment - _EPOCH) // timedelta(seconds=1) * 10**9 + int(f"{digits:0<9}"[:9])


def _away(act: str, error: Exception) -> Retryable:
    return Retryable(
        f"{act} failed: {error}.", fix="Check the store, its address and the credentials; nothing is lost.",
        retry_after_s=2,
    )  # fmt: skip
