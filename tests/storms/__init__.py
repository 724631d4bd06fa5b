"""Storms: many clients, switches and accidents at once against a real llmux with real engines and real CRIU in a container.

Every request carries a nonce, the engine signs its answer, and a judge says of each request whether it got exactly its
own whole answer, or one honest error. `python -m storms NAME` runs one at full length; tests/integration/storms has
the short forms.
"""
