"""The pictures of docs/page.md, from the comparison of the tests: python -m tools.page_pictures

Needs Debian's packages chromium and chromium-driver, and selenium of the extra `test`.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from sosr_timm.files import replacing
from sosr_timm.page.comparisons import content_of_comparison
from sosr_timm.page.document import document
from tools.checkout import ROOT, shown

SOURCE = ROOT / "tests" / "fixtures" / "comparison"
BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# Picture -> width and height in pixels of a style sheet, how many pixels of a picture each is, theme.
PICTURES = {"page_wide.png": (1280, 1360, 1.0, "light"), "page_phone.png": (360, 1020, 1.5, "dark")}
COLORS = 128


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.html"
            page.write_text(document(content_of_comparison(SOURCE)), encoding="utf-8")
            for name, (width, height, scale, theme) in PICTURES.items():
                size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
                browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                features = [{"name": "prefers-color-scheme", "value": theme}]
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
                browser.get(page.as_uri())
                save(browser.get_screenshot_as_png(), ROOT / "docs" / name)
    finally:
        browser.quit()


def save(content: bytes, path: Path) -> None:
    """Write a picture with few colours, which is small."""
    picture = Image.open(io.BytesIO(content)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    with replacing(path) as temporary:
        picture.save(temporary, format="png", optimize=True)
    print(shown(path), "written")


if __name__ == "__main__":
    main()
