(() => {
  const { byId, data, element, number, query, say, terms } = page;
  const BATCH = 50;
  const SILENT = new Set(["not-exercised", "boot-failure", "build-failure", "infra-error"]);
  // Each trial as the text that the filter looks in. NUL cannot be typed: it ends a `name=value`.
  const rows = data.rows.map(([cell, outcome, why, seed, tenths, bug]) => {
    const values = data.settings[cell].map((value, dim) => data.dims[dim][1][value]);
    const words = values.map((value, dim) => `${data.dims[dim][0]}=${value}`);
    words.push(`outcome=${data.outcomes[outcome]}`, `seed=${seed}`, `bug=${bug}`, data.whys[why], data.cells[cell]);
    return { cell, outcome: data.outcomes[outcome], why: data.whys[why], seed, tenths, bug, values, text: `\0${words.join("\0")}\0`.toLowerCase() };
  });
  const order = (row) => (row.outcome === "pass" ? 2 : SILENT.has(row.outcome) ? 1 : 0);
  const sorted = rows.map((row, at) => [row, at]).sort((a, b) => order(a[0]) - order(b[0]) || a[1] - b[1]).map(([row]) => row);
  const bugs = [...document.querySelectorAll(".bug")];
  // What the reader sees of a bug but its console: the title, the facts, the settings.
  const bugText = bugs.map((bug) => [...bug.querySelectorAll("h3, p, dl, .bisection")].map((e) => e.textContent).join(" ").toLowerCase());

  const body = byId("rows").tBodies[0];
  let matching = sorted;
  let shown = 0;

  const show = () => {
    const batch = document.createDocumentFragment();
    for (const row of matching.slice(shown, shown + BATCH)) {
      const line = batch.appendChild(element("tr"));
      line.appendChild(element("td")).appendChild(element("span", row.outcome, `chip ${row.outcome}`));
      for (const value of row.values) line.appendChild(element("td", value));
      line.appendChild(element("td", row.seed, "n"));
      line.appendChild(element("td", `${(row.tenths / 10).toFixed(1)} s`, "n"));
      const what = line.appendChild(element("td"));
      if (row.bug >= 0) {
        what.appendChild(element("a", row.why)).href = `#bug-${row.bug}`;
      } else {
        what.textContent = row.why;
      }
      line.appendChild(element("td")).appendChild(element("code", data.cells[row.cell]));
    }
    body.appendChild(batch);
    shown = Math.min(shown + BATCH, matching.length);
    byId("shown").textContent = `${number(shown)} of ${number(matching.length)} shown, what broke first`;
    byId("more").hidden = shown >= matching.length;
  };

  // All terms must be there. `name=value` means that value and no longer one, once it is whole: `thp=never` finds no other.
  const filter = () => {
    const asked = terms();
    const finds = (text) => asked.every((term) => text.includes(term));
    const exact = (text) => asked.every((term) => text.includes(`\0${term}\0`) || (!values.has(term) && text.includes(term)));
    matching = asked.length ? sorted.filter((row) => exact(row.text)) : sorted;
    const hit = new Set(matching.map((row) => row.bug));
    bugs.forEach((bug, at) => {
      const hide = asked.length > 0 && !hit.has(at) && !finds(bugText[at]);
      if (bug.hidden !== hide) bug.hidden = hide;
    });
    byId("hits").textContent = asked.length ? `${number(matching.length)} trials` : "";
    body.replaceChildren();
    shown = 0;
    show();
  };
  const values = new Set(data.dims.flatMap(([name, settings]) => settings.map((value) => `${name}=${value}`.toLowerCase())));
  const look = (text) => {
    query.value = text;
    filter();
    say(`${number(matching.length)} trials match ${text}`);
    byId("trials").scrollIntoView();
  };

  const heat = () => {
    const [down, across] = [byId("down"), byId("across")].map((select) => Number(select.value));
    const fields = new Map();
    for (const row of rows) {
      const key = `${data.settings[row.cell][down]} ${data.settings[row.cell][across]}`;
      if (!fields.has(key)) fields.set(key, { broken: 0, passed: 0, silent: 0 });
      const field = fields.get(key);
      if (row.outcome === "pass") field.passed++;
      else if (SILENT.has(row.outcome)) field.silent++;
      else field.broken++;
    }
    const [[downName, downs], [acrossName, acrosses]] = [data.dims[down], data.dims[across]];
    const table = element("table", undefined, "heat");
    table.appendChild(element("caption", `${downName} by ${acrossName}`, "hidden"));
    const head = table.createTHead().insertRow();
    head.insertCell().appendChild(element("span", `${downName} by ${acrossName}`, "hidden"));
    for (const value of acrosses) head.appendChild(element("th", value)).scope = "col";
    const tbody = table.createTBody();
    downs.forEach((downValue, i) => {
      const line = tbody.insertRow();
      line.appendChild(element("th", downValue)).scope = "row";
      acrosses.forEach((acrossValue, j) => {
        const field = fields.get(`${i} ${j}`);
        const cell = line.insertCell();
        if (!field) {
          cell.className = "none";
          cell.appendChild(element("span", "no trials", "hidden"));
          return;
        }
        const { broken, passed, silent } = field;
        const total = broken + passed + silent;
        cell.className = broken ? `l${1 + Math.min(4, Math.floor((broken * 100) / total / 20))}` : passed ? "l0" : "silent";
        const button = cell.appendChild(element("button"));
        button.type = "button";
        if (broken) button.append(element("b", number(broken)), `/${number(total)}`);
        else if (passed) button.append(`✓ ${number(passed)}`);
        if (silent) button.append(element("small", `${number(silent)} ?`));
        const terms = [...new Set([`${downName}=${downValue}`, `${acrossName}=${acrossValue}`])].join(" ");
        button.setAttribute("aria-label", `${terms}: ${broken} broke, ${passed} passed, ${silent} say nothing`);
        button.addEventListener("click", () => look(terms));
      });
    });
    byId("heat").replaceChildren(table);
  };

  for (const id of ["down", "across"]) {
    const select = byId(id);
    if (!select) continue;
    select.disabled = false;
    select.addEventListener("change", heat);
  }
  byId("more").addEventListener("click", show);
  document.querySelectorAll("button[data-filter]").forEach((button) => button.addEventListener("click", () => look(button.dataset.filter)));
  // Each console opens at its report.
  const toReport = (details) => {
    const mark = details.querySelector("mark");
    if (mark && details.open) mark.parentElement.scrollTop = mark.offsetTop - mark.parentElement.offsetTop - 48;
  };
  document.querySelectorAll(".console").forEach((details) => {
    toReport(details);
    details.addEventListener("toggle", () => toReport(details));
  });
  if (byId("down")) heat();
  page.onFilter(filter);
})();
