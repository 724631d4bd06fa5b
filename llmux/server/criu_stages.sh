#!/bin/sh
# criu calls its action script at each of nine stages, most of them while the engine stands still. Only these three have
# work to do: starting Python for the others would cost a wake 40 ms apiece.
case "$CRTOOLS_SCRIPT_ACTION" in
post-dump | pre-restore | pre-resume) exec "$LLMUX_CRIU_HOOK" ;;
esac
