#!/bin/sh
# An action script that fails once the namespaces are there.
[ "$CRTOOLS_SCRIPT_ACTION" != post-setup-namespaces ]
