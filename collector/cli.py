"""`spanward`: one command; each room brings its own subcommands by entry point.

Invariant: a subcommand loads only its own room, so that `spanward report` never imports gRPC.
"""

import sys
from importlib.metadata import entry_points, version

import click

COMMANDS = {point.name: point for point in entry_points(group="spanward.commands")}


class Rooms(click.Group):
    """The entry points of group `spanward.commands`, loaded when they are asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every subcommand's name."""
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name."""
        point = COMMANDS.get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("spanward"), prog_name="spanward")
def main() -> None:
    """Govern fleets of AI agents: price every call, hold every budget, keep a ledger anyone can check."""


if __name__ == "__main__":
    sys.exit(main())
