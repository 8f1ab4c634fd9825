"""
The pipeline of one queue. It knows neither AWS nor orders, only the `Queue` and the `Handler` of ports.py.

    queue         ports.py         what the package needs from outside
      v
    poller        poller.py        receives: one long poll when idle, several under backlog
      v
    slots         slots.py         only as many messages as there are free slots; prefetch.py says how many slots
      v
    handler       consumer.py      calls it for each message, wires all parts, stops them in order
      v
    acknowledger  acknowledger.py  deletes or releases, ten messages per request

At the side, visibility.py extends visibility timeouts and cancels late handlers, and gate.py holds messages during an
outage. message.py is a message as received, delivery.py its life in flight, in_flight.py all of those; failures.py
logs outages, timings.py has every wait.
"""
