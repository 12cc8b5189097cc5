"""The shipped key-value server's first two versions, one after the other and back again."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BACK_AND_FORTH = f"""
kitsune: 1
program: scenario
versions:
  - version: "1"
    source: {ROOT}/examples/kvd/v1
  - version: "2"
    source: {ROOT}/examples/kvd/v2
    rules:
      - rename: "client.c/requests -> statistics.c/commands_processed"
      - rename: "commands.c/statistics -> statistics.c/by_command"
      - rename: "commands.c/statistics_kind -> statistics.c/by_command_kind"
      - init: ["struct entry.created_ms", "struct entry.hits"]
      - init: ["struct client.connected_ms", "struct client.requests"]
  - version: "3"
    source: {ROOT}/examples/kvd/v1
    rules:
      - rename: "statistics.c/commands_processed -> client.c/requests"
      - rename: "statistics.c/by_command -> commands.c/statistics"
      - rename: "statistics.c/by_command_kind -> commands.c/statistics_kind"
"""
