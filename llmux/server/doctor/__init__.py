"""What a sleep or a wake needs of this machine, and what of it is lacking.

    await observe(wanted) -> Facts       looks, and tries out what can be tried; the only module here that touches anything
    processor_flags()                    what the processor can do
    findings(facts) -> tuple of Finding  one for each thing that was looked at, with what mends it

`observe` translates whatever goes wrong into a fact: the doctor itself never fails.
"""

from __future__ import annotations

from llmux.server.doctor._checks import findings
from llmux.server.doctor._facts import Facts, Finding, Verdict, Wanted
from llmux.server.doctor._observe import observe, processor_flags

__all__ = ["Facts", "Finding", "Verdict", "Wanted", "findings", "observe", "processor_flags"]
