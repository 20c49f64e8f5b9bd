// Two pictures over each other, with a slider that uncovers one of them: before and after.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;

  /** What a panel's selected picture can be compared with: [name, address] pairs. */
  const others = (panel) => {
    const selected = panel.selected();
    const began = ui.facts.tabs.includes(panel.tab) && document.getElementById(`${panel.tab}_image`) ? ui.canvas(`${panel.tab}_image`).value : null;
    return [
      ...(began?.picture ? [["the picture it began with", ui.address(`inputs/${began.picture}`)]] : []),
      ...(panel.before && panel.before.id !== selected.id ? [["the result before", panel.before.url]] : []),
      ...panel.order.filter((id) => id !== selected.id).map((id) => [`picture ${panel.order.indexOf(id) + 1}`, panel.pictures.get(id).url]),
    ];
  };
  ui.canCompare = (panel) => others(panel).length > 0;

  ui.compare = (panel) => {
    const choices = others(panel);
    const under = make("img", { alt: "Before" }), over = make("img", { alt: "After", src: panel.selected().url });
    const stage = make("div", { className: "compare-stage" }, under, over);
    const choice = make("select", { attributes: { "aria-label": "Compare with" }, onchange: () => { under.src = choices[choice.selectedIndex][1]; } },
      ...choices.map(([name]) => make("option", {}, `Compare with ${name}`)));
    const slide = (share) => {
      slider.value = share;
      stage.style.setProperty("--at", `${share}%`);
    };
    const slider = make("input", { type: "range", min: 0, max: 100, value: 50, className: "compare-slider", oninput: () => slide(slider.value), attributes: { "aria-label": "Where one picture ends and the other begins" } });
    const close = makeButton("Close", "cancel", () => dialog.close(), { className: "tool small icon-cancel" });
    const dialog = make("dialog", { className: "compare", onclose: () => dialog.remove(), attributes: { "aria-label": "Compare two pictures" } },
      make("div", { className: "compare-bar" }, choice, close), stage, slider);
    const follow = (event) => {
      if (event.type !== "pointerdown" && !event.buttons) return;
      const { left, width } = over.getBoundingClientRect();
      slide(Math.max(0, Math.min(100, 100 * (event.clientX - left) / width)));
      event.preventDefault();
    };
    stage.addEventListener("pointerdown", follow);
    stage.addEventListener("pointermove", follow);
    document.querySelector(".gradio-container").append(dialog);
    choice.onchange();
    slide(50);
    dialog.showModal();
    slider.focus();
  };
}
