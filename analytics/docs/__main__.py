"""`python -m analytics.docs`: write `docs/reports.md`, or with `--check` say whether it is up to date."""

from pathlib import Path

import click

from analytics.docs import page

PATH = Path(__file__).parents[2] / "docs" / "reports.md"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 when the page is out of date.")
def main(*, check: bool) -> None:
    """Write docs/reports.md from the registry of reports."""
    if not check:
        PATH.write_text(page(), encoding="utf-8")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != page():
        raise click.ClickException(f"{PATH} is out of date. Run python -m analytics.docs.")


if __name__ == "__main__":
    main()
