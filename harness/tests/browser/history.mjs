// SPDX-License-Identifier: MIT OR Apache-2.0
// Opens a page of the history in headless Chromium: `make report-browser`. Prints how fast it is and fails where it does
// not work. Usage: node history.mjs HISTORY.html [FOLDER for pictures]

import { check, inBothThemes, keyPresses } from "./common.mjs";

const [file, pictures] = process.argv.slice(2);

await inBothThemes(file, pictures, "history", ["#nights", "#sig-0"], async (page, theme) => {
  const rows = () => page.locator("#grid tbody tr:not([hidden])").count();
  const all = await rows();
  const first = await page.locator("#grid tbody a").first().textContent();
  await page.keyboard.press("/");
  check(await page.evaluate(() => document.activeElement.id === "q"), "/ goes to the filter");
  const word = first.split(" ").at(-1).toLowerCase();
  const texts = [...word].map((_, at) => word.slice(0, at + 1)).slice(0, 11);
  console.log(`${theme}: ${await keyPresses(page, ["", ...texts])}`);
  await page.fill("#q", first);
  const left = await rows();
  check(left > 0 && left < all, `the filter leaves ${left} of ${all} signatures`);
  check((await page.locator("article:not([hidden])").count()) === left, "and as many below");
  await page.keyboard.press("Escape");
  check((await rows()) === all, "Escape brings them back");

  const key = page.locator("button[data-filter]").first();
  await key.click();
  check((await page.inputValue("#q")).startsWith("is="), "a key of the legend filters");
  await key.click();
  check((await rows()) === all, "and chosen again shows all");

  const here = () => page.evaluate(() => [document.activeElement.parentElement.rowIndex, document.activeElement.cellIndex]);
  await page.locator("#grid td").first().focus();
  check((await page.locator("#grid td[tabindex]").count()) === 1, "the table is one stop of the Tab key");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  check(String(await here()) === "2,2", "the arrow keys go from field to field");
  check(/UTC/.test(await page.locator("#chosen p").textContent()), "a field says which run it is");
  check(/^mmtorture show \S+/.test(await page.locator("#chosen code").textContent()), "and how to show it");
  await page.keyboard.press("Home");
  check(String(await here()) === "2,1", "Home goes to the newest run");

  const older = page.locator("#older");
  if (await older.isEnabled()) {
    const night = () => page.locator("#range").textContent();
    const newest = await night();
    const start = Date.now();
    await older.click();
    console.log(`${theme}: older runs after ${Date.now() - start} ms`);
    check((await night()) !== newest, "there are older runs");
    await page.locator("#newer").click();
    check((await night()) === newest, "and back");
    await page.locator("#grid td").first().focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowRight");
    check((await night()) !== newest && (await here())[1] === 1, "an arrow key at the edge goes on to older runs");
    await page.locator("#newer").click();
  }
  await page.locator("#grid td").nth(1).click();
});
