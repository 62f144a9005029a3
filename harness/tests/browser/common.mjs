// SPDX-License-Identifier: MIT OR Apache-2.0
// What the tests of pages in headless Chromium share.

import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(resolve(process.env.PLAYWRIGHT_FOLDER, "x.js"))("playwright-core");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

// Widths of a desk, a small window, a telephone.
const WIDTHS = [1300, 1000, 480];
const failures = [];

export const check = (holds, what) => {
  console.log(`${holds ? "ok" : "NOT OK"}  ${what}`);
  if (!holds) failures.push(what);
};

// From a key press's event to the frame after it, as the reader waits for it.
export const keyPresses = async (page, texts) => {
  const times = await page.evaluate(async (texts) => {
    const input = document.getElementById("q");
    const [scripts, frames] = [[], []];
    for (const text of texts) {
      const start = performance.now();
      input.value = text;
      input.dispatchEvent(new Event("input"));
      scripts.push(performance.now() - start);
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      frames.push(performance.now() - start);
    }
    const sorted = (times) => times.sort((a, b) => a - b);
    return [sorted(scripts), sorted(frames)].map((t) => ({ median: t[t.length >> 1], most: t.at(-1) }));
  }, texts);
  const ms = ({ median, most }) => `median ${median.toFixed(1)} ms, slowest ${most.toFixed(1)} ms`;
  return `${texts.length} key presses: script ${ms(times[0])}; to the next frame ${ms(times[1])}`;
};

// What every page must do at any width, in any theme.
const always = async (page, said) => {
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("button, a, input, select")].filter((e) => !e.hidden && !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length);
  check(unnamed === 0, "every control has a name");
  const skipped = await page.evaluate(() => {
    const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((h) => Number(h.tagName[1]));
    return levels.some((level, i) => i > 0 && level > levels[i - 1] + 1);
  });
  check(!skipped, "no level of headings is skipped");
  const doubled = await page.evaluate(() => {
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    return ids.filter((id, at) => ids.indexOf(id) !== at);
  });
  check(doubled.length === 0, `every id is one element's${doubled.length ? `: ${doubled[0]}` : ""}`);
  check(said.length === 0, `nothing is complained of or loaded${said.length ? `: ${said[0]}` : ""}`);
};

// Opens the page in both themes, has `look` try it, and looks at it at each width. Ends the process.
export const inBothThemes = async (file, pictures, name, parts, look) => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ colorScheme, viewport: { width: WIDTHS[0], height: 900 } });
    const said = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    page.on("request", (request) => { if (!request.url().startsWith("file:")) said.push(`asked for ${request.url()}`); });
    await page.goto(pathToFileURL(file).href);
    const painted = await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(`${name}, ${colorScheme}: first contentful paint after ${(await painted.jsonValue()).toFixed(0)} ms`);
    await look(page, colorScheme);
    await always(page, said);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(over <= 0, `at ${width} pixels the page is not wider than its window${over > 0 ? `, but by ${over}` : ""}`);
      if (!pictures) continue;
      const save = (part) => ({ path: resolve(pictures, `${name}-${colorScheme}-${width}${part}.png`) });
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot(save(""));
      for (const part of parts) {
        const found = page.locator(part).first();
        if (await found.count()) await found.screenshot(save(part.replace(/\W+/g, "-")));
      }
    }
    await page.close();
  }
  // Without its script a page still tells; on paper it has no controls.
  const context = await browser.newContext({ javaScriptEnabled: false, colorScheme: "dark" });
  const page = await context.newPage();
  await page.goto(pathToFileURL(file).href);
  check((await page.locator("main table").count()) > 0, "without its script it has its tables");
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  const [paper, ink] = await page.evaluate(() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]);
  check(paper === "rgb(255, 255, 255)" && ink !== "rgb(227, 231, 234)", `on paper it is dark on white: ${ink} on ${paper}`);
  check(!(await page.locator("nav").isVisible()), "on paper it has no controls");
  if (pictures) await page.screenshot({ path: resolve(pictures, `${name}-print.png`) });
  await browser.close();
  process.exit(failures.length ? 1 : 0);
};
