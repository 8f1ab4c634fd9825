"""Ports that stay ours while no process listens on them."""

import socket
import sys

import pytest

from deploy.errors import DeployError
from deploy.local import ports as ports_module
from deploy.local.ports import port_near, reserved_ports
from tests.support import free_port


def test_each_name_gets_a_free_port_of_its_own() -> None:
    with reserved_ports(["a", "b", "c"]) as ports:
        assert list(ports) == ["a", "b", "c"]
        assert len(set(ports.values())) == 3
        for port in ports.values():
            for _ in range(2):  # A process that is started again listens again.
                with socket.create_server(("127.0.0.1", port)) as listening:
                    socket.create_connection(listening.getsockname()).close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets two sockets be bound to a port")
def test_a_port_stays_reserved_although_nothing_listens() -> None:
    with reserved_ports(["a"]) as ports, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", ports["a"]))
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports["a"]))


def test_elsewhere_a_port_is_only_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with reserved_ports(["a"]) as ports, socket.socket() as other:
        other.bind(("127.0.0.1", ports["a"]))
        assert other.getsockname()[1] == ports["a"]
    first = free_port()
    with port_near(first) as port, socket.socket() as other:
        other.bind(("127.0.0.1", port))
        assert port == first


def test_given_ports_count_from_the_first() -> None:
    with reserved_ports(["a", "b"], 8080) as ports:
        assert ports == {"a": 8080, "b": 8081}
    with reserved_ports(["a", "b"], 65_534) as ports:
        assert ports == {"a": 65_534, "b": 65_535}
    with pytest.raises(DeployError) as raised, reserved_ports(["a", "b"], 65_535):
        pass
    assert str(raised.value) == (
        "WORKER_HEALTH_PORT is 65535, must be at most 65534: 2 processes get a port each, this one and the next"
    )


def test_a_taken_port_is_passed_over_and_the_chosen_one_can_be_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first: int = taken.getsockname()[1]
        with port_near(first) as port:
            assert port != first
            for _ in range(2):
                with socket.create_server(("127.0.0.1", port)) as listening:
                    socket.create_connection(listening.getsockname()).close()
        monkeypatch.setattr(ports_module, "NEAR", 1)
        with port_near(first) as port:
            assert port >= 1024
            assert port != first


@pytest.mark.skipif(sys.platform != "linux", reason="there is no claim elsewhere")
def test_two_runs_get_different_ports_before_anything_listens_there() -> None:
    with port_near(free_port()) as first, port_near(first) as second:
        assert first != second
    with port_near(first) as again:
        assert again == first
