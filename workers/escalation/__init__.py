"""The escalation worker: opens cases, routes them by rules, notifies channels; people resolve cases by `resolver`."""
