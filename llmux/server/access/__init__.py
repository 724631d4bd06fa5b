"""Who may do what: keys, roles, limits. Pure; `llmux.server._gate` asks it of each request."""
