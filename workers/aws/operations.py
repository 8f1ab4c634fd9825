"""DynamoDB's operation for each call of the adapters that handlers use. Spans are named after it."""

ORDERS = {
    "get": "GetItem",
    "fulfill": "BatchExecuteStatement",
    "count_attempt": "UpdateItem",
    "count_trial": "UpdateItem",
    "take_back_trial": "UpdateItem",
}
ORDERS_TO_SHIP = {"get_to_ship": "BatchGetItem"}
CASES = {
    "read": "BatchGetItem",
    "find_by_execution": "Query",
    "apply": "TransactWriteItems",
    "put": "TransactWriteItems",
    "claim_reminder": "UpdateItem",
    "record_sent": "UpdateItem",
}
TRIALS = {"count_trial": "UpdateItem", "take_back_trial": "UpdateItem"}
