// SPDX-License-Identifier: MIT OR Apache-2.0
// Opens a report in headless Chromium: `make report-browser`. Prints how fast it is and fails where it does not work.
// Usage: node report.mjs REPORT.html [FOLDER for pictures]

import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [file, pictures] = process.argv.slice(2);
const { chromium } = createRequire(resolve(process.env.PLAYWRIGHT_FOLDER, "x.js"))("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const failures = [];
const check = (holds, what) => {
  console.log(`${holds ? "ok" : "NOT OK"}  ${what}`);
  if (!holds) failures.push(what);
};

for (const colorScheme of ["light", "dark"]) {
  const page = await browser.newPage({ colorScheme, viewport: { width: 1280, height: 900 } });
  const said = [];
  page.on("console", (message) => said.push(message.text()));
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("request", (request) => { if (!request.url().startsWith("file:")) said.push(`asked for ${request.url()}`); });
  await page.goto(pathToFileURL(file).href);
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  console.log(`${colorScheme}: first contentful paint after ${paint?.toFixed(0)} ms`);

  const trials = () => page.locator("#shown").textContent();
  const before = await trials();
  await page.keyboard.press("/");
  check(await page.evaluate(() => document.activeElement.id === "q"), "/ goes to the filter");
  const [script, frame] = await page.evaluate(async () => {
    // From a key press's event to the frame after it, as the reader waits for it.
    const input = document.getElementById("q");
    const [scripts, frames] = [[], []];
    for (const text of ["t", "th", "thp", "thp=", "thp=a", "thp=al", "thp=always", "thp=always f", "thp=always fail", "fail", "", "s"]) {
      const start = performance.now();
      input.value = text;
      input.dispatchEvent(new Event("input"));
      scripts.push(performance.now() - start);
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      frames.push(performance.now() - start);
    }
    const sorted = (times) => times.sort((a, b) => a - b);
    return [sorted(scripts), sorted(frames)].map((t) => ({ median: t[6], most: t[11] }));
  });
  const ms = ({ median, most }) => `median ${median.toFixed(1)} ms, slowest ${most.toFixed(1)} ms`;
  console.log(`${colorScheme}: 12 key presses: script ${ms(script)}; to the next frame ${ms(frame)}`);
  await page.fill("#q", "outcome=fail");
  check((await trials()) !== before, "the filter leaves fewer trials");
  await page.keyboard.press("Escape");
  check((await trials()) === before, "Escape brings them back");

  const field = page.locator("table.heat button").first();
  await field.focus();
  await page.keyboard.press("Enter");
  check((await page.inputValue("#q")) !== "", "Enter on a field of the map filters");
  await page.fill("#q", "");
  const options = await page.locator("#down option").count();
  if (options > 2) {
    await page.selectOption("#down", "2");
    check((await page.locator("table.heat tbody th").count()) > 1, "another dimension makes another map");
  }
  if (await page.locator(".copy").count()) {
    await page.locator(".copy").first().click();
    check(/Copied|Selected/.test(await page.locator(".copy").first().textContent()), "a command is copied");
  }
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("button, a, input, select")].filter((e) => !e.hidden && !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length);
  check(unnamed === 0, "every control has a name");
  const skipped = await page.evaluate(() => {
    const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((h) => Number(h.tagName[1]));
    return levels.some((level, i) => i > 0 && level > levels[i - 1] + 1);
  });
  check(!skipped, "no level of headings is skipped");
  check(said.length === 0, `nothing is complained of or loaded${said.length ? `: ${said[0]}` : ""}`);
  if (pictures) {
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: resolve(pictures, `${colorScheme}.png`) });
    await page.locator("#map").screenshot({ path: resolve(pictures, `${colorScheme}-map.png`) });
    await page.locator("#trials").scrollIntoViewIfNeeded();
    await page.screenshot({ path: resolve(pictures, `${colorScheme}-trials.png`) });
  }
  await page.close();
}
await browser.close();
process.exit(failures.length ? 1 : 0);
