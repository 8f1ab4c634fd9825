"""The consumers that are measured: ours, and those that people write."""

from dataclasses import replace

from tests.bench.harness import Subject
from tests.bench.loads import Load
from tests.bench.network import Mode

FULFILLMENT = ("workers", "fulfillment")
ESCALATION = ("workers", "escalation")
PEERS = "tests.bench.peers"
OURS = "tests.bench.ours"

OURS_ORDERS = Subject("ours-orders", (FULFILLMENT,), Load.ORDERS)
OURS_ORDERS_TWICE = replace(OURS_ORDERS, name="ours-orders-twice", commands=(FULFILLMENT, FULFILLMENT))
OURS_ORDERS_TRACED = replace(OURS_ORDERS, name="ours-orders-traced", traced=1.0)
OURS_ORDERS_SAMPLED = replace(OURS_ORDERS, name="ours-orders-sampled", traced=0.01)
PLAIN_ORDERS = Subject("plain-orders", ((PEERS, "orders"),), Load.ORDERS)
OURS_SHIPMENTS = Subject("ours-shipments", (FULFILLMENT,), Load.SHIPMENTS)
PLAIN_SHIPMENTS = Subject("plain-shipments", ((PEERS, "provider"),), Load.SHIPMENTS)
OURS_ESCALATIONS = Subject("ours-escalations", (ESCALATION,), Load.ESCALATIONS)
PLAIN_ESCALATIONS = Subject("plain-escalations", ((PEERS, "escalations"),), Load.ESCALATIONS)
OURS_NOOP = Subject("ours-noop", ((OURS,),), Load.MESSAGES)
BARE_NOOP = Subject("bare-noop", ((PEERS, "bare"),), Load.MESSAGES)
OURS_SLOW = Subject("ours-slow", ((OURS, "--sleep", "0.05", "--concurrency", "100"),), Load.MESSAGES)
BARE_SLOW = Subject("bare-slow", ((PEERS, "bare", "--sleep", "0.05"),), Load.MESSAGES)
OURS_LATENCY = Subject("ours-latency", ((OURS,),), Load.TRICKLE)
BOTO3_LATENCY = Subject("boto3-latency", ((PEERS, "boto3"),), Load.TRICKLE)
OURS_IDLE = Subject("ours-idle", (FULFILLMENT,), Load.IDLE)
BARE_IDLE = Subject("bare-idle", ((PEERS, "bare"),), Load.IDLE)
OURS_DRAIN = Subject("ours-drain", (FULFILLMENT,), Load.DRAIN, Mode.AWS)
OURS_ARRIVALS = Subject("ours-arrivals", (FULFILLMENT, ESCALATION), Load.ARRIVALS, Mode.AWS)

# What the table calls the consumers that ours is compared with.
NAMES = {
    OURS_ORDERS.name: "ours, 1 process",
    PLAIN_ORDERS.name: "aioboto3 order worker",
    PLAIN_SHIPMENTS.name: "aioboto3 order worker with a provider",
    PLAIN_ESCALATIONS.name: "aioboto3 escalation worker",
    BARE_NOOP.name: "bare aioboto3",
    BARE_SLOW.name: "bare aioboto3",
    BARE_IDLE.name: "bare aioboto3",
    BOTO3_LATENCY.name: "plain boto3",
}


def in_mode(mode: Mode, subject: Subject) -> Subject:
    """Return *subject* as it is measured in *mode*."""
    return replace(subject, mode=mode)
