// SPDX-License-Identifier: MIT OR Apache-2.0
// Opens a report in headless Chromium: `make report-browser`. Prints how fast it is and fails where it does not work.
// Usage: node report.mjs REPORT.html [FOLDER for pictures]

import { check, inBothThemes, keyPresses } from "./common.mjs";

const [file, pictures] = process.argv.slice(2);

await inBothThemes(file, pictures, "report", ["#map", "#bug-0", "#bug-0 .bisection", "#trials"], async (page, theme) => {
  const trials = () => page.locator("#shown").textContent();
  const before = await trials();
  await page.keyboard.press("/");
  check(await page.evaluate(() => document.activeElement.id === "q"), "/ goes to the filter");
  const texts = ["t", "th", "thp", "thp=", "thp=a", "thp=al", "thp=always", "thp=always f", "thp=always fail", "fail", "", "s"];
  console.log(`${theme}: ${await keyPresses(page, texts)}`);
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
  if (await page.locator("svg.course").count()) {
    const course = page.locator("svg.course").first();
    check(/trial/.test(await course.locator("desc").textContent()), "the course of a bisection is told in words");
    const marks = await course.locator(".hit, .clean, .silent").count();
    const table = page.locator(".bisection details").first();
    await table.locator("summary").focus();
    await page.keyboard.press("Enter");
    check((await table.locator("tbody tr").count()) === marks, `each of its ${marks} trials is a row of the table that Enter opens`);
  }
});
