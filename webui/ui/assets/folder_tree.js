// A tree of folders beside a list: a click on one shows what is in it and below it, and opens what it holds.
"use strict";
{
  const ui = window.webui;
  const { make } = ui;

  /** choose: is given the folder, "" for all. show(folders, chosen): every folder's path, those that hold others among them. */
  ui.folderTree = (choose) => {
    const root = make("nav", { className: "folder-tree", hidden: true, attributes: { "aria-label": "Folders" } });
    const open = new Set();
    let below = new Map(), chosen = "";

    const parentOf = (folder) => folder.includes("/") ? folder.slice(0, folder.lastIndexOf("/")) : "";
    const click = (folder) => {
      // A second click closes what the first one opened.
      if (folder === chosen && open.has(folder)) open.delete(folder);
      else open.add(folder);
      if (folder === chosen) draw();
      else choose(folder);
    };
    const row = (folder, name) => make("button", {
      type: "button", onclick: () => click(folder),
      attributes: { "data-folder": folder, ...(folder === chosen ? { "aria-current": "true" } : {}), ...(folder && below.has(folder) ? { "aria-expanded": open.has(folder) } : {}) },
    }, name);
    const list = (parent) => make("ul", {}, ...below.get(parent).map((folder) =>
      make("li", {}, row(folder, folder.slice(parent ? parent.length + 1 : 0)), ...(open.has(folder) && below.has(folder) ? [list(folder)] : []))));
    const draw = () => {
      const focused = root.contains(document.activeElement) ? document.activeElement.dataset.folder : null;
      root.replaceChildren(row("", "All folders"), ...(below.has("") ? [list("")] : []));
      if (focused !== null) [...root.querySelectorAll("button")].find((one) => one.dataset.folder === focused)?.focus();
    };

    const show = (folders, folder) => {
      chosen = folder;
      below = new Map();
      for (const one of folders) below.set(parentOf(one), [...below.get(parentOf(one)) ?? [], one]);
      for (let one = parentOf(folder); one; one = parentOf(one)) open.add(one);
      root.hidden = !folders.length;
      draw();
    };
    return { root, show };
  };
}
