// Marks the state in the graph that the inspector shows.
"use strict";

(() => {
  function mark() {
    // What the stream has brought is not the target yet of an address that was opened before.
    const named = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
    if (named && !document.querySelector(":target")) window.location.replace(window.location.hash);
    const shown = document.querySelector(".inspected:target") ?? document.querySelector(".inspected.chosen");
    for (const node of document.querySelectorAll(".graph-node")) {
      const here = shown !== null && node.getAttribute("href") === `#${shown.id}`;
      if (here) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    }
  }

  window.addEventListener("hashchange", mark);
  document.addEventListener("htmx:after:swap", mark);
  mark();
})();
