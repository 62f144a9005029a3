"use strict";
// What all pages share: the data, the filter's field, commands to copy.
const page = (() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const query = byId("q");
  const number = (n) => n.toLocaleString("en-US");
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const say = (text) => { byId("said").textContent = text; };
  const terms = () => query.value.toLowerCase().split(/\s+/).filter(Boolean);

  // `/` goes to the filter, Escape empties it; `filter` is called now and after each change.
  const onFilter = (filter) => {
    query.addEventListener("input", filter);
    document.addEventListener("keydown", (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        query.focus();
      } else if (event.key === "Escape" && event.target === query && query.value) {
        query.value = "";
        filter();
      }
    });
    filter();
  };

  const copy = async (button) => {
    const code = button.previousElementSibling;
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // A page from a file may not write to the clipboard everywhere: then it is selected, to be copied by hand.
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    button.textContent = done ? "Copied" : "Selected";
    say(button.textContent);
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  document.querySelectorAll(".copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));

  return { byId, data, element, number, onFilter, query, say, terms };
})();
