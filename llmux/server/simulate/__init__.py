"""Replays a trace of requests against a policy: the server's own policies, simulated engines, no clock. Pure."""
