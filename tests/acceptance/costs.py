"""What a run costs at most: quantities times the list prices of deploy/README.md."""

from dataclasses import dataclass

from tests.acceptance.plan import Plan

SOURCE = 'deploy/README.md, "What it costs": AWS\'s list prices for us-east-1, published between February and June 2026'
# The dearest regions cost up to twice as much (Step Functions: $0.0375 instead of $0.025 in São Paulo).
DEAREST_REGION = 2.0
HOURS_PER_MONTH = 730
SAMPLES = 4
ALARMS = 9


@dataclass(frozen=True, slots=True)
class Item:
    """A quantity and its price, in dollars for each."""

    what: str
    quantity: float
    price: float

    @property
    def cost(self) -> float:
        return self.quantity * self.price


def estimate(plan: Plan) -> list[Item]:
    """Return upper bounds: every quantity is rounded up, and free tiers are left out."""
    orders, facts = plan.orders + SAMPLES, len(plan.facts)
    return [
        Item("Step Functions, state transitions", orders * 7 + facts * 20, 25.00e-6),
        Item("DynamoDB, write units", orders * 16 + plan.probes * 10 + facts * 40, 0.625e-6),
        Item("DynamoDB, read units", orders * 20 + plan.probes * 10 + facts * 40, 0.125e-6),
        Item("SQS, requests", orders * 8 + plan.probes * 6 + plan.backlog * 3 + facts * 40 + 10_000, 0.40e-6),
        Item("Lambda, requests", orders * 2, 0.20e-6),
        Item("Lambda, GB-seconds", orders * 2 * 0.125, 13.3334e-6),
        Item("CloudWatch Logs, GB", orders * 20 / 1e6, 0.50),
        Item("CloudWatch, hours of alarms", ALARMS * 2, 0.10 / HOURS_PER_MONTH),
        Item("X-Ray, traces", orders, 5.00e-6),
        Item("KMS, requests", orders * 4, 3.00e-6),
        Item("S3, requests", 200, 5.00e-6),
    ]


def at_most(items: list[Item]) -> float:
    """Return the sum in the dearest region, rounded up to a cent."""
    cents = sum(item.cost for item in items) * DEAREST_REGION * 100
    return (int(cents) + 1) / 100
