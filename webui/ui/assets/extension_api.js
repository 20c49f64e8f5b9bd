// What extensions' scripts may use, under A1111's names.
"use strict";
{
  const ui = window.webui;
  const heard = { loaded: [], update: [], afterUpdate: [], tab: [] };
  let isLoaded = false;

  /** One listener that fails keeps no other from hearing. */
  const tell = (listeners, ...told) => {
    for (const listener of listeners) {
      try { listener(...told); } catch (error) { setTimeout(() => { throw error; }); }
    }
  };

  window.gradioApp = () => document;
  window.onUiLoaded = (listener) => (isLoaded ? tell([listener]) : heard.loaded.push(listener));
  window.onUiUpdate = (listener) => heard.update.push(listener);
  window.onAfterUiUpdate = (listener) => heard.afterUpdate.push(listener);
  window.onUiTabChange = (listener) => heard.tab.push(listener);
  window.get_uiCurrentTab = () => document.querySelector("#tabs [role=tab][aria-selected=true]");
  window.get_uiCurrentTabContent = () => [...document.querySelectorAll("#tabs > .tabitem")].find((one) => one.offsetParent !== null) ?? null;
  /** Let the page know that a script has changed a text box. */
  window.updateInput = (element) => element.dispatchEvent(new Event("input", { bubbles: true }));
  /** The address of an extension's file or route: extensionFile("name", "static/a.png"), extensionRoute("name", "hello"). */
  window.extensionFile = (extension, path) => ui.address(`extension-files/${encodeURIComponent(extension)}/${path}`);
  window.extensionRoute = (extension, path) => ui.address(`extension-api/${encodeURIComponent(extension)}/${path}`);

  let currentTab = null, isWaiting = false;
  const changes = [];
  const look = () => {
    isWaiting = false;
    const seen = changes.splice(0);
    tell(heard.update, seen);
    tell(heard.afterUpdate, seen);
    const tab = window.get_uiCurrentTab()?.textContent ?? null;
    if (tab === currentTab) return;
    currentTab = tab;
    tell(heard.tab);
  };

  const opened = ui.opened;
  ui.opened = () => {
    opened();
    isLoaded = true;
    tell(heard.loaded.splice(0));
    if (!ui.facts.extensions.length) return;  // nobody listens
    new MutationObserver((more) => {
      changes.push(...more);
      if (!isWaiting) requestAnimationFrame(look);
      isWaiting = true;
    }).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
    look();
  };
}
