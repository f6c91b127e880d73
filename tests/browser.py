"""Opens a page in headless Chromium at a width, measures every element, and takes a picture."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Look", "look", "shoot"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Runs beside the page, which is in a frame of the wanted width: a window cannot be as narrow as a phone.
MEASURE = """
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const name = (e) => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + (e.className ? '.' + e.className : '') + ' ' +
    JSON.stringify((e.alt || e.textContent || '').trim().replace(/\\s+/g, ' ').slice(0, 40));
const blank = (image) => {  // one colour only
  const canvas = document.createElement('canvas');
  canvas.width = 64; canvas.height = 64;
  const pen = canvas.getContext('2d');
  pen.drawImage(image, 0, 0, 64, 64);
  const data = new Uint32Array(pen.getImageData(0, 0, 64, 64).data.buffer);
  return data.every((value) => value === data[0]);
};
async function measure() {
  const frame = document.getElementById('page'), page = frame.contentDocument, all = new Set(), said = [];
  const switches = [...page.querySelectorAll('.switch button')];
  for (const shown of switches.length ? switches : [null]) {
    if (shown) shown.click();
    for (const line of await inspect(frame, page)) all.add(line);
    for (const canvas of page.querySelectorAll('canvas')) {
      if (!canvas.checkVisibility()) continue;
      const box = canvas.getBoundingClientRect();
      const at = {clientX: box.x + box.width / 2, clientY: box.y + 9, bubbles: true};
      canvas.dispatchEvent(new frame.contentWindow.PointerEvent('pointermove', at));
      said.push(canvas.closest('figure').querySelector('output').textContent);
      canvas.closest('figure').querySelector('button').click();
      canvas.dispatchEvent(new frame.contentWindow.PointerEvent('pointermove', {...at, clientX: box.x + 1}));
      said.push(canvas.closest('figure').querySelector('output').textContent);
    }
  }
  const report = document.createElement('pre');
  report.id = 'measured';
  report.textContent = JSON.stringify(
    {height: page.documentElement.scrollHeight, images: page.images.length, found: [...all], said});
  document.body.appendChild(report);
}
async function inspect(frame, page) {
  const found = [];
  for (const image of page.images) if (!image.complete || !image.naturalWidth) found.push('not loaded: ' + name(image));
  frame.style.height = page.documentElement.scrollHeight + 'px';
  await wait(50);
  const width = page.documentElement.clientWidth;
  const whole = page.documentElement.scrollWidth;
  if (whole > width) found.push('wider than the window: ' + whole + ' px');
  const shown = (e) => e.checkVisibility() && !['SCRIPT', 'STYLE', 'BR', 'TITLE'].includes(e.tagName);
  for (const canvas of page.querySelectorAll('canvas')) {
    for (let tries = 0; shown(canvas) && blank(canvas) && tries < 40; tries++) await wait(50);  // it is drawn in time
    if (shown(canvas) && blank(canvas)) found.push('blank: ' + name(canvas));
  }
  for (const box of page.querySelectorAll('.wide'))
    if (shown(box) && width > 1000 && box.scrollWidth > box.clientWidth + 1) found.push('cut: ' + name(box));
  for (const image of page.images) {
    if (!shown(image) || !image.naturalWidth) continue;
    if (image.closest('.wide') && image.clientWidth < 0.95 * image.naturalWidth)
      found.push('small print: ' + name(image));
    const box = image.getBoundingClientRect();
    if (box.width < 40 || box.height < 20) found.push('too small: ' + name(image));
    else if (blank(image)) found.push('blank: ' + name(image));
  }
  const leaves = 'section, figure, figcaption, p, h1, h2, h3, table, td, th, li, summary, .tile';
  for (const e of page.querySelectorAll(leaves)) {
    if (!shown(e)) continue;
    const box = e.getBoundingClientRect(), empty = !e.textContent.trim() && !e.querySelector('img');
    if (empty && !(e.matches('td, th') && e.parentElement.textContent.trim())) found.push('empty: ' + name(e));
    if (!empty && (box.width < 4 || box.height < 4)) found.push('squeezed: ' + name(e));
    if (!e.closest('.wide') && (box.left < 0 || box.right > width + 1)) found.push('out of the window: ' + name(e));
  }
  const parents = 'body, header, nav, section, figure, details, .tiles, .tile, .pictures, .wide, tr';
  const inline = ['SMALL', 'SPAN', 'A', 'B', 'I', 'CODE', 'STRONG'];
  for (const parent of page.querySelectorAll(parents)) {
    if (!shown(parent)) continue;
    const boxes = [...parent.children].filter(shown).map((e) => [e, e.getBoundingClientRect()])
      .filter(([e, b]) => b.width && b.height);
    boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
      const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (x > 1 && y > 1 && !inline.includes(b.tagName))
        found.push('overlap: ' + name(a) + ' and ' + name(b));
    }));
  }
  return found;
}
addEventListener('load', () => measure().catch((error) => console.error('measuring failed: ' + error)));
"""


@dataclass(frozen=True)
class Look:
    """What a page looks like.

    Parameters
    ----------
    height : int, pixels
    images : int
    found : list of str
        What is wrong with it.
    console : list of str
        What the browser complained of.
    said : list of str
        What each timeline says of its middle, and of its left end after it was zoomed.
    """

    height: int
    images: int
    found: list[str]
    console: list[str]
    said: list[str]


def _browser() -> str:
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    raise AssertionError(f"one of {', '.join(NAMES)} must be installed (apt-get install chromium)")


def _chromium(work: Path, page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        _browser(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--no-first-run",
        "--enable-logging=stderr",
        f"--user-data-dir={work / 'profile'}",
        "--virtual-time-budget=20000",
        *arguments,
        page.absolute().as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)


def shoot(page: Path, width: int, height: int, work: Path) -> Path:
    """A picture of the top of a page, as a PNG in the folder `work`."""
    picture = work / "top.png"
    _chromium(work, page, f"--screenshot={picture.absolute()}", f"--window-size={width},{height}")
    shutil.rmtree(work / "profile", ignore_errors=True)
    return picture


def look(page: Path, width: int, work: Path, *, picture: bool = True) -> Look:
    """Measure a page, and leave `WIDTH.png` in the folder `work` if a `picture` is wanted."""
    work.mkdir(parents=True, exist_ok=True)
    wrapper = work / f"{width}.html"
    style = f"width: {width}px; height: 4000px; border: 0; display: block"
    frame = f'<iframe id="page" style="{style}" srcdoc="{html.escape(page.read_text())}"></iframe>'
    wrapper.write_text(
        f"<!doctype html><meta charset=utf-8><body style='margin: 0'>{frame}<script>{MEASURE}</script></body>"
    )

    done = _chromium(work, wrapper, "--dump-dom")
    measured = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert measured is not None, console or done.stderr[-2000:]
    result = json.loads(html.unescape(measured[1]))
    if picture:
        size = f"--window-size={max(width, 500)},{min(result['height'], 16000)}"
        _chromium(work, wrapper, f"--screenshot={work / f'{width}.png'}", size)
    shutil.rmtree(work / "profile", ignore_errors=True)
    return Look(result["height"], result["images"], result["found"], console, result["said"])
