"use strict";
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const sorted = new Map(); // table -> column and direction, kept when the page is replaced
  const hidden = new Set(); // series whose lines are hidden
  const opened = new Set(); // folded parts that are open

  // Pages that are opened from disk may not have a store.
  const store = {
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* the choice lasts as long as the page */ } },
  };

  let theme = themes.includes(store.get("sosr-page-theme")) ? store.get("sosr-page-theme") : "system";

  function showTheme() {
    if (theme === "system") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) { button.hidden = false; button.textContent = `Theme: ${theme}`; }
  }

  function nextTheme() {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    store.set("sosr-page-theme", theme);
    showTheme();
  }

  function compare(kind, direction) {
    return (one, other) => {
      const a = one.value, b = other.value;
      if (a === "" || b === "") return a === b ? one.place - other.place : a === "" ? 1 : -1; // rows without a value last
      const order = kind === "number" ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true });
      return (direction === "ascending" ? order : -order) || one.place - other.place;
    };
  }

  function sortTable(table, column, direction) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, place: Number(row.dataset.place), value: row.cells[column].dataset.value }));
    rows.sort(compare(heads[column].dataset.kind, direction));
    heads.forEach((head, index) => { if (index === column) head.setAttribute("aria-sort", direction); else head.removeAttribute("aria-sort"); });
    body.append(...rows.map((one) => one.row));
    sorted.set(table.id, { column, direction });
  }

  function showSeries() {
    for (const line of document.querySelectorAll("g[data-series]")) line.classList.toggle("off", hidden.has(line.dataset.series));
    for (const box of document.querySelectorAll("input[data-series]")) box.checked = !hidden.has(box.dataset.series);
  }

  function start() {
    showTheme();
    document.getElementById("theme").addEventListener("click", nextTheme);
    for (const table of document.querySelectorAll("table.sortable")) {
      [...table.tBodies[0].rows].forEach((row, place) => { row.dataset.place = place; });
      [...table.tHead.rows[0].cells].forEach((head, column) => {
        head.querySelector("button").addEventListener("click", () => {
          const ascending = head.getAttribute("aria-sort") === "ascending";
          sortTable(table, column, ascending ? "descending" : "ascending");
        });
      });
      const before = sorted.get(table.id);
      if (before && before.column < table.tHead.rows[0].cells.length) sortTable(table, before.column, before.direction);
    }
    for (const box of document.querySelectorAll("input[data-series]")) {
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(box.dataset.series); else hidden.add(box.dataset.series);
        showSeries();
      });
    }
    showSeries();
    document.querySelectorAll("details").forEach((part, place) => {
      part.open = part.open || opened.has(place);
      part.addEventListener("toggle", () => { if (part.open) opened.add(place); else opened.delete(place); });
    });
  }

  start();
  if (!("watched" in document.body.dataset)) return;

  const status = document.getElementById("watch");
  let known = document.body.dataset.watched; // the state of the files that this page was made from

  async function look() {
    try {
      const answer = await fetch("state", { cache: "no-store" });
      if (!answer.ok) throw new Error(await answer.text());
      const state = await answer.text();
      if (state !== known) {
        const page = await fetch("./", { cache: "no-store" });
        if (!page.ok) throw new Error(await page.text());
        const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
        const focused = document.activeElement && document.activeElement.id;
        document.title = fresh.title;
        document.getElementById("page").replaceWith(fresh.getElementById("page"));
        start();
        if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
        status.textContent = `Updated at ${new Date().toLocaleTimeString()}.`;
        known = state;
      } else if (!status.textContent) {
        status.textContent = "This page follows the runs.";
      }
    } catch (error) {
      status.textContent = error instanceof TypeError ? "sosr-page has stopped; this is the last state." : error.message;
    }
  }

  look();
  setInterval(look, 3000);
})();
