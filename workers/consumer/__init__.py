"""
The pipeline of one queue. It knows neither AWS nor orders, only the `Queue` and the `Handler` of ports.py.

    queue
      v  poller.py        receives messages: one long poll when idle, several under backlog
      v  slots.py         bounds the messages in flight; prefetch.py sizes it
      v  consumer.py      calls the handler for each message, wires all parts, stops them in order
      v  acknowledger.py  deletes or releases messages, ten per request
    queue

At the side, visibility.py extends visibility timeouts and cancels late handlers, and gate.py holds messages during an
outage. message.py is a received message, delivery.py its life in flight, in_flight.py the set of them; failures.py logs
outages, timings.py has every wait, and elapsed.py is a clock that also runs while the machine is suspended.
"""
