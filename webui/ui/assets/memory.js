// The forms' memory: what the tabs' controls hold is kept in the browser, so that a page opened again shows it.
//
// gradio alone knows the values, and asking it for a tab's costs some milliseconds of the page's time. So it is asked at once when
// something may have changed, and then again when things have come to rest, not at every key.
"use strict";
{
  const ui = window.webui;
  const REST = 300, AT_MOST = 2000;
  // How long after something was done its answer may come from the server.
  const ANSWERS = 30000;
  const SCRIPT = "scripts";
  const forms = new Map(ui.facts.tabs.map((tab) => [tab, { touchedAt: -Infinity, keptAt: -Infinity, timer: null, asking: false, script: false }]));

  /** Something in that tab's form may have changed.  soon: not one key among many. */
  ui.touched = (tab, soon = false) => {
    const form = forms.get(tab);
    if (!form || !ui.isRestored()) return;
    form.touchedAt = performance.now();
    clearTimeout(form.timer);
    form.timer = setTimeout(() => {
      form.timer = null;
      ask(tab);
    }, REST);
    if (!form.asking && (soon || form.touchedAt - form.keptAt > AT_MOST)) {
      form.asking = true;
      setTimeout(() => ask(tab));
    }
  };

  const ask = (tab) => {
    Object.assign(forms.get(tab), { asking: false, keptAt: performance.now() });
    ui.pageEvents[`keep_${tab}`]();
  };

  /** What the browser shall keep of a tab. What it kept before is given back as it is while nothing has changed. */
  ui.pack = (tab, names, stored, followed, values) => {
    if (!ui.isRestored()) return stored;
    const jobs = followed?.jobs?.length ? followed.jobs : followed?.job ? [followed.job] : [];
    const kept = { fields: Object.fromEntries(names.map((name, place) => [name, values[place]])), jobs };
    const form = forms.get(tab), now = JSON.stringify(kept), hasScript = (kept.fields[SCRIPT] ?? "None") !== "None";
    if ((hasScript || form.script) && now !== form.now) setTimeout(() => ui.pageEvents[`plan_${tab}`]());
    [form.now, form.script] = [now, hasScript];
    return now === JSON.stringify(stored) ? stored : kept;
  };

  // A hand changes what is in its tab, or by the bar above the tabs and by dialogs what is in all of them.
  const touchedBy = (event) => {
    const tab = event.target.closest?.("[id^=tab_]")?.id.slice("tab_".length);
    const soon = ["change", "focusout", "drop"].includes(event.type);
    if (forms.has(tab)) ui.touched(tab, soon);
    else if (!tab) for (const each of forms.keys()) ui.touched(each, soon);
  };
  for (const kind of ["input", "change", "focusout", "click", "keyup", "pointerup", "drop"]) document.addEventListener(kind, touchedBy, true);
  // The page lives on until the next one begins to arrive.
  window.addEventListener("beforeunload", () => { for (const [tab, form] of forms) if (form.timer !== null) ask(tab); });

  // The server's answers change forms as well.
  new PerformanceObserver((list) => {
    if (!list.getEntries().some(({ name }) => name.includes("/gradio_api/run/") || name.includes("/gradio_api/queue/"))) return;
    for (const [tab, form] of forms) if (performance.now() - form.touchedAt < ANSWERS) ui.touched(tab);
  }).observe({ type: "resource" });
}
