// The editor of a picture to start from. Its value names files on the server: the picture, as it is or painted on, and the mask.
// Whatever is drawn is sent when the hand rests; window.webui.canvas(id).ready() waits until all of it is there.
"use strict";
{
  const ui = window.webui;
  const handles = new Map();

  /** The editor of that element id; it may be asked before its tab was opened for the first time. */
  ui.canvas = (id) => {
    if (!handles.has(id)) handles.set(id, new Handle());
    return handles.get(id);
  };
  ui.addCanvas = (element, props, server, watch, kind) => {
    const editor = new ui.CanvasEditor(element.querySelector(".canvas"), props, server, kind, ui.canvas(kind.id));
    watch("value", () => editor.obey(props.value));
    editor.obey(props.value);
    ui.canvas(kind.id).mount(editor);
  };

  /** What the page's other scripts hold. It tells "change" with the new value as its detail. */
  class Handle extends EventTarget {
    constructor() {
      super();
      this.editor = null;
      this.waiting = [];
      this.mounting = false;
    }

    /** What was asked of the editor before it was there comes after what it was restored to. */
    async mount(editor) {
      this.mounting = true;
      await editor.loading;
      this.editor = editor;
      for (const act of this.waiting.splice(0)) act(editor);
    }

    /** null, or {picture, mask, width, height}; what was drawn last may be missing until ready(). */
    get value() { return this.editor?.value ?? null; }

    /** The value, once nothing is being uploaded.  Rejected with the reason when what was drawn could not be sent. */
    ready() { return !this.mounting && !this.waiting.length ? Promise.resolve(null) : this.when((editor) => editor.ready()); }
    /** Take a picture, a Blob or an address of this server's.  keepMask: what is marked stays, scaled to the new picture's size. */
    load(source, { keepMask = false } = {}) { return this.when((editor) => editor.load(source, { keepMask })); }
    /** Show a value that another editor had. */
    loadHash(value) { return this.when((editor) => editor.show(value)); }
    /** Take a picture as the mask; it is scaled to the picture's size. */
    loadMask(blob) { return this.when((editor) => editor.loadMask(blob)); }
    clear() { return this.when((editor) => editor.clear()); }

    when(act) {
      if (this.editor) return Promise.resolve(act(this.editor));
      return new Promise((resolve, reject) => this.waiting.push((editor) => Promise.resolve(act(editor)).then(resolve, reject)));
    }
  }

  // A picture in the clipboard goes to the editor that has the focus, or lies under the pointer, or is the only one in sight.
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    const editors = [...handles.values()].map(({ editor }) => editor).filter((editor) => editor?.root.isConnected && editor.root.offsetParent);
    const meant = editors.find(({ root }) => root.contains(document.activeElement)) ?? editors.find(({ gestures }) => gestures.hovering) ?? (editors.length === 1 ? editors[0] : null);
    const forText = event.target.closest?.("input, textarea") && event.clipboardData.types.includes("text/plain");
    if (!file || !meant || forText) return;
    event.preventDefault();
    meant.load(file);
  });
}
