// Keys, copy buttons and the help dialog. Every page works without this file.
(() => {
  const typing = (element) => element.closest("input, textarea, select, [contenteditable]");

  const step = (by) => {
    const links = [...document.querySelectorAll(".row-link")];
    if (!links.length) return;
    const here = links.indexOf(document.activeElement);
    const next = here < 0 ? (by > 0 ? 0 : links.length - 1) : here + by;
    const link = links[Math.min(links.length - 1, Math.max(0, next))];
    link.focus();
    link.scrollIntoView({ block: "nearest" });
  };

  const actions = {
    j: () => step(1),
    k: () => step(-1),
    "/": () => document.getElementById("search")?.select(),
    "?": () => document.getElementById("keys").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    const act = actions[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.opens) document.getElementById(button.dataset.opens).showModal();
    if (!button?.dataset.copies) return;
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });

  // A saved note must not be sent again with the next label.
  document.addEventListener("htmx:after:request", (event) => {
    const form = event.target.closest?.(".label-form");
    if (form && event.detail.ctx?.response?.raw?.ok) form.reset();
  });

  // A link to a folded candidate opens it.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.closest("details");
    if (fold) {
      fold.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", unfold);

  // Buttons that need this file are hidden without it.
  const reveal = () => {
    for (const button of document.querySelectorAll("[data-copies], [data-opens]")) button.hidden = false;
  };
  document.addEventListener("htmx:after:swap", reveal);
  reveal();
  unfold();
})();
