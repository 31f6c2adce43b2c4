"""Check a built site: its links, and how its pages behave in a browser.

``python doc_site/check.py site`` reads every page as a file, without a server:

* every link leads to a page, a place on it, or a file that is there;
* no page loads anything from another machine;
* in headless Chromium, which resolves no names, every page shows its heading, and its scripts
  report no error;
* searches find what they ought to.

``--screenshots FOLDER`` also keeps pictures of some pages.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

# What is searched for, and a page that has to be among what is found.
SEARCHES = {
    "second moment": "howto/calibrate.html",
    "compress_tensor": "reference/hypercomp_rs.html",
    "cobasis": "glossary.html",
    "Hadamard": "codec.html",
    "checkpoint": "howto/long-enumerations.html",
}

PICTURES = ("index", "tutorials/fit-a-model", "reference/hypercomp_rs", "glossary", "checkpoints")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Page(HTMLParser):
    """What a page refers to, and the places on it that others may refer to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        given = {name: value for name, value in attrs if value is not None}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given.get("href", ""))
        elif tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loaded.append(given["src"])


def wrong_links(pages: dict[Path, Page]) -> list[str]:
    """Links that lead nowhere, and what would be loaded from elsewhere."""
    wrong = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    wrong.append(f"{path}: loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                wrong.append(f"{path}: {link} leads nowhere")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].places
            ):
                wrong.append(f"{path}: {link} leads to no place on that page")
    return wrong


class Browser:
    """Headless Chromium on a pipe (its DevTools protocol), with no way to other machines."""

    def __init__(self) -> None:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            sys.exit(f"none of {', '.join(BROWSERS)} is on the PATH: install Chromium")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # It reads commands from file 3 and writes answers to file 4.
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{read} 4>&{write}',
                "bash",
                found,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                "--remote-debugging-pipe",
                f"--user-data-dir={self._profile.name}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(read, write),
        )
        os.close(read)
        os.close(write)
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()

    def open(self, url: str) -> None:
        """Go to a page, and wait until all of it is loaded."""
        # Through an empty page: from a page to itself nothing would be loaded.
        self._call("Page.navigate", url="about:blank")
        self.wait_for("location.href === 'about:blank'")
        self.complaints = []
        self._call("Page.navigate", url=url)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is on the page."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """The value of an expression as soon as it is true; None if it never is."""
        end = time.monotonic() + seconds
        while not (value := self.value(expression)):
            if time.monotonic() > end:
                return None
            time.sleep(0.05)
        return value

    def picture(self, path: Path, width: int = 1280, height: int = 1400) -> None:
        """Keep a picture of the page."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        time.sleep(0.5)
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._event(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._read], [], [], 180)
            piece = os.read(self._read, 1 << 20) if ready else b""
            if not piece:
                raise RuntimeError("Chromium does not answer")
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def _event(self, event: dict[str, Any]) -> None:
        what, said = event.get("method"), event.get("params", {})
        if what == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"].get("text")))
        elif what == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif what == "Network.requestWillBeSent":
            url = said["request"]["url"]
            if urlsplit(url).scheme not in ("file", "data", "about", "blob"):
                self.complaints.append(f"asks for {url}")


def wrong_pages(browser: Browser, paths: list[Path]) -> list[str]:
    """Pages that do not show, or whose scripts fail."""
    wrong = []
    for path in paths:
        browser.open(path.as_uri())
        heading = browser.value("document.querySelector('h1')?.innerText")
        # Material's script marks the document once it runs.
        runs = browser.wait_for("document.documentElement.classList.contains('js')")
        wrong += [f"{path}: {complaint}" for complaint in browser.complaints]
        if not heading or not heading.strip():
            wrong.append(f"{path}: shows no heading")
        if not runs:
            wrong.append(f"{path}: its script does not run")
        wide = browser.value("document.documentElement.scrollWidth > window.innerWidth")
        if wide:
            wrong.append(f"{path}: is wider than the window")
    return wrong


def wrong_searches(browser: Browser, site: Path) -> list[str]:
    """Searches that do not find what they ought to."""
    wrong = []
    links = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
    for words, expected in SEARCHES.items():
        browser.open(f"{(site / 'index.html').as_uri()}?q={quote(words)}")
        found = browser.wait_for(f"{links}.length && {links}") or []
        # The list begins with some results. It gets the others when it is scrolled to its end.
        browser.value("document.querySelector('.md-search__scrollwrap').scrollTo(0, 1e9)")
        found = browser.wait_for(f"{links}.length > {len(found)} && {links}", seconds=2) or found
        print(f"search for {words!r}: {len(found)} results, first {found[:1]}")
        if not any(f"/{expected}" in link for link in found):
            wrong.append(f"search for {words!r} does not find {expected}")
        wrong += [f"search for {words!r}: {complaint}" for complaint in browser.complaints]
    return wrong


def main() -> None:
    """Check, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--screenshots", type=Path, help="keep pictures of some pages here")
    asked = parser.parse_args()
    site = asked.site.resolve()
    paths = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    pages = {path: Page(path) for path in paths}
    if not pages:
        sys.exit(f"{site} has no pages")
    wrong = wrong_links(pages)
    links = sum(len(page.links) for page in pages.values())
    print(f"{len(pages)} pages, {links} links: {len(wrong)} are wrong")
    browser = Browser()
    try:
        wrong += wrong_pages(browser, paths)
        wrong += wrong_searches(browser, site)
        if asked.screenshots:
            asked.screenshots.mkdir(parents=True, exist_ok=True)
            for name in PICTURES:
                browser.open((site / f"{name}.html").as_uri())
                browser.picture(asked.screenshots / f"{name.replace('/', '-')}.png")
    finally:
        browser.close()
    if wrong:
        sys.exit("\n".join(wrong))
    print("every page loads, every search finds its page, no link is broken")


if __name__ == "__main__":
    main()
