"""Command `view`, which serves an asset to a browser on this machine."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import click


@click.command("view")
@click.argument("path", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: a free one]")
@click.option("--browser/--no-browser", default=True, help="Open the page in the default browser.  [default: browser]")
def command(path: Path, port: int, browser: bool) -> None:
    """Show the asset or the demo in DIR, or a single asset.glb, in the browser. Press Ctrl-C to stop.

    The page is served to this machine only, and no files outside the folder are served.
    """
    from gvf.viewer.server import address, open_server
    from gvf.viewer.site import asset_site

    with open_server(asset_site(path), port) as server:
        click.echo(f"{address(server)}  (Ctrl-C stops the server)")
        if browser:  # beside the server, since a browser in the terminal returns only when it is closed
            threading.Thread(target=_open_browser, args=(address(server),), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)


def _open_browser(page: str) -> None:
    if not webbrowser.open(page):
        click.echo("No browser was found. Open the address above in a browser yourself.", err=True)
