"""The SDK's descriptions of services are trimmed, and describe the same services."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.loaders import create_loader
from botocore.regions import EndpointResolver

from workers.aws.sdk.parsing import plain_session

pytestmark = pytest.mark.usefixtures("environment")
USED = ("dynamodb", "sqs", "sns", "secretsmanager", "sts", "sso", "sso-oidc", "stepfunctions")


def loader() -> Any:
    return plain_session().get_component("data_loader")


def without_documentation(model: Any) -> Any:
    if isinstance(model, dict):
        return {
            name: without_documentation(member)
            for name, member in model.items()
            if name != "documentation" or not isinstance(member, str)
        }
    return [*map(without_documentation, model)] if isinstance(model, list) else model


@pytest.mark.parametrize("service", USED)
def test_a_model_is_the_sdks_without_its_documentation(service: str) -> None:
    ours = loader().load_service_model(service, "service-2")
    theirs: Any = create_loader().load_service_model(service, "service-2")
    assert ours == without_documentation(theirs)
    assert list(ours["shapes"]) == list(theirs["shapes"])
    assert len(json.dumps(ours)) < 0.7 * len(json.dumps(theirs))


@pytest.mark.parametrize("service", USED)
def test_a_service_that_workers_use_keeps_its_endpoints(service: str) -> None:
    model: Any = create_loader().load_service_model(service, "service-2")
    prefix = model["metadata"]["endpointPrefix"]
    ours: Any = EndpointResolver(loader().load_data("endpoints"))
    theirs: Any = EndpointResolver(create_loader().load_data("endpoints"))
    for partition in theirs.get_available_partitions():
        for region in ["us-east-1", "xx-new-1", *theirs.get_available_endpoints(prefix, partition, True)]:
            for fips in (False, True):
                options: Any = {"partition_name": partition, "use_fips_endpoint": fips}
                assert ours.construct_endpoint(prefix, region, **options) == theirs.construct_endpoint(
                    prefix, region, **options
                )


def test_few_endpoints_are_kept() -> None:
    kept = loader().load_data("endpoints")
    assert sum(len(partition["services"]) for partition in kept["partitions"]) < 60


async def url_of(session: Any, service: str) -> str:
    async with session.create_client(service, region_name="eu-central-1") as client:
        return str(client.meta.endpoint_url)


async def test_a_client_for_any_other_service_can_be_made_too() -> None:
    assert await url_of(plain_session(), "kinesis") == await url_of(get_session(), "kinesis")


def test_models_in_the_folder_of_the_sdks_configuration_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sqs" / "2099-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text('{"documentation": "ours", "metadata": {}}')
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert loader().load_service_model("sqs", "service-2") == {"metadata": {}}
