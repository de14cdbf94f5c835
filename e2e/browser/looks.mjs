// What is asked of every page: functions that run in it, and give a list of faults.

/** What a screen reader cannot name or a key cannot reach. */
export function unreadable() {
  const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || (e.matches("button, a") && e.textContent.trim());
  const found = [...document.querySelectorAll("input, select, textarea, button, a, [role=region], [role=log], [role=meter]")]
    .filter((e) => !named(e)).map((e) => `no name: ${e.outerHTML}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  found.push(...ids.filter((id, n) => ids.indexOf(id) !== n).map((id) => `twice: ${id}`));
  for (const e of document.querySelectorAll("[aria-labelledby], label[for]")) {
    const id = e.getAttribute("aria-labelledby") ?? e.htmlFor;
    if (!document.getElementById(id)) found.push(`no such label: ${id}`);
  }
  for (const e of document.querySelectorAll("*")) {
    const scrolls = /auto|scroll/.test(getComputedStyle(e).overflowY) && e.scrollHeight > e.clientHeight + 1;
    if (scrolls && e.tabIndex < 0) found.push(`scrolls, and no key reaches it: ${e.id || e.className}`);
    if (e.tabIndex > 0) found.push(`out of order: ${e.id}`);
  }
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((e) => Number(e.tagName[1]));
  levels.forEach((level, n) => { if (level > (levels[n - 1] ?? 0) + 1) found.push(`a heading of level ${level} after ${levels[n - 1]}`); });
  return found;
}

/** Texts with less contrast to their ground than 4.5 to 1, as WCAG 2.2 §1.4.3 counts it. */
export function faintTexts() {
  const rgba = (css) => (css.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.offsetParent && !e.matches(":disabled, :disabled *, .unseen, option"))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()) || e.matches("input:not([type=checkbox])"))
    .flatMap((e) => {
      const [a, b] = [luminance(rgba(getComputedStyle(e).color)), luminance(ground(e))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ratio < 4.5 ? [`${ratio.toFixed(2)}: ${e.tagName} ${e.id} ${e.textContent.slice(0, 30)}`] : [];
    });
}
