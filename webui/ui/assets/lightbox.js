// A results panel's picture as large as the window.
"use strict";
{
  const ui = window.webui;
  const { make, makeButton } = ui;

  /** Of a panel, which says which picture is selected and steps to others.  root: a dialog, to stand in the panel. */
  ui.Lightbox = class {
    constructor(panel) {
      this.panel = panel;
      this.image = make("img", { alt: "" });
      const stage = make("div", { className: "lightbox-stage" }, this.image);
      const go = (by) => {
        if (panel.order.length > 1) panel.stepBy(by);
      };
      this.zoom = new ui.Zoom(stage, this.image, { step: go, leave: () => this.root.close() });
      const button = (name, icon, act) => makeButton(name, icon, act, { className: `tool icon-${icon}` });
      this.steps = [button("Previous picture", "previous", () => go(-1)), button("Next picture", "next", () => go(1))];
      this.root = make("dialog", { className: "lightbox", attributes: { "aria-label": "Enlarged picture" }, onkeydown: (event) => this.key(event) },
        stage, this.zoom.bar(...this.steps, button("Close", "cancel", () => this.root.close())));
    }

    get open() { return this.root.open; }

    show() {
      this.fill();
      this.root.showModal();
      this.zoom.reset();
    }

    /** Show the panel's picture, where it is another one now. */
    fill() {
      const { url } = this.panel.selected(), { order } = this.panel;
      if (this.image.getAttribute("src") !== url) this.image.src = url;
      this.image.alt = order.length > 1 ? `Picture ${order.indexOf(this.panel.selected().id) + 1} of ${order.length}` : this.panel.image.alt;
      for (const one of this.steps) one.hidden = order.length < 2;
    }

    key(event) {
      if (!this.zoom.key(event)) return;
      event.preventDefault();
      event.stopPropagation();
    }
  };
}
