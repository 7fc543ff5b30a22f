"""What other engines than Chromium need of the page, held in Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import Page
from web_modules import run

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

PICKERS = """
    const none = { chosen: {}, tracks: {}, on: {}, errors: {}, list: () => [] };
    const media = Object.assign(new EventTarget(), none);
    const { element } = m.devicePickers(media);
    return Object.fromEntries([...element.querySelectorAll('select')].map(
      (each) => [each.dataset.testid, [...each.options].map((option) => option.text)]));
"""


async def test_a_speaker_that_is_not_listed_is_the_systems(page: Page) -> None:
    """Firefox lists none; a camera that is not listed is none."""
    shown = await run(page, "ui/device-pickers.js", PICKERS)
    assert shown["device-speaker"] == ["System default"]
    assert shown["device-camera"] == shown["device-microphone"] == ["None found"]


async def test_the_rows_of_a_dialog_are_not_stretched(page: Page) -> None:
    """A grid in a dialog is as high as the window in WebKit unless its rows stand at its start."""
    await page.add_style_tag(url="/static/ui/theme.css")
    look = await page.evaluate(
        """() => {
          const dialog = Object.assign(document.createElement('dialog'), { className: 'dialog' });
          document.body.append(dialog);
          dialog.showModal();
          const { display, alignContent } = getComputedStyle(dialog);
          dialog.remove();
          return [display, alignContent];
        }"""
    )
    assert look == ["grid", "start"]
