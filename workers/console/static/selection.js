// Choosing rows of a table: how many are chosen, all of the page at once, and ranges with Shift.
"use strict";

(() => {
  let last = null;

  const boxes = (form) => [...form.querySelectorAll('tbody input[type="checkbox"]')];

  function show(form) {
    const all = boxes(form);
    const chosen = all.filter((box) => box.checked);
    for (const box of all) box.closest("tr").classList.toggle("selected", box.checked);
    const whole = form.querySelector("[data-select-all]");
    if (whole) {
      whole.hidden = false;
      whole.checked = chosen.length > 0 && chosen.length === all.length;
      whole.indeterminate = chosen.length > 0 && chosen.length < all.length;
    }
    const text = document.querySelector("[data-selected]");
    if (!text) return;
    text.dataset.none ??= text.textContent;
    const wanted = chosen.length ? `${chosen.length} selected` : text.dataset.none;
    if (text.textContent !== wanted) text.textContent = wanted;
    const isNone = chosen.length === 0 && !form.querySelector('input[name="all"]')?.checked;
    for (const button of document.querySelectorAll("[data-needs-selection]")) button.disabled = isNone;
  }

  function showAll() {
    for (const form of document.querySelectorAll("[data-selection]")) show(form);
  }

  document.addEventListener("click", (event) => {
    const box = event.target.closest?.('[data-selection] input[type="checkbox"]');
    if (!box) return;
    const form = box.closest("form");
    const all = boxes(form);
    if (box.matches("[data-select-all]")) {
      for (const each of all) each.checked = box.checked;
    } else if (event.shiftKey && last && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      for (const each of all.slice(from, to + 1)) each.checked = box.checked;
    }
    if (!box.matches("[data-select-all]")) last = box;
    show(form);
  });

  document.addEventListener("htmx:after:swap", showAll);
  addEventListener("pageshow", showAll); // The browser may have kept what was chosen.
  showAll();
})();
