// What scripting adds to the pages: the live state, ages that go on, copying, and `/` for the search.
"use strict";

(() => {
  // Shows the buttons that copy. Browsers have a clipboard only on this machine and with TLS.
  if (navigator.clipboard) document.documentElement.classList.add("copies");

  const state = document.getElementById("live-state");
  let paused = false;
  let held = false; // Something came while the page was paused.

  function show(live, text) {
    if (!state || paused) return;
    state.hidden = false;
    state.dataset.live = live;
    state.querySelector(".text").textContent = text;
  }

  // A browser has six connections to a host: pages that were opened in the background would take them all. Those that go
  // there later let theirs go by themselves.
  if (document.hidden) {
    const parts = [...document.querySelectorAll("[hx-sse\\:connect]")];
    const addresses = parts.map((part) => part.getAttribute("hx-sse:connect"));
    for (const part of parts) part.removeAttribute("hx-sse:connect");
    document.addEventListener("visibilitychange", () => {
      parts.forEach((part, number) => {
        part.setAttribute("hx-sse:connect", addresses[number]);
        htmx.process(part);
      });
    }, { once: true });
  }

  function reconnect() {
    const source = document.querySelector("[hx-sse\\:connect]");
    source?._htmx?.sse?.reader?.cancel(); // It connects again, and gets the present state first.
  }

  show("connecting", "connecting");
  document.addEventListener("htmx:sse:after:connection", (event) => {
    const ok = event.detail.connection.status === 200;
    show(ok ? "live" : "lost", ok ? "live" : "not live");
  });
  document.addEventListener("htmx:sse:error", () => show("lost", "connection lost"));
  document.addEventListener("htmx:sse:close", (event) => {
    const ended = event.detail.reason === "message"; // It was told that nothing more comes.
    show(ended ? "ended" : "lost", ended ? "ended" : "not live");
  });
  document.addEventListener("htmx:sse:before:message", (event) => {
    if (paused) {
      held = true;
      event.detail.cancelled = true;
      event.preventDefault();
    }
  });

  state?.addEventListener("click", () => {
    paused = !paused;
    state.setAttribute("aria-pressed", String(paused));
    if (paused) {
      state.dataset.live = "paused";
      state.querySelector(".text").textContent = "paused";
      return;
    }
    show("live", "live");
    if (held) reconnect();
    held = false;
  });

  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

  // As the server writes ages: in the largest unit that gives a number of at least 2.
  function age(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const [unit, size] = units.find(([, each]) => whole >= 2 * each) ?? units[3];
    return `${Math.floor(whole / size)}${unit}`;
  }

  setInterval(() => {
    if (paused || document.hidden) return;
    for (const time of document.querySelectorAll("time[datetime]:not(.exact)")) {
      const text = age((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }, 1000);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector("[data-search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
})();
