"""Line drawings of services, states and outcomes, as SVG paths. Those of states are 24 by 24."""

from workers.console.graph.visits import Outcome

_CIRCLE = "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z"
ICONS = {
    "choice": "M12 3.5 20.5 12 12 20.5 3.5 12z",
    "cloudwatch": "M4 4v16h16M7.5 15.5l3.5-5 3 3 5.5-7.5",
    "dynamodb": (
        "M5 6c0-1.7 3.1-3 7-3s7 1.3 7 3-3.1 3-7 3-7-1.3-7-3zM5 6v12c0 1.7 3.1 3 7 3s7-1.3 7-3V6"
        "M5 12c0 1.7 3.1 3 7 3s7-1.3 7-3"
    ),
    "events": "M12 3v4M12 17v4M3 12h4M17 12h4M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
    "fail": f"{_CIRCLE}M9 9l6 6M15 9l-6 6",
    "lambda": "M6 4h4l8 16M12.2 9.2 6.5 20",
    "map": "M12 3.5 21 8l-9 4.5L3 8zM3 12l9 4.5 9-4.5M3 16l9 4.5 9-4.5",
    "parallel": (
        "M12 3v5M6 20v-7.5A4.5 4.5 0 0 1 10.5 8h3a4.5 4.5 0 0 1 4.5 4.5V20"
        "M3.5 17.5 6 20l2.5-2.5M15.5 17.5 18 20l2.5-2.5"
    ),
    "pass": "M4 12h15M13 6l6 6-6 6",
    "s3": "M4 6.5c0-1.4 3.6-2.5 8-2.5s8 1.1 8 2.5S16.4 9 12 9 4 7.9 4 6.5zM4 6.5l2 12c.2 1.1 2.9 2 6 2s5.8-.9 6-2l2-12",
    "sqs": "M3 8h4.5v8H3zM9.75 8h4.5v8h-4.5zM16.5 8H21v8h-4.5z",
    "states": "M9 4h6v5H9zM3.5 15h6v5h-6zM14.5 15h6v5h-6zM12 9v3M6.5 15v-3h11v3",
    "succeed": f"{_CIRCLE}M8 12.2l2.8 2.8L16.2 9.5",
    "task": "M4 6h16v12H4zM4 10h16",
    "wait": f"{_CIRCLE}M12 7v5l3.5 2",
}
# Around the middle of a badge.
BADGES = {
    Outcome.RUNNING: "M0-5a5 5 0 0 1 5 5",
    Outcome.SUCCEEDED: "M-4 0-1.2 3 4.2-3",
    Outcome.CAUGHT: "M0-4.5V.8M0 3.7V4",
    Outcome.FAILED: "M-3-3 3 3M3-3-3 3",
    Outcome.TIMED_OUT: "M0-4V0l2.8 1.8",
    Outcome.ABORTED: "M-3.6 0h7.2",
}
RETRY = "M4.6-1A4.6 4.6 0 1 0 4.6 2M4.9-4.4V-1H1.6"
