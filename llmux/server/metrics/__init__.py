"""What Prometheus reads: llmux's own figures, and those of the engines that are awake, each under its model and replica.

attach(app)                   GET /metrics; figures are taken from now on
listen(app, host, port)       the same on a port of its own, with nothing else there
"""

from __future__ import annotations

from llmux.server.metrics._handlers import attach, listen

__all__ = ["attach", "listen"]
