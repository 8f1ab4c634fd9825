"""Asyncio workers that fulfill orders and route escalations from SQS queues."""
