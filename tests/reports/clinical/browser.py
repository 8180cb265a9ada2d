"""Pages in a browser, as a reader sees them: how wide they are, whether every text can be told from what is behind it.

The page stands in a frame as wide as the screen that is asked for: a browser without a screen opens no window narrower
than 500 pixels. Its own policy forbids scripts, so what is measured is measured from around the frame.
"""

import base64
import html
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_AROUND = """<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>
<iframe id="page" style="width:{width}px;height:2000px;border:0" srcdoc="{page}"></iframe>
<script>
const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
const colour = words => words.match(/[0-9.]+/g).map(Number);
const frame = document.getElementById("page");
frame.onload = () => {{
  const page = frame.contentDocument, view = frame.contentWindow, texts = [], small = [];
  const behind = node => {{
    for (; node; node = node.parentElement) {{
      const paper = colour(view.getComputedStyle(node).backgroundColor);
      if (paper.length === 3 || paper[3] > 0) return paper;
    }}
    return [255, 255, 255];
  }};
  for (const node of page.body.querySelectorAll("*")) {{
    const own = [...node.childNodes].filter(n => n.nodeType === 3 && n.textContent.trim());
    if (!own.length) continue;
    const style = view.getComputedStyle(node), pair = [light(colour(style.color)), light(behind(node))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    texts.push({{tag: node.tagName, ratio, text: own[0].textContent.trim().slice(0, 60)}});
    if (parseFloat(style.fontSize) < 12) small.push(own[0].textContent.trim().slice(0, 60));
  }}
  const wide = [...page.body.querySelectorAll("body *")].filter(
    n => n.getBoundingClientRect().right > {width} + 1 && !n.closest(".scroll table")).map(n => n.tagName);
  const regions = [...page.querySelectorAll(".scroll")];
  document.getElementById("found").textContent = JSON.stringify({{
    scrollWidth: page.documentElement.scrollWidth, texts, small, wide,
    unreachable: regions.filter(n => n.scrollWidth > n.clientWidth + 1 && n.tabIndex < 0).length,
    unnamed: regions.filter(n => !n.getAttribute("aria-label")).length,
    images: [...page.images].map(n => ({{alt: n.alt, width: n.getBoundingClientRect().width, real: n.naturalWidth}})),
    headings: [...page.querySelectorAll("h1,h2,h3,h4,h5,h6")].map(n => +n.tagName[1]),
    language: page.documentElement.lang, title: page.title, mains: page.querySelectorAll("main").length,
    headless: [...page.querySelectorAll("table")].filter(n => !n.querySelector("th[scope=col]")).length,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
  }});
}};
</script>"""


def program() -> str:
    """Returns the browser; a test that needs one is skipped where there is none."""
    found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium is installed; apt-get install chromium")
    return found


def measured(page: str, width: int, folder: Path, *, dark: bool = False) -> dict[str, Any]:
    """Returns what a browser finds on a page on a screen of a width."""
    around = folder / f"around-{width}-{dark}.html"
    around.write_text(_AROUND.format(width=width, page=html.escape(page, quote=True)), encoding="utf-8")
    # Which theme a browser without a screen prefers: 0 dark, 1 light.
    flags = [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=8000", "--dump-dom"]
    said = _run(*flags, around.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', said, re.DOTALL)
    assert found is not None, said[:500]
    assert found[1], "the page did not load within its time"
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


def check(found: dict[str, Any], width: int, *, dark: bool = False) -> None:
    """Checks what `measured` found against WCAG 2.2 AA and the width of the screen."""
    assert found["dark"] == dark
    assert found["scrollWidth"] <= width, f"the page scrolls sideways: {found['scrollWidth']} pixels of {width}"
    assert found["wide"] == []
    pale = [one for one in found["texts"] if one["ratio"] < 4.5]  # 1.4.3
    assert pale == []
    assert found["small"] == []
    assert all(image["alt"] for image in found["images"])  # 1.1.1
    assert all(0 < image["width"] <= width and image["real"] for image in found["images"])
    levels = found["headings"]
    assert levels[0] == 1 == levels.count(1)
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))  # 1.3.1: none is skipped
    assert (found["language"], found["mains"]) == ("en", 1)
    assert found["title"]
    assert (found["headless"], found["unreachable"], found["unnamed"]) == (0, 0, 0)  # 1.3.1, 2.1.1, 4.1.2


def picture(page: str, width: int, height: int, folder: Path) -> Path:
    """Returns a picture of the page as a PNG file, to be looked at."""
    around = folder / f"shot-{width}.html"
    inner = base64.b64encode(page.encode()).decode()
    around.write_text(
        f'<body style="margin:0"><iframe style="width:{width}px;height:{height}px;border:0" '
        f'src="data:text/html;charset=utf-8;base64,{inner}"></iframe>',
        encoding="utf-8",
    )
    file = folder / f"page-{width}.png"
    _run("--virtual-time-budget=8000", f"--screenshot={file}", f"--window-size={width},{height}", around.as_uri())
    return file


def printed(page: str, folder: Path) -> bytes:
    """Returns the page as PDF."""
    source, file = folder / "page.html", folder / "page.pdf"
    source.write_text(page, encoding="utf-8")
    _run(f"--print-to-pdf={file}", "--no-pdf-header-footer", source.as_uri())
    return file.read_bytes()


def _run(*flags: str) -> str:
    command = [program(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
