"""The page holds what it shows, allows nothing foreign, and no title or fact breaks out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from gvf.viewer import page as pages
from gvf.viewer.gallery import Exhibit, write_gallery

HOSTILE = "</script><script>alert(1)</script><!-- \"'&\u202e\0"


def policy(text: str) -> dict[str, list[str]]:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    return {name: values for name, *values in (part.split() for part in found[1].split(";"))}


def element(text: str, pattern: str) -> str:
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_policy_allows_the_script_and_the_style_of_the_page_by_digest():
    text = pages.page("A", {}, asset=b"x")
    script = element(text, r'<script type="module">(.*?)</script>')
    style = element(text, r"<style>(.*?)</style>")
    for name, content in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy(text)[name] == [f"'sha256-{digest}'"]
    assert policy(text)["default-src"] == ["'none'"]
    assert {value for values in policy(text).values() for value in values if ":" in value} == {"data:", "blob:"}


def test_titles_and_facts_stay_in_their_places():
    text = pages.page(HOSTILE, {HOSTILE: HOSTILE}, asset=b"x")
    plain = pages.page("A", {}, asset=b"x")
    assert text.count("<script") == plain.count("<script")
    assert text.count("<!--") == plain.count("<!--") == 0
    shown = json.loads(element(text, r'id="page">(.*?)</script>'))
    assert shown["facts"] == {HOSTILE: HOSTILE}
    assert "\0" not in shown["title"]
    assert "\u202e" not in shown["title"]


def test_fields_of_the_template_in_a_title_are_text():
    text = pages.page("{{script}} {{page}}", {}, asset=b"x")
    assert "<title>{{script}} {{page}}</title>" in text


def test_files_are_embedded_with_their_type(tmp_path):
    videos = {"video/mp4": b"\0\0\0\x20ftypisom", "video/webm": b"\x1a\x45\xdf\xa3..."}
    for kind, video in videos.items():
        pages.write_page(tmp_path / "index.html", b"asset", title="A", video=video, facts={})
        text = (tmp_path / "index.html").read_text()
        assert base64.b64decode(element(text, r'id="asset"[^>]*>(.*?)</script>')) == b"asset"
        assert base64.b64decode(element(text, rf'id="input-video" data-type="{kind}">(.*?)</script>')) == video
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html"]


def test_a_page_beside_its_files_names_them():
    text = pages.page("A", {}, asset="asset.glb", video="input.mp4")
    shown = json.loads(element(text, r'id="page">(.*?)</script>'))
    assert (shown["asset"], shown["video"]) == ("asset.glb", "input.mp4")
    assert 'id="asset"' not in text


def test_the_same_asset_gives_the_same_page():
    assert pages.page("A", {"seed": 1}, asset=b"x") == pages.page("A", {"seed": 1}, asset=b"x")


def test_facts_are_written_as_json_can_hold_them(tmp_path):
    facts = {"loss": float("nan"), "path": tmp_path, 3: (1, 2.5, True), "sampler": {"steps": 20, "scale": float("inf")}}
    shown = json.loads(element(pages.page("A", facts, asset=b"x"), r'id="page">(.*?)</script>'))
    expected = {"loss": None, "path": str(tmp_path), "3": [1, 2.5, True], "sampler": {"steps": 20, "scale": None}}
    assert shown["facts"] == expected


def test_a_gallery_holds_players_and_nothing_breaks_out_of_it(tmp_path):
    one = Exhibit("One", "plays", "gvf demo", "one/index.html")
    write_gallery(tmp_path / "index.html", HOSTILE, HOSTILE, [one, Exhibit(HOSTILE, HOSTILE, HOSTILE, None)])
    text = (tmp_path / "index.html").read_text()
    assert "<script" not in text
    assert "<!--" not in text
    assert re.findall(r"<iframe [^>]*>", text) == ['<iframe src="one/index.html" title="One" allow="fullscreen">']
    digest = base64.b64encode(hashlib.sha256(element(text, r"<style>(.*?)</style>").encode()).digest()).decode()
    allowed = policy(text)
    assert allowed.pop("style-src") == [f"'sha256-{digest}'"]
    assert allowed == {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "frame-src": ["'self'"],
        "form-action": ["'none'"],
    }
