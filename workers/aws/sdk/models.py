"""Loads the SDK's descriptions of services without the parts that workers never use. That saves 8 MB of memory."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from botocore.loaders import JSONFileLoader, Loader, create_loader

if TYPE_CHECKING:
    from botocore.session import Session

# The services that a worker or its source of credentials calls, by the names they have in the SDK's list of endpoints.
# For any other service, the SDK derives an endpoint from the service's name.
_SERVICES = ("dynamodb", "oidc", "portal.sso", "secretsmanager", "sns", "sqs", "states", "sts")


class TrimmingLoader(JSONFileLoader):
    """
    Reads the SDK's files, into plain dicts: the SDK's own loader makes ordered ones, which take twice the memory.

    - The list of endpoints has 300 services, and only `_SERVICES` are kept.
    - Two thirds of a service's model is documentation.
    """

    def load_file(self, file_path: str) -> Any:
        loaded = _read(file_path)
        if loaded is None:
            return None
        match Path(file_path).name:
            case "endpoints":
                for partition in loaded["partitions"]:
                    services = partition["services"]
                    partition["services"] = {name: services[name] for name in _SERVICES if name in services}
            case "service-2":
                return _without_documentation(loaded)
        return loaded


def trimming_loader(session: "Session") -> Loader:
    """Return a loader for *session*, for the component `data_loader`."""
    loader = create_loader(session.get_config_variable("data_path"))
    loader.file_loader = TrimmingLoader()
    return loader


def _read(file_path: str) -> Any:
    plain, compressed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
    if plain.is_file():
        return orjson.loads(plain.read_bytes())
    return orjson.loads(gzip.decompress(compressed.read_bytes())) if compressed.is_file() else None


def _without_documentation(model: Any) -> Any:
    match model:
        case dict():
            return {
                name: _without_documentation(member)
                for name, member in model.items()
                if not (name == "documentation" and isinstance(member, str))
            }
        case list():
            return [_without_documentation(element) for element in model]
        case _:
            return model
