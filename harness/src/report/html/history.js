(() => {
  const { byId, data, element, number, query, say, terms } = page;
  const grid = byId("grid");
  const articles = [...document.querySelectorAll("article")];
  const texts = articles.map((article) => `${article.textContent} is=${article.dataset.is}`.toLowerCase());
  const hits = byId("hits");

  const filter = () => {
    const asked = terms();
    let left = 0;
    articles.forEach((article, at) => {
      const hide = !asked.every((term) => texts[at].includes(term));
      if (article.hidden !== hide) article.hidden = hide;
      if (grid && grid.tBodies[0].rows[at].hidden !== hide) grid.tBodies[0].rows[at].hidden = hide;
      left += hide ? 0 : 1;
    });
    hits.textContent = asked.length ? `${number(left)} of ${number(articles.length)}` : "";
    return left;
  };
  document.querySelectorAll("button[data-filter]").forEach((button) => button.addEventListener("click", () => {
    query.value = query.value === button.dataset.filter ? "" : button.dataset.filter;
    say(`${number(filter())} signatures`);
  }));
  if (!grid) {
    page.onFilter(filter);
    return;
  }

  // For each signature, its field of each run: [saw it, expected it, said something], or nothing where it was not run.
  const rows = data.rows.map((alike) => alike.flatMap(([count, ...field]) => Array(count).fill(field.length ? field : null)));
  const titles = [...grid.tBodies[0].rows].map((row) => row.cells[0].querySelector("a").textContent);
  const [newer, older, matrix] = ["newer", "older", "matrix"].map(byId);
  let columns = data.runs.map((_, run) => run);
  let first = 0;
  let shown = columns.slice(0, data.window);

  const hidden = (text) => element("span", text, "hidden");
  const kind = (field) => {
    if (!field) return "none";
    const [seen, known, said] = field;
    if (seen === 0) return said === 0 ? "silent" : "l0";
    return known === seen ? "known" : `l${1 + Math.min(4, Math.floor((seen * 5) / Math.max(1, said)))}`;
  };
  const make = (field) => {
    const made = element("td", undefined, kind(field));
    if (field?.[0] > 0) {
      made.append(element("b", field[0]), element("small", `/${field[2]}`));
      return made;
    }
    made.append(!field ? "–" : field[2] > 0 ? "✓" : "?");
    if (field?.[2] > 0) made.append(element("small", `/${field[2]}`));
    made.ariaLabel = !field ? "not run" : field[2] > 0 ? `clean, 0 of ${field[2]}` : "said nothing";
    return made;
  };
  const draw = () => {
    shown = columns.slice(first, first + data.window);
    const head = grid.tHead.rows[0];
    while (head.cells.length > 1) head.lastChild.remove();
    for (const run of shown) {
      const [, time, of] = data.runs[run];
      const name = element("th", undefined, "night");
      name.scope = "col";
      const text = name.appendChild(element("span", time.slice(5, 10)));
      text.append(hidden(` ${time.slice(11)} ${data.matrices[of]}`));
      head.append(name);
    }
    [...grid.tBodies[0].rows].forEach((line, at) => line.replaceChildren(line.cells[0], ...shown.map((run) => make(rows[at][run]))));
    tellRange();
  };
  const tellRange = () => {
    newer.disabled = first === 0;
    older.disabled = first + data.window >= columns.length;
    const day = (run) => data.runs[run][1].slice(0, 10);
    byId("range").textContent = shown.length
      ? `runs ${number(first + 1)} to ${number(first + shown.length)} of ${number(columns.length)}, ${day(shown[0])} to ${day(shown.at(-1))}`
      : "no runs";
    enter();
  };
  const turn = (by) => {
    first = Math.max(0, Math.min(first + by * data.window, columns.length - 1));
    draw();
  };
  newer.addEventListener("click", () => turn(-1));
  older.addEventListener("click", () => turn(1));
  matrix.addEventListener("change", () => {
    const asked = Number(matrix.value);
    columns = data.runs.map((_, run) => run).filter((run) => asked < 0 || data.runs[run][2] === asked);
    first = 0;
    draw();
  });

  // One stop for the Tab key; the arrow keys go on from there, over the edge to other runs.
  const enter = (cell) => {
    cell ??= grid.tBodies[0].querySelector("tr:not([hidden]) td");
    // The focus does not survive that its cell is no stop for a moment.
    grid.querySelectorAll("td[tabindex]").forEach((other) => { if (other !== cell) other.removeAttribute("tabindex"); });
    if (cell) cell.tabIndex = 0;
  };
  const go = (cell) => {
    enter(cell);
    cell?.focus();
  };
  const tell = (cell) => {
    const [row, run] = [cell.parentElement.rowIndex - 1, shown[cell.cellIndex - 1]];
    const [id, time, of] = data.runs[run];
    const field = rows[row][run];
    const came = !field ? "not run" : field[2] + field[0] === 0 ? "ran and said nothing"
      : `${field[0]} of ${field[2]} trials${field[1] ? `, ${field[1]} of them expected` : ""}`;
    const [words, command] = byId("chosen").children;
    words.textContent = `${titles[row]}: ${came}, ${time} UTC, ${data.matrices[of]}`;
    command.firstChild.textContent = data.show.join(id);
    byId("chosen").hidden = false;
    grid.querySelectorAll(".here").forEach((other) => other.classList.remove("here"));
    cell.classList.add("here");
  };
  grid.addEventListener("focusin", (event) => {
    if (event.target.tagName !== "TD") return;
    enter(event.target);
    tell(event.target);
  });
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (!cell) return;
    go(cell);
  });
  grid.addEventListener("keydown", (event) => {
    const cell = event.target;
    if (cell.tagName !== "TD" || event.ctrlKey || event.metaKey || event.altKey) return;
    const seen = [...grid.tBodies[0].rows].filter((line) => !line.hidden);
    const [line, column] = [seen.indexOf(cell.parentElement), cell.cellIndex];
    const at = (down, across) => seen[Math.max(0, Math.min(seen.length - 1, down))]?.cells[Math.max(1, Math.min(shown.length, across))];
    let next;
    if (event.key === "ArrowDown") next = at(line + 1, column);
    else if (event.key === "ArrowUp") next = at(line - 1, column);
    else if (event.key === "Home") next = at(line, 1);
    else if (event.key === "End") next = at(line, shown.length);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const by = event.key === "ArrowLeft" ? -1 : 1;
      const over = column + by < 1 ? !newer.disabled : column + by > shown.length && !older.disabled;
      if (over) {
        turn(by);
        next = at(line, by < 0 ? shown.length : 1);
      } else {
        next = at(line, column + by);
      }
    } else return;
    event.preventDefault();
    go(next);
  });

  document.querySelectorAll(".turn, .keys").forEach((part) => { part.hidden = false; });
  grid.setAttribute("role", "grid");
  page.onFilter(filter);
  // The newest runs are in the markup.
  tellRange();
})();
