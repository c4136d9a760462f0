/** Light or dark theme: the system's, until a person chooses. */

const PLACE = "streetlab.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function kept() {
  try {
    return localStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

/** Make a button switch the theme; a choice that equals the system's is dropped, so that the page follows it again. */
export function switchTheme(button) {
  const root = document.documentElement;
  const system = () => dark.matches ? "dark" : "light";
  const show = theme => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    button.setAttribute("aria-pressed", String((theme ?? system()) === "dark"));
  };
  show(["light", "dark"].includes(kept()) ? kept() : null);
  dark.addEventListener("change", () => show(root.dataset.theme ?? null));
  button.addEventListener("click", () => {
    const now = root.dataset.theme ?? system();
    const wanted = now === "dark" ? "light" : "dark";
    const own = wanted === system() ? null : wanted;
    try {
      if (own) localStorage.setItem(PLACE, own);
      else localStorage.removeItem(PLACE);
    } catch {
      // kept for this session only
    }
    show(own);
  });
}
