// Beside Generate: generate for ever, and tell when a picture is finished.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;
  const AGAIN = 500, NOTIFY = "webui.notify";
  // Tabs that go on for ever, with the jobs that they had when they were last asked for one more.
  const going = new Map();

  const mark = (tab, name, on) => document.getElementById(`${tab}_${name}`)?.setAttribute("aria-pressed", on);

  const isBusy = (tab) => document.getElementById(`tab_${tab}`).classList.contains("webui-active");

  const goOn = (tab) => {
    const panel = ui.tab(tab).results, last = going.get(tab);
    if (last === undefined) return;
    const refused = !panel.notice.hidden;
    if (refused) stop(tab);
    else if (!isBusy(tab) && panel.jobs.join() !== last) {
      going.set(tab, panel.jobs.join());
      document.getElementById(`${tab}_generate`).click();
    }
    if (going.has(tab)) setTimeout(() => goOn(tab), AGAIN);
  };

  const start = (tab) => {
    if (going.has(tab)) return;
    ui.tab(tab).results.tell(null);
    going.set(tab, null);
    mark(tab, "generate_forever", true);
    goOn(tab);
  };
  const stop = (tab) => {
    if (going.delete(tab)) mark(tab, "generate_forever", false);
  };
  const toggle = (tab) => going.has(tab) ? stop(tab) : start(tab);

  // Who interrupts wants no more.
  document.addEventListener("click", (event) => {
    const id = event.target.closest?.("button[id$=_interrupt]")?.id;
    if (id) stop(id.replace(/_interrupt$/, ""));
  }, true);

  // As in A1111, also by a right click on Generate.
  let menu = null;
  const closeMenu = () => {
    menu?.remove();
    menu = null;
  };
  document.addEventListener("contextmenu", (event) => {
    const button = event.target.closest?.("button.generate");
    if (!button || !ui.isRestored()) return;
    event.preventDefault();
    closeMenu();
    const tab = button.id.replace(/_generate$/, "");
    const entry = (name, act) => make("button", { type: "button", onclick: () => { closeMenu(); act(tab); }, attributes: { role: "menuitem" } }, name);
    menu = make("div", { className: "generate-menu", attributes: { role: "menu", "aria-label": "Generate" }, onkeydown: (pressed) => {
      if (pressed.key === "Escape") closeMenu();
      pressed.stopPropagation();
    } }, entry("Generate forever", start), entry("Cancel generate forever", stop));
    document.querySelector(".gradio-container").append(menu);
    menu.style.left = `${Math.min(event.clientX, innerWidth - menu.offsetWidth - 8)}px`;
    menu.style.top = `${Math.min(event.clientY, innerHeight - menu.offsetHeight - 8)}px`;
    menu.firstChild.focus();
  });
  document.addEventListener("pointerdown", (event) => { if (menu && !menu.contains(event.target)) closeMenu(); }, true);

  // Telling: a sound, and a notification of the browser while the page is not looked at. Kept for this browser.
  const wantsTelling = () => localStorage.getItem(NOTIFY) === "on";
  const showTelling = () => { for (const tab of ui.facts.tabs) mark(tab, "notify", wantsTelling()); };
  const toggleTelling = async () => {
    localStorage.setItem(NOTIFY, wantsTelling() ? "off" : "on");
    showTelling();
    if (!wantsTelling()) return;
    chime();
    if ("Notification" in window && Notification.permission === "default") await Notification.requestPermission();
  };

  /** Two soft tones, made here, so that no file has to be loaded. */
  const chime = () => {
    const Context = window.AudioContext;
    if (!Context) return;
    const sound = new Context(), now = sound.currentTime;
    for (const [place, pitch] of [660, 880].entries()) {
      const tone = sound.createOscillator(), volume = sound.createGain(), begins = now + place * 0.16;
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0, begins);
      volume.gain.linearRampToValueAtTime(0.12, begins + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.001, begins + 0.4);
      tone.connect(volume).connect(sound.destination);
      tone.start(begins);
      tone.stop(begins + 0.45);
      if (place) tone.onended = () => sound.close();
    }
  };

  /** A panel's jobs have ended. */
  ui.resultsEnded = (panel) => {
    if (!wantsTelling() || panel.state === "cancelled") return;
    chime();
    if (document.hasFocus() || !("Notification" in window) || Notification.permission !== "granted") return;
    const text = panel.state === "failed" ? "The picture could not be drawn." : `${panel.order.length} ${panel.order.length === 1 ? "picture is" : "pictures are"} finished.`;
    const told = new Notification(ui.facts.title, { body: text, icon: panel.selected()?.url, tag: `webui-${panel.tab}` });
    told.onclick = () => {
      window.focus();
      told.close();
    };
  };

  /** Put the buttons into a tab that was just made. */
  ui.addBesideGenerate = async (tab) => {
    const generate = await ui.until(() => document.getElementById(`${tab}_generate`));
    if (document.getElementById(`${tab}_generate_forever`)) return;
    generate.after(make("div", { className: "beside-generate" },
      makeButton("Generate forever", "forever", () => toggle(tab), { id: `${tab}_generate_forever`, className: "tool small icon-forever" }),
      makeButton("Sound and notification at the end", "bell", toggleTelling, { id: `${tab}_notify`, className: "tool small icon-bell" })));
    mark(tab, "generate_forever", going.has(tab));
    showTelling();
  };
}
