"""
The pipeline of one queue. It knows neither AWS nor orders, only the `Queue` and the `Handler` of ports.py.

    queue
      v  poller.py        receives messages: one long poll when idle, several under backlog
      v  slots.py         bounds the messages in flight; prefetch.py decides how many
      v  consumer.py      calls the handler for each message, wires all parts, stops them in order
      v  acknowledger.py  deletes or releases messages, ten per request
    queue

Alongside, visibility.py extends visibility timeouts and cancels handlers that take too long, gate.py holds messages
during an outage, and trials.py handles messages that were delivered too often. message.py defines a received message,
delivery.py its states while it is in flight, and in_flight.py holds all messages in flight. output.py waits for the
output of the log, failures.py logs outages, timings.py defines every wait, drain.py says what a stop waits for, and
elapsed.py is a clock that also runs while the machine is suspended.
"""
