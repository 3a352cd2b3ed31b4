"""Command `view`: an asset in the browser, served from this machine."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import click


@click.command("view")
@click.argument("path", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of this machine.  [default: a free one]")
@click.option("--browser/--no-browser", default=True, help="Open the page in the default browser.  [default: browser]")
def command(path: Path, port: int, browser: bool) -> None:
    """Show the asset in the folder DIR, or a single asset.glb, in the browser. Ctrl-C ends it.

    Only this machine can open the page, and only files of that folder are served.
    """
    from gvf.viewer.server import address, open_server
    from gvf.viewer.site import asset_site

    with open_server(asset_site(path), port) as server:
        click.echo(f"{address(server)}  (Ctrl-C ends the server)")
        if browser:  # beside the server, since a browser in the terminal returns only when it is closed
            threading.Thread(target=_open_browser, args=(address(server),), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)


def _open_browser(page: str) -> None:
    if not webbrowser.open(page):
        click.echo("No browser was found here: open the address in one yourself.", err=True)
